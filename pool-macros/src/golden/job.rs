/// Adds.
#[must_use]
pub(crate) fn add(a: u32, _: u32) -> u32 {
    a
}
#[doc(hidden)]
#[allow(dead_code, missing_debug_implementations, non_camel_case_types, unreachable_pub)]
pub(crate) struct add {}
#[doc(hidden)]
#[allow(
    deprecated,
    private_interfaces,
    unreachable_code,
    unused_imports,
    unused_qualifications,
    clippy::all,
    clippy::pedantic
)]
const _: () = {
    static __POOL_ENTRY: ::pool::__private::JobEntry = ::pool::__private::JobEntry::new(::pool::__private::JobFacts {
        type_name: ::core::any::type_name::<add>,
        naming: ::pool::__private::Naming::Path,
        file: ::core::file!(),
        line: ::core::line!(),
        options: ::pool::__private::JobOptions::NONE,
        run: __pool_run,
    });
    impl ::pool::__private::Job for add {
        type Output = u32;
        fn decode(
            __pool_output: ::pool::__private::Encoded,
        ) -> ::core::result::Result<Self::Output, ::std::string::String> {
            use ::pool::__private::AnyKind as _;
            ::pool::__private::Kind::<u32>::of().receive::<u32>(__pool_output)
        }
    }
    impl ::pool::__private::Registered for add {
        fn entry() -> &'static ::pool::__private::JobEntry {
            &__POOL_ENTRY
        }
    }
    impl add {
        #[doc(hidden)]
        #[allow(dead_code)]
        pub(crate) fn __pool_call(a: u32, _1: u32) -> ::pool::__private::Call<Self> {
            use ::pool::__private::AnyKind as _;
            let mut __pool_call = ::pool::__private::begin::<Self>(2u16);
            ::pool::__private::Kind::<u32>::of()
                .push::<u32>(::pool::__private::arguments(&mut __pool_call), "a", a);
            ::pool::__private::Kind::<u32>::of()
                .push::<u32>(::pool::__private::arguments(&mut __pool_call), "_1", _1);
            __pool_call
        }
    }
    fn __pool_run(
        __pool_stage: &mut dyn ::pool::__private::Stage,
        __pool_encoded: &mut ::pool::__private::Encoded,
    ) -> ::core::result::Result<(), ::pool::__private::Fault> {
        use ::pool::__private::AnyKind as _;
        let __pool_raw = ::pool::__private::Stage::take_raw(&mut *__pool_stage);
        let mut __pool_parameters = ::pool::__private::Parameters::open(
            __pool_raw,
            ::pool::__private::Stage::arguments(&*__pool_stage),
            2u16,
        )?;
        let __pool_parameter_0 = ::pool::__private::Kind::<u32>::of()
            .take::<u32>(&mut __pool_parameters, "a")?;
        let __pool_parameter_1 = ::pool::__private::Kind::<u32>::of()
            .take::<u32>(&mut __pool_parameters, "_1")?;
        __pool_parameters.close()?;
        let __pool_output: u32 = add(__pool_parameter_0, __pool_parameter_1);
        ::pool::__private::Kind::<u32>::of().give::<u32>(__pool_output, __pool_encoded)
    }
    ::pool::__private::inventory::submit! {
        ::pool::__private::Listed(& __POOL_ENTRY)
    }
};
