//! Planetoid as safetensors.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = datasets::planetoid::parse_converted(bytes);
});
