//! `.npz` graphs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = datasets::sparse_graph::parse(bytes);
});
