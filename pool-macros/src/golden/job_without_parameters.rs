fn stop() -> ! {
    loop {}
}
#[doc(hidden)]
#[allow(dead_code, missing_debug_implementations, non_camel_case_types, unreachable_pub)]
struct stop {}
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
        type_name: ::core::any::type_name::<stop>,
        naming: ::pool::__private::Naming::Path,
        file: ::core::file!(),
        line: ::core::line!(),
        options: ::pool::__private::JobOptions::NONE,
        run: __pool_run,
    });
    impl ::pool::__private::Job for stop {
        type Output = ();
        fn decode(
            __pool_output: ::pool::__private::Encoded,
        ) -> ::core::result::Result<Self::Output, ::std::string::String> {
            use ::pool::__private::AnyKind as _;
            ::pool::__private::Kind::<()>::of().receive::<()>(__pool_output)
        }
    }
    impl ::pool::__private::Registered for stop {
        fn entry() -> &'static ::pool::__private::JobEntry {
            &__POOL_ENTRY
        }
    }
    impl stop {
        #[doc(hidden)]
        #[allow(dead_code)]
        fn __pool_call() -> ::pool::__private::Call<Self> {
            use ::pool::__private::AnyKind as _;
            let __pool_call = ::pool::__private::begin::<Self>(0u16);
            __pool_call
        }
    }
    fn __pool_run(
        __pool_stage: &mut dyn ::pool::__private::Stage,
        __pool_encoded: &mut ::pool::__private::Encoded,
    ) -> ::core::result::Result<(), ::pool::__private::Fault> {
        use ::pool::__private::AnyKind as _;
        let __pool_raw = ::pool::__private::Stage::take_raw(&mut *__pool_stage);
        let __pool_parameters = ::pool::__private::Parameters::open(
            __pool_raw,
            ::pool::__private::Stage::arguments(&*__pool_stage),
            0u16,
        )?;
        __pool_parameters.close()?;
        let __pool_output: () = stop();
        ::pool::__private::Kind::<()>::of().give::<()>(__pool_output, __pool_encoded)
    }
    ::pool::__private::inventory::submit! {
        ::pool::__private::Listed(& __POOL_ENTRY)
    }
};
