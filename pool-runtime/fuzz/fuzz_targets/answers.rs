#![no_main]
//! The booking of answers: arbitrary frames against what was sent and taken back.

libfuzzer_sys::fuzz_target!(|input: &[u8]| pool::__fuzz::answers(input));
