//! Macros of the `pool-runtime` crate.
