fn main() -> Result<(), E> {
    ::pool::__private::enter_main();
    let __pool_guard = ::pool::__private::global_guard();
    ::pool::__private::run_async(
        ::pool::__private::Flavor::MultiThread,
        ::core::option::Option::Some(4),
        async move {
            if let ::core::option::Option::Some(__pool_output) = ::core::option::Option::None::<
                Result<(), E>,
            > {
                #[allow(unreachable_code)] return __pool_output;
            }
            {
                work().await?;
                Ok(())
            }
        },
    )
}
