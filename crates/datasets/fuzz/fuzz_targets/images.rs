//! CIFAR-10 records and faces.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = datasets::images::parse_cifar_10(bytes);
    let _ = datasets::images::parse_cifar_100(bytes);
    let _ = datasets::images::parse_faces(bytes);
});
