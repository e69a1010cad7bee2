#[::core::prelude::v1::test]
#[ignore]
#[should_panic]
fn works() {
    ::pool::__private::enter_test();
    { panic!() }
}
#[cfg(test)]
#[doc(hidden)]
const _: () = {
    ::pool::__private::inventory::submit! {
        ::pool::__private::TestEntry::new(::core::concat!(::core::module_path!(), "::",
        "works"))
    }
};
