//! Zip, tar and tar.gz.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = datasets::archive::Limits { num_members: 100, num_bytes: 1 << 24 };
    let _ = datasets::archive::members(bytes, &limits);
});
