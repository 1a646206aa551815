//! The bytes of compressed gradients: fixed for every built-in form, since two programs that exchange gradients may have been built from different versions of this crate, and checked when they come from
//! outside.

#![allow(clippy::unwrap_used)]

use distributed::compress::{DgcConfig, Distribution, SidCoConfig, TopK};
use distributed::encoded::Custom;
use distributed::wire::{Limits, WireFormat, from_bytes, from_bytes_within, to_bytes};
use distributed::{Compression, Compressor, Encoded, Error, Key};
use half::f16;
use proptest::prelude::*;

/// Bytes before the payload, as documented.
const HEADER: usize = 28;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_form_has_its_bytes() {
    let plain = WireFormat::default();
    let short = WireFormat { half_values: true, index_differences: true };
    let sparse = Encoded::Sparse { len: 1000, indices: vec![999, 2, 300], values: vec![0.5, -1.25, 3.] };
    let shared = Encoded::Shared { len: 9, seed: 0x0123_4567_89ab_cdef, values: vec![0.5, -2.] };
    let rows = [
        (
            "dense",
            Encoded::Dense(vec![1., -2., 0.1]),
            plain,
            "4743010000000000030000000000000003000000000000009445723e0000803f000000c0cdcccc3d",
        ),
        (
            "sparse",
            sparse.clone(),
            plain,
            "4743010100000000e8030000000000000300000000000000858fa7e60000003f0000a0bf00004040e7030000020000002c010000",
        ),
        (
            "sparse, half values",
            sparse.clone(),
            WireFormat { half_values: true, ..plain },
            "4743010101000000e80300000000000003000000000000007e75e64b003800bd0042e7030000020000002c010000",
        ),
        (
            "sparse, short",
            sparse,
            short,
            "4743010103000000e803000000000000030000000000000058b9d80600bd0042003802aa02bb05",
        ),
        (
            "shared",
            shared.clone(),
            plain,
            "474301020000000009000000000000000200000000000000a54927b2efcdab89674523010000003f000000c0",
        ),
        (
            "shared, short",
            shared,
            short,
            "474301020100000009000000000000000200000000000000294ae81eefcdab8967452301003800c0",
        ),
        (
            "quantised",
            Encoded::Quantized { norm: 2.5, levels: 4, codes: vec![4, -4, 0, 1] },
            plain,
            "474301030000000004000000000000000400000000000000bd613824000020400404fc0001",
        ),
        (
            "signs",
            Encoded::Signs { len: 10, scale: 0.75, bits: vec![0b1010_0101, 0b10] },
            plain,
            "47430104000000000a000000000000000a000000000000002c44d3d20000403fa502",
        ),
        (
            "half",
            Encoded::Half(vec![f16::from_f32(1.5), f16::from_f32(-0.1)]),
            plain,
            "474301050000000002000000000000000200000000000000095bd34b003e66ae",
        ),
    ];
    for (name, encoded, format, wanted) in rows {
        let bytes = to_bytes(&encoded, format).unwrap();
        assert_eq!(hex(&bytes), wanted, "{name}");
        assert_eq!(from_bytes(&bytes).unwrap().to_dense().unwrap(), encoded.to_dense().unwrap(), "{name}");
    }
}

#[test]
fn compressors_without_chance_send_the_same_bytes() {
    let gradient: Vec<f32> = (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) as f32 / 4e9 - 0.5).powi(3)).collect();
    let sidco = |distribution, stages| {
        Compression::SidCo(SidCoConfig { ratio: 0.02, distribution, stages, ..SidCoConfig::default() })
    };
    let rows = [
        (Compression::None, 0xb97a7db2),
        (Compression::TopK(0.02), 0x29ef3765),
        (Compression::Threshold(0.1), 0xdd1f87dc),
        // short enough to be searched exactly
        (Compression::Dgc(DgcConfig::with_ratio(0.02)), 0x29ef3765),
        (sidco(Distribution::Exponential, 1), 0xd7d6116e),
        (sidco(Distribution::GeneralizedPareto, 2), 0x92101acc),
        (sidco(Distribution::GammaThenPareto, 2), 0x12d39d76),
        (Compression::GaussianK(0.02), 0xd045e179),
        (Compression::RedSync(0.02), 0xc7673510),
        (Compression::SignScale, 0x58c8c7e0),
        (Compression::HalfPrecision, 0x69286dbc),
    ];
    for (compression, wanted) in rows {
        let encoded = compression.build().unwrap().compress(&gradient, &Key::default()).unwrap();
        let checksum = crc32fast::hash(&to_bytes(&encoded, WireFormat::default()).unwrap());
        assert_eq!(checksum, wanted, "{compression:?}");
    }
}

/// Writes the checksum of the other bytes.
fn seal(bytes: &mut [u8]) {
    let mut crc = 0xffff_ffffu32;
    for &byte in bytes[..24].iter().chain(&bytes[HEADER..]) {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ (0xedb8_8320 * (crc & 1));
        }
    }
    bytes[24..28].copy_from_slice(&(!crc).to_le_bytes());
}

#[test]
fn the_header_is_as_documented() {
    let encoded = Encoded::Sparse { len: 300, indices: vec![7, 299], values: vec![1., -2.] };
    let bytes = to_bytes(&encoded, WireFormat::default()).unwrap();
    assert_eq!(bytes.len(), HEADER + 16);
    assert_eq!(bytes[..8], [b'G', b'C', 1, 1, 0, 0, 0, 0]);
    assert_eq!(
        (bytes[8..16].to_vec(), bytes[16..24].to_vec()),
        (vec![44, 1, 0, 0, 0, 0, 0, 0], vec![2, 0, 0, 0, 0, 0, 0, 0])
    );
    let mut resealed = bytes.clone();
    seal(&mut resealed);
    assert_eq!(resealed, bytes, "CRC-32 by its definition");
}

