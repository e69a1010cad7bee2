async fn ask(model: &Model, ctx: &JobContext, _: &Rc<Cache>, q: u8) {}
#[doc(hidden)]
#[allow(dead_code, missing_debug_implementations, non_camel_case_types, unreachable_pub)]
struct ask {}
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
        type_name: ::core::any::type_name::<ask>,
        naming: ::pool::__private::Naming::Path,
        file: ::core::file!(),
        line: ::core::line!(),
        options: ::pool::__private::JobOptions::NONE,
        run: __pool_run,
    });
    impl ::pool::__private::Job for ask {
        type Output = ();
        fn decode(
            __pool_output: ::pool::__private::Encoded,
        ) -> ::core::result::Result<Self::Output, ::std::string::String> {
            use ::pool::__private::AnyKind as _;
            ::pool::__private::Kind::<()>::of().receive::<()>(__pool_output)
        }
    }
    impl ::pool::__private::Registered for ask {
        fn entry() -> &'static ::pool::__private::JobEntry {
            &__POOL_ENTRY
        }
    }
    impl ask {
        #[doc(hidden)]
        #[allow(dead_code)]
        fn __pool_call(q: u8) -> ::pool::__private::Call<Self> {
            use ::pool::__private::AnyKind as _;
            let mut __pool_call = ::pool::__private::begin::<Self>(1u16);
            ::pool::__private::Kind::<u8>::of()
                .push::<u8>(::pool::__private::arguments(&mut __pool_call), "q", q);
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
            1u16,
        )?;
        let __pool_parameter_3 = ::pool::__private::Kind::<u8>::of()
            .take::<u8>(&mut __pool_parameters, "q")?;
        __pool_parameters.close()?;
        let __pool_parameter_0 = ::pool::__private::state::<Model>(&*__pool_stage)?;
        let __pool_parameter_2 = ::pool::__private::state::<Rc<Cache>>(&*__pool_stage)?;
        let __pool_output: () = ::pool::__private::drive(
            &*__pool_stage,
            ask(
                __pool_parameter_0,
                ::pool::__private::context(&*__pool_stage),
                __pool_parameter_2,
                __pool_parameter_3,
            ),
        );
        ::pool::__private::Kind::<()>::of().give::<()>(__pool_output, __pool_encoded)
    }
    ::pool::__private::inventory::submit! {
        ::pool::__private::Listed(& __POOL_ENTRY)
    }
};
