//! [`call!`](crate::call) and [`submit!`](crate::submit): a job function named by its path, and
//! its arguments, checked like those of a direct call.
//!
//! The path is matched word by word: the fragments `path` and `ty` would stop at `f(1)` with an
//! error of their own before the arm that explains it is tried.

/// A [`Call`](crate::Call): a job with its arguments, encoded here and now.
///
/// `call!(path::to::job, a, b)` type-checks like `path::to::job(a, b)`; a `&JobContext` is
/// not passed.
///
/// # Examples
///
/// ```
/// use pool::{call, pool_job};
///
/// #[pool_job]
/// fn add(a: u32, b: u32) -> u32 {
///     a + b
/// }
///
/// let call = call!(add, 1, 2).label("one and two");
/// # drop(call);
/// ```
#[macro_export]
macro_rules! call {
    ($($path:ident)::+ ($($args:tt)*) $($rest:tt)*) => {
        $crate::__called_directly!(("call!(",) [$($path)::+] [$($args)*])
    };
    (:: $($path:ident)::+ ($($args:tt)*) $($rest:tt)*) => {
        $crate::__called_directly!(("call!(",) [::$($path)::+] [$($args)*])
    };
    ($($path:ident)::+ $(, $($args:expr),* $(,)?)?) => {
        <$($path)::+>::__pool_call($($($args),*)?)
    };
    (:: $($path:ident)::+ $(, $($args:expr),* $(,)?)?) => {
        <::$($path)::+>::__pool_call($($($args),*)?)
    };
    // A path that came through another macro as one fragment.
    ($job:ty $(, $($args:expr),* $(,)?)?) => {
        <$job>::__pool_call($($($args),*)?)
    };
}

/// Submits a job to the global pool, or with `pool => job, args…` to a pool of your own.
///
/// Gives a [`JobHandle`](crate::JobHandle) at once and never blocks.
/// `pool` is any expression that dereferences to a [`Pool`](crate::Pool).
#[macro_export]
macro_rules! submit {
    ($($path:ident)::+ ($($args:tt)*) $(, $($rest:tt)*)?) => {
        $crate::__called_directly!(("submit!(",) [$($path)::+] [$($args)*])
    };
    (:: $($path:ident)::+ ($($args:tt)*) $(, $($rest:tt)*)?) => {
        $crate::__called_directly!(("submit!(",) [::$($path)::+] [$($args)*])
    };
    ($($path:ident)::+ $(, $($args:expr),* $(,)?)?) => {
        $crate::Pool::submit($crate::Pool::global(), $crate::call!($($path)::+ $(, $($args),*)?))
    };
    (:: $($path:ident)::+ $(, $($args:expr),* $(,)?)?) => {
        $crate::Pool::submit($crate::Pool::global(), $crate::call!(::$($path)::+ $(, $($args),*)?))
    };
    ($pool:expr => $($path:ident)::+ ($($args:tt)*) $($rest:tt)*) => {
        $crate::__called_directly!(("submit!(", ::core::stringify!($pool), " => ",) [$($path)::+] [$($args)*])
    };
    ($pool:expr => :: $($path:ident)::+ ($($args:tt)*) $($rest:tt)*) => {
        $crate::__called_directly!(("submit!(", ::core::stringify!($pool), " => ",) [::$($path)::+] [$($args)*])
    };
    ($pool:expr => $($call:tt)+) => {
        // By `match`: as an argument the expression would be checked as a `Pool`, not as what it is.
        match &$pool {
            pool => $crate::Pool::submit(pool, $crate::call!($($call)+)),
        }
    };
    ($job:ty $(, $($args:expr),* $(,)?)?) => {
        $crate::Pool::submit($crate::Pool::global(), $crate::call!($job $(, $($args),*)?))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __called_directly {
    (($($start:tt)+) [$($path:tt)+] []) => {
        $crate::__called_directly!(@ ($($start)+ $crate::__spelled!($($path)+)) ())
    };
    (($($start:tt)+) [$($path:tt)+] [$($args:tt)+]) => {
        $crate::__called_directly!(
            @ ($($start)+ $crate::__spelled!($($path)+)) (", ", ::core::stringify!($($args)+),)
        )
    };
    (@ ($($call:tt)+) ($($args:tt)*)) => {
        ::core::compile_error!(::core::concat!(
            "this calls the function here and now; to have it run in a worker, write `",
            $($call)+, $($args)* ")`"
        ))
    };
}

/// `stringify!` without its blanks around `::`.
#[doc(hidden)]
#[macro_export]
macro_rules! __spelled {
    ($first:ident $(:: $next:ident)*) => {
        ::core::concat!(::core::stringify!($first) $(, "::", ::core::stringify!($next))*)
    };
    ($(:: $next:ident)+) => {
        ::core::concat!($("::", ::core::stringify!($next)),+)
    };
}
