//! GIN-style graph text.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = datasets::tu::parse_graphs(text);
});
