#[::core::prelude::v1::test]
fn works() {
    ::pool::__private::enter_test();
    ::pool::__private::run_async(
        ::pool::__private::Flavor::MultiThread,
        ::core::option::Option::None,
        async move { { work().await } },
    )
}
#[cfg(test)]
#[doc(hidden)]
const _: () = {
    ::pool::__private::inventory::submit! {
        ::pool::__private::TestEntry::new(::core::concat!(::core::module_path!(), "::",
        "works"))
    }
};
