//! Morse items.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = datasets::morse::parse(text);
});
