// What a crate with strict lints may write about states.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, missing_debug_implementations, unreachable_pub, private_interfaces)]
#![deny(unused_qualifications, let_underscore_drop, unused_results, single_use_lifetimes)]
//! Documented.

use std::cell::RefCell;
use std::rc::Rc;

use pool::{JobContext, call, pool_job};

mod vendor {
    pub(crate) use ::pool as processes;
}

/// Private, with a private type.
struct Hidden(u32);

#[pool::state]
fn hidden() -> Hidden {
    Hidden(7)
}

/// Never there.
#[cfg(any())]
#[pool::state]
fn absent() -> NoSuchType {}

#[deprecated]
#[pool::state]
fn old() -> Result<Rc<RefCell<String>>, std::num::ParseIntError> {
    let _number: u32 = "1".parse()?;
    Ok(Rc::default())
}

#[vendor::processes::state(crate = vendor::processes)]
fn renamed() -> Option<Result<u8, u8>> {
    None
}

#[pool_job]
fn job(#[state] hidden: &Hidden, a: u32, #[state] _: &Rc<RefCell<String>>) -> u32 {
    hidden.0 + a
}

#[vendor::processes::pool_job(crate = "crate::vendor::processes")]
async fn renamed_job(
    ctx: &JobContext,
    #[vendor::processes::state] renamed: &Option<Result<u8, u8>>,
    parameter_0: u8,
) -> (Option<Result<u8, u8>>, u32, u8) {
    (*renamed, ctx.attempt(), parameter_0)
}

macro_rules! state {
    ($name:ident: $type:ty = $value:expr) => {
        #[pool::state]
        fn $name() -> $type {
            $value
        }
    };
}

state!(by_macro: Vec<u8> = vec![1]);

macro_rules! job_of {
    ($name:ident($type:ty)) => {
        #[pool_job]
        fn $name(#[state] state: $type) -> usize {
            state.len()
        }
    };
}

job_of!(length(&Vec<u8>));

#[pool::main]
fn main() {
    drop((call!(job, 1), call!(renamed_job, 2), call!(length)));
    assert_eq!(job(&Hidden(1), 2, &Rc::default()), 3);
    assert_eq!(length(&vec![1, 2]), 2);
    let _sum = {
        #[pool::state]
        fn inside() -> i8 {
            1
        }
        inside()
    };
}