#[test]
fn an_index_outside_of_the_gradient_is_refused() {
    let encoded = Encoded::Sparse { len: 10, indices: vec![3], values: vec![1.] };
    let mut bytes = to_bytes(&encoded, WireFormat::default()).unwrap();
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&10u32.to_le_bytes());
    seal(&mut bytes);
    assert!(from_bytes(&bytes).unwrap_err().to_string().contains("index is 10"));
    let outside = Encoded::Sparse { len: 10, indices: vec![10], values: vec![1.] };
    assert!(outside.add_to(1., &mut [0.; 10]).is_err());
    assert!(encoded.add_to(1., &mut [0.; 9]).is_err());
    let ragged = Encoded::Sparse { len: 10, indices: vec![1, 2], values: vec![1.] };
    assert!(ragged.add_to(1., &mut [0.; 10]).is_err() && to_bytes(&ragged, WireFormat::default()).is_err());
}

#[test]
fn a_format_of_ones_own_travels_and_only_its_name_opens_it() {
    let encoded = Encoded::Custom(Custom::new("mine/1", 5, 2, vec![9, 8, 7]).unwrap());
    let bytes = to_bytes(&encoded, WireFormat::default()).unwrap();
    assert_eq!((bytes[3], &bytes[HEADER..]), (6, &b"\x06mine/1\x09\x08\x07"[..]));
    let back = from_bytes(&bytes).unwrap();
    assert_eq!((&back, back.len(), back.num_sent()), (&encoded, 5, 2));
    assert_eq!(back.custom_bytes("mine/1").unwrap(), [9, 8, 7]);
    let error = back.custom_bytes("mine/2").unwrap_err();
    assert!(matches!(error, Error::InvalidData { .. }), "{error}");
    assert!(error.to_string().contains("`mine/1`, expected `mine/2`"), "{error}");
    assert!(Encoded::Dense(vec![1.]).custom_bytes("mine/1").unwrap_err().to_string().contains("`dense`"));
    // a built-in compressor does not guess
    let top = TopK::new(0.5).unwrap();
    assert!(matches!(top.decode(&back, 1., &mut [0.; 5]), Err(Error::InvalidData { .. })));
    // a name longer than the payload, none, and one that is no text
    for name in [&[9, b'm'][..], &[], &[0], &[1, 0xff]] {
        let mut bytes = bytes[..HEADER].to_vec();
        bytes.extend_from_slice(name);
        seal(&mut bytes);
        assert!(from_bytes(&bytes).is_err(), "{name:?}");
    }
    assert!(Custom::new("", 1, 1, vec![]).is_err() && Custom::new("x".repeat(256), 1, 1, vec![]).is_err());
    assert!(Custom::new("mine/1", 1, 2, vec![]).is_err());
}

#[test]
fn a_few_bytes_do_not_become_a_huge_gradient() {
    let none = Encoded::Sparse { len: u32::MAX as usize, indices: vec![], values: vec![] };
    let bytes = to_bytes(&none, WireFormat::default()).unwrap();
    assert_eq!(bytes.len(), HEADER);
    let error = from_bytes(&bytes).unwrap_err();
    assert!(matches!(error, Error::TooLarge { got: 4_294_967_295, limit: 268_435_456, .. }), "{error}");
    // the caller may raise the limit, or say what it expects
    let raised = Limits { max_elements: u32::MAX as usize };
    assert_eq!(from_bytes_within(&bytes, raised).unwrap(), none);
    let (shared, custom) = (
        Encoded::Shared { len: 1000, seed: 1, values: vec![] },
        Encoded::Custom(Custom::new("mine/1", 1000, 0, vec![]).unwrap()),
    );
    for encoded in [shared, custom, Encoded::Dense(vec![0.; 1000])] {
        let bytes = to_bytes(&encoded, WireFormat::default()).unwrap();
        assert_eq!(from_bytes_within(&bytes, Limits { max_elements: 1000 }).unwrap(), encoded);
        let error = from_bytes_within(&bytes, Limits { max_elements: 999 }).unwrap_err();
        assert!(matches!(error, Error::TooLarge { got: 1000, limit: 999, .. }), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_give_a_gradient_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..200), is_marked in any::<bool>(), kind in 0u8..8, flags in 0u8..5) {
        if is_marked && bytes.len() >= HEADER {
            // past the first checks, with a right checksum, so that lengths and indices are reached
            bytes[..8].copy_from_slice(&[b'G', b'C', 1, kind, flags, 0, 0, 0]);
            bytes[10..16].fill(0);
            bytes[18..24].fill(0);
            seal(&mut bytes);
        }
        if let Ok(encoded) = from_bytes(&bytes) {
            prop_assert!(encoded.num_sent() <= encoded.len());
            if let Encoded::Custom(custom) = &encoded {
                prop_assert!(encoded.custom_bytes(custom.format()).is_ok() && encoded.to_dense().is_err());
            } else if encoded.len() < 1 << 20 {
                let dense = encoded.to_dense().unwrap();
                prop_assert_eq!(dense.len(), encoded.len());
            }
        }
    }
}
