//! IDX arrays.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = datasets::idx::parse(bytes);
});
