#![no_main]
//! The frame reader, in both directions: arbitrary bytes, cut at arbitrary places.

libfuzzer_sys::fuzz_target!(|input: &[u8]| pool::__fuzz::frames(input));
