//! Bytes of a gradient: any bytes give an error or a gradient that can be added to a tensor of its length (unless its format is a compressor's own), and that is written again as it was read.
#![no_main]

use distributed::Encoded;
use distributed::wire::{WireFormat, from_bytes, to_bytes};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // with a right checksum, which a fuzzer would hardly find
    let mut bytes = bytes.to_vec();
    if bytes.len() >= 28 {
        let mut crc = !0u32;
        for &byte in bytes[..24].iter().chain(&bytes[28..]) {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
            }
        }
        bytes[24..28].copy_from_slice(&(!crc).to_le_bytes());
    }
    let Ok(encoded) = from_bytes(&bytes) else { return };
    if encoded.len() < 1 << 22 && !matches!(encoded, Encoded::Custom(_)) {
        let mut out = vec![0.; encoded.len()];
        encoded.add_to(1., &mut out).expect("the length is its own");
    }
    let again = to_bytes(&encoded, WireFormat::default()).expect("lists fit each other");
    assert_eq!(from_bytes(&again).expect("just written"), encoded);
});
