//! All elements in fewer bits.

use crate::compressor::Compressor;
use crate::key::Key;
use crate::{Encoded, Error, Result, scan};
use half::f16;
use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Sends the gradient as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCompression;

impl Compressor for NoCompression {
    fn name(&self) -> &'static str {
        "none"
    }

    fn compress(&mut self, values: &[f32], _: &Key) -> Result<Encoded> {
        scan::max_magnitude("no_compression", values)?;
        Ok(Encoded::Dense(values.to_vec()))
    }
}

/// Half precision (IEEE 754 binary16); values beyond its range become its largest.
#[derive(Debug, Clone, Copy, Default)]
pub struct HalfPrecision;

impl Compressor for HalfPrecision {
    fn name(&self) -> &'static str {
        "half"
    }

    fn compress(&mut self, values: &[f32], _: &Key) -> Result<Encoded> {
        scan::max_magnitude("half", values)?;
        Ok(Encoded::Half(values.iter().map(|&value| crate::encoded::to_half(value)).collect::<Vec<f16>>()))
    }
}

/// QSGD (Alistarh et al. 2017): `levels · |g_i| / ‖g‖₂`, rounded up or down at random so that the expected value is exact. Sends one byte for each element, and the norm.
///
/// Use it without error feedback ([`MemoryConfig::None`](crate::memory::MemoryConfig)): its variance is up to `min(n / levels², √n / levels)` times the squared norm, so that for more than about `levels²` elements a
/// residual would grow without bound.
#[derive(Debug, Clone, Copy)]
pub struct Qsgd {
    levels: u8,
}

impl Qsgd {
    /// With this many levels.
    ///
    /// # Errors
    ///
    /// When `levels` is not from 1 to 127.
    pub fn new(levels: u8) -> Result<Self> {
        if (1..=127).contains(&levels) {
            Ok(Self { levels })
        } else {
            Err(Error::config("levels", format!("{levels} is not from 1 to 127")))
        }
    }
}

impl Compressor for Qsgd {
    fn name(&self) -> &'static str {
        "qsgd"
    }

    fn compress(&mut self, values: &[f32], key: &Key) -> Result<Encoded> {
        scan::max_magnitude("qsgd", values)?;
        let norm = scan::sum(values, |value| value * value).sqrt() as f32;
        let levels = self.levels;
        if norm == 0. || !norm.is_finite() {
            if norm > 0. {
                let what = "a gradient".to_owned();
                return Err(Error::InvalidData { what, reason: "its norm is beyond the range of f32".to_owned() });
            }
            return Ok(Encoded::Quantized { norm, levels, codes: vec![0; values.len()] });
        }
        let mut rng = ChaCha8Rng::seed_from_u64(key.rank_seed("qsgd rounding"));
        let scale = f32::from(levels) / norm;
        let mut noise = vec![0u8; values.len() * 2];
        rng.fill_bytes(&mut noise);
        let code = |(&value, noise): (&f32, &[u8])| {
            let level = match scale.is_finite() {
                true => value.abs() * scale,
                // a norm under 4e-37, whose inverse is beyond f32
                false => (f64::from(value.abs()) * f64::from(levels) / f64::from(norm)) as f32,
            };
            let level = level.min(f32::from(levels));
            let uniform = (f32::from(u16::from_le_bytes([noise[0], noise[1]])) + 0.5) / 65536.;
            let rounded = level.floor() + f32::from(u8::from(uniform < level.fract()));
            rounded.copysign(value) as i8
        };
        let codes = values.iter().zip(noise.chunks_exact(2)).map(code).collect();
        Ok(Encoded::Quantized { norm, levels, codes })
    }
}

/// The signs and the mean magnitude (EF-signSGD, Karimireddy et al. 2019): one bit for each element. Biased; it needs error feedback to converge.
#[derive(Debug, Clone, Copy, Default)]
pub struct SignScale;

impl Compressor for SignScale {
    fn name(&self) -> &'static str {
        "sign"
    }

    fn compress(&mut self, values: &[f32], _: &Key) -> Result<Encoded> {
        scan::max_magnitude("sign", values)?;
        let scale = (scan::sum(values, |value| value) / values.len().max(1) as f64) as f32;
        let byte = |chunk: &[f32]| {
            chunk.iter().enumerate().fold(0u8, |byte, (bit, value)| byte | u8::from(value.is_sign_negative()) << bit)
        };
        Ok(Encoded::Signs { len: values.len(), scale, bits: values.chunks(8).map(byte).collect() })
    }
}
