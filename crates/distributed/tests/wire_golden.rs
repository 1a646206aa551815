//! The bytes of every built-in form, fixed when the format was at version 1: two programs that exchange gradients may have been built from different versions of this crate.

#![allow(clippy::unwrap_used)]

use distributed::Encoded;
use distributed::compress::{Compression, DgcConfig, Distribution, Key, SidCoConfig};
use distributed::wire::{WireFormat, from_bytes, to_bytes};
use half::f16;

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
