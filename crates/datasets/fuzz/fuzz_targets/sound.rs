//! `.wav` files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = datasets::sound::parse_wav(bytes);
});
