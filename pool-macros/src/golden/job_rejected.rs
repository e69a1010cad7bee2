fn sort<T: Ord>(ctx: &JobContext, s: &mut S, items: &mut [T]) -> &T {
    &items[0]
}
#[doc(hidden)]
#[allow(dead_code, missing_debug_implementations, non_camel_case_types, unreachable_pub)]
struct sort {}
#[doc(hidden)]
#[allow(private_interfaces, clippy::all)]
const _: () = {
    impl ::pool::__private::Job for sort {
        type Output = ();
        fn decode(
            _: ::pool::__private::Encoded,
        ) -> ::core::result::Result<Self::Output, ::std::string::String> {
            ::core::unreachable!()
        }
    }
    impl sort {
        #[doc(hidden)]
        #[allow(dead_code)]
        fn __pool_call<T: Ord>(_: &mut [T]) -> ::pool::__private::Call<Self> {
            ::core::unreachable!()
        }
    }
};
::core::compile_error! {
    "unknown option `speed`; known: `name`, `timeout`, `retries`, `priority`, `marker`, `crate`"
}
::core::compile_error! {
    "a job cannot be generic over `T`: a worker finds it in a table that is complete before `main` starts; write one job for each type, which calls the generic function"
}
::core::compile_error! {
    "`#[state]` takes no arguments: the state is found by its type"
}
::core::compile_error! {
    "a state is shared by all jobs of its worker and lent by `&`; remove `mut`, and put what changes into a `Cell`, `RefCell` or `Mutex`"
}
::core::compile_error! {
    "a job cannot change what its caller holds, which is in another process; take the value, change it and return it"
}
::core::compile_error! {
    "a job's output cannot borrow: it outlives the job and leaves the process; return an owned type"
}
