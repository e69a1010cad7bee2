#[cfg(unix)]
pub async fn resize(ctx: &JobContext, path: &Path, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes
}
#[cfg(unix)]
#[doc(hidden)]
#[allow(dead_code, missing_debug_implementations, non_camel_case_types, unreachable_pub)]
pub struct Resize {}
#[cfg(unix)]
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
        type_name: ::core::any::type_name::<Resize>,
        naming: ::pool::__private::Naming::Given("resize"),
        file: ::core::file!(),
        line: ::core::line!(),
        options: ::pool::__private::JobOptions {
            timeout: ::core::option::Option::Some(
                ::core::option::Option::Some(
                    ::core::time::Duration::from_millis(5400000u64),
                ),
            ),
            retry: ::core::option::Option::Some(
                ::pool::__private::RetryPolicy::attempts(3u32),
            ),
            priority: ::core::option::Option::Some(::pool::__private::Priority::Low),
            ..::pool::__private::JobOptions::NONE
        },
        run: __pool_run,
    });
    impl ::pool::__private::Job for Resize {
        type Output = Vec<u8>;
        fn decode(
            __pool_output: ::pool::__private::Encoded,
        ) -> ::core::result::Result<Self::Output, ::std::string::String> {
            use ::pool::__private::AnyKind as _;
            ::pool::__private::Kind::<Vec<u8>>::of().receive::<Vec<u8>>(__pool_output)
        }
    }
    impl ::pool::__private::Registered for Resize {
        fn entry() -> &'static ::pool::__private::JobEntry {
            &__POOL_ENTRY
        }
    }
    impl Resize {
        #[doc(hidden)]
        #[allow(dead_code)]
        pub fn __pool_call(
            path: &Path,
            bytes: Vec<u8>,
        ) -> ::pool::__private::Call<Self> {
            use ::pool::__private::AnyKind as _;
            let mut __pool_call = ::pool::__private::begin::<Self>(2u16);
            ::pool::__private::Kind::<Path>::of()
                .push::<
                    &Path,
                >(::pool::__private::arguments(&mut __pool_call), "path", path);
            ::pool::__private::Kind::<Vec<u8>>::of()
                .push::<
                    Vec<u8>,
                >(::pool::__private::arguments(&mut __pool_call), "bytes", bytes);
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
        let __pool_parameter_1 = ::pool::__private::Kind::<Path>::of()
            .take::<Path>(&mut __pool_parameters, "path")?;
        let __pool_parameter_2 = ::pool::__private::Kind::<Vec<u8>>::of()
            .take::<Vec<u8>>(&mut __pool_parameters, "bytes")?;
        __pool_parameters.close()?;
        let __pool_output: Vec<u8> = ::pool::__private::drive(
            &*__pool_stage,
            resize(
                ::pool::__private::context(&*__pool_stage),
                &__pool_parameter_1,
                __pool_parameter_2,
            ),
        );
        ::pool::__private::Kind::<Vec<u8>>::of()
            .give::<Vec<u8>>(__pool_output, __pool_encoded)
    }
    ::pool::__private::inventory::submit! {
        ::pool::__private::Listed(& __POOL_ENTRY)
    }
};
