fn main() -> Result<(), E> {
    ::pool::__private::enter_main();
    let __pool_guard = ::pool::__private::global_guard();
    {
        work()?;
        Ok(())
    }
}
