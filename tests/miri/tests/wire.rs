//! The wire format and the compressors of distributed.

#![forbid(unsafe_code)]

use distributed::wire::{WireFormat, from_bytes, to_bytes};
use distributed::{Compression, Key};
use distributed::{Encoded, Result};
use half::f16;
use miri_tests::numbers;

fn formats() -> [WireFormat; 4] {
    [(false, false), (false, true), (true, false), (true, true)]
        .map(|(half_values, index_differences)| WireFormat { half_values, index_differences })
}

/// One of each kind.
fn gradients() -> Vec<Encoded> {
    vec![
        Encoded::Dense(vec![1., -2., 0.5]),
        Encoded::Sparse { len: 400, indices: vec![3, 17, 300], values: vec![1., -2., 0.25] },
        Encoded::Shared { len: 9, seed: 5, values: vec![1., 2.] },
        Encoded::Quantized { norm: 2., levels: 7, codes: vec![-7, 0, 3] },
        Encoded::Signs { len: 10, scale: 0.5, bits: vec![0b1010_0101, 0b10] },
        Encoded::Half([1., -0.5].map(f16::from_f32).to_vec()),
    ]
}

#[test]
fn every_gradient_comes_back() {
    for gradient in gradients() {
        for format in formats() {
            assert_eq!(from_bytes(&to_bytes(&gradient, format).unwrap()).unwrap(), gradient);
        }
        assert_eq!(gradient.to_dense().unwrap().len(), gradient.len());
    }
}

#[test]
fn damaged_bytes_give_errors() {
    for gradient in gradients() {
        let bytes = to_bytes(&gradient, WireFormat { half_values: false, index_differences: true }).unwrap();
        for len in 0..bytes.len() {
            assert!(from_bytes(&bytes[..len]).is_err());
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(from_bytes(&damaged).is_err(), "byte {at}");
        }
    }
}

#[test]
fn every_compressor_compresses() -> Result<()> {
    let values: Vec<f32> = numbers(150, 1).into_iter().map(|value| value as f32).collect();
    for compression in [
        Compression::None,
        Compression::TopK(0.1),
        Compression::RandomK(0.1),
        Compression::Threshold(0.9),
        Compression::GaussianK(0.1),
        Compression::RedSync(0.1),
        Compression::Qsgd(7),
        Compression::SignScale,
        Compression::HalfPrecision,
    ] {
        let encoded = compression.build()?.compress(&values, &Key::default())?;
        assert_eq!(encoded.to_dense()?.len(), values.len(), "{compression:?}");
    }
    Ok(())
}
