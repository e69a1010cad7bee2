#[cfg(unix)]
fn model() -> Result<Model, E> {
    load()
}
#[cfg(unix)]
#[doc(hidden)]
#[allow(
    deprecated,
    private_interfaces,
    unused_imports,
    unused_qualifications,
    clippy::all,
    clippy::pedantic
)]
const _: () = {
    use ::pool::__private::AnyMaker as _;
    ::pool::__private::inventory::submit! {
        ::pool::__private::StateEntry { name : ::core::concat!(::core::module_path!(),
        "::", "model"), file : ::core::file!(), line : ::core::line!(), made : ||
        ::pool::__private::Maker:: < Result < Model, E > > ::of().made(), make : ||
        ::pool::__private::Maker:: < Result < Model, E > > ::of().make(model()), }
    }
};
