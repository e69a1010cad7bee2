fn logger() -> Result<(), E> {
    init()
}
#[doc(hidden)]
#[allow(clippy::all)]
const _: () = {
    ::pool::__private::inventory::submit! {
        ::pool::__private::StartEntry { name : ::core::concat!(::core::module_path!(),
        "::", "logger"), file : ::core::file!(), line : ::core::line!(), run : ||
        ::pool::__private::Started::started(logger()), }
    }
};
