//! `.npz` archives, and every array in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(archive) = datasets::npz::Archive::parse(bytes) {
        for name in archive.names() {
            let _ = archive.array(name);
        }
    }
});
