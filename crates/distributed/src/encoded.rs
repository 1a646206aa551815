//! Compressed forms of a gradient.

use crate::error::same_length;
use crate::quote::quote;
use crate::{Error, Result, scan};
use half::f16;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// A compressed gradient. Together with the compressor that made it, it holds everything that decoding needs.
#[derive(Debug, Clone, PartialEq)]
pub enum Encoded {
    /// All elements.
    Dense(Vec<f32>),
    /// Some elements and their indices; all others are zero. Indices are below `len`, in any order.
    Sparse {
        /// Length of the gradient.
        len: usize,
        /// Indices of the elements.
        indices: Vec<u32>,
        /// As many values as indices.
        values: Vec<f32>,
    },
    /// The elements at positions that every rank derives from the seed ([`shared_positions`]). Only values travel, and they can be summed without decoding.
    Shared {
        /// Length of the gradient.
        len: usize,
        /// Seed of the positions.
        seed: u64,
        /// Values in the order of ascending positions.
        values: Vec<f32>,
    },
    /// QSGD: element `i` is `norm · codes[i] / levels`.
    Quantized {
        /// Euclidean norm of the gradient.
        norm: f32,
        /// Number of steps between zero and the norm, 1 to 127.
        levels: u8,
        /// One code for each element, at most `levels` in magnitude.
        codes: Vec<i8>,
    },
    /// Element `i` is `scale`, or `-scale` where bit `i` (lowest first in each byte) is set.
    Signs {
        /// Length of the gradient.
        len: usize,
        /// The common magnitude.
        scale: f32,
        /// `⌈len / 8⌉` bytes.
        bits: Vec<u8>,
    },
    /// All elements in half precision.
    Half(Vec<f16>),
    /// The bytes of a compressor's own format, which [`Compressor::decode`](crate::Compressor::decode) of that compressor reads.
    Custom(Custom),
}

/// A gradient in a compressor's own format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custom {
    format: String,
    len: usize,
    num_sent: usize,
    bytes: Vec<u8>,
}

impl Custom {
    /// A gradient of `len` elements, of which `num_sent` are sent (for statistics), as `bytes` of a format with this name. The name travels with the bytes, so that a rank that expects
    /// another format refuses them. Give it a version: `sign-blocks/1`.
    ///
    /// # Errors
    ///
    /// When the name is empty or longer than 255 bytes, or `num_sent` is above `len`, or `len` above 2³² - 1.
    pub fn new(format: impl Into<String>, len: usize, num_sent: usize, bytes: Vec<u8>) -> Result<Self> {
        let format = format.into();
        if format.is_empty() || format.len() > usize::from(u8::MAX) {
            let reason = format!("`{format}` has {} bytes, expected 1 to 255", format.len());
            return Err(Error::config("name of a gradient's format", reason));
        }
        for (what, got, limit) in [("length", len, u32::MAX as usize), ("number of elements sent", num_sent, len)] {
            if got > limit {
                return Err(Error::TooLarge { operation: "encode", what, got, limit });
            }
        }
        Ok(Self { format, len, num_sent, bytes })
    }

    /// The name of the format.
    pub fn format(&self) -> &str {
        &self.format
    }

    pub(crate) fn raw_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Encoded {
    /// The elements at these indices.
    pub(crate) fn gather(values: &[f32], indices: Vec<u32>) -> Self {
        let sent = indices.iter().map(|&index| values[index as usize]).collect();
        Self::Sparse { len: values.len(), indices, values: sent }
    }

    /// Length of the gradient.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self {
            Self::Dense(values) => values.len(),
            Self::Sparse { len, .. } | Self::Shared { len, .. } | Self::Signs { len, .. } => *len,
            Self::Quantized { codes, .. } => codes.len(),
            Self::Half(values) => values.len(),
            Self::Custom(custom) => custom.len,
        }
    }

    /// The number of elements that are sent.
    pub fn num_sent(&self) -> usize {
        match self {
            Self::Sparse { values, .. } | Self::Shared { values, .. } => values.len(),
            Self::Custom(custom) => custom.num_sent,
            _ => self.len(),
        }
    }

    /// A short name of the form, for errors.
    fn form(&self) -> &str {
        match self {
            Self::Dense(_) => "dense",
            Self::Sparse { .. } => "sparse",
            Self::Shared { .. } => "shared positions",
            Self::Quantized { .. } => "quantised",
            Self::Signs { .. } => "signs",
            Self::Half(_) => "half precision",
            Self::Custom(custom) => &custom.format,
        }
    }

    /// The bytes of a gradient in the compressor's own format with this name; the first line of a [`Compressor::decode`](crate::Compressor::decode).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidData`] when it is in another format, which means that another rank has another compressor.
    pub fn custom_bytes(&self, format: &str) -> Result<&[u8]> {
        match self {
            Self::Custom(custom) if custom.format == format => Ok(&custom.bytes),
            other => Err(other_format(other.form(), format)),
        }
    }

    /// Adds `scale` times the gradient to `out`. The cost is linear in the number of elements sent.
    ///
    /// # Errors
    ///
    /// When `out` has another length, an index is not below it (elements before it have been added then), or the form is [`Encoded::Custom`], which only its compressor can decode.
    pub fn add_to(&self, scale: f32, out: &mut [f32]) -> Result<()> {
        same_length("decode", "the output", out.len(), self.len())?;
        match self {
            Self::Dense(values) => out.iter_mut().zip(values).for_each(|(out, value)| *out += scale * value),
            Self::Sparse { indices, values, .. } => {
                same_length("decode", "the list of values", values.len(), indices.len())?;
                for (&index, value) in indices.iter().zip(values) {
                    match out.get_mut(index as usize) {
                        Some(out) => *out += scale * value,
                        None => return Err(out_of_range(index, self.len())),
                    }
                }
            }
            Self::Shared { seed, values, len } => {
                for (index, value) in shared_positions(*seed, *len, values.len())?.into_iter().zip(values) {
                    out[index as usize] += scale * value;
                }
            }
            Self::Quantized { norm, levels, codes } => {
                let levels = f32::from((*levels).max(1));
                let unit = scale * norm / levels;
                if unit.is_normal() || *norm == 0. {
                    out.iter_mut().zip(codes).for_each(|(out, code)| *out += unit * f32::from(*code));
                } else {
                    // the unit of a tiny norm has lost digits
                    let unit = f64::from(scale) * f64::from(*norm) / f64::from(levels);
                    out.iter_mut().zip(codes).for_each(|(out, code)| *out += (unit * f64::from(*code)) as f32);
                }
            }
            Self::Signs { scale: magnitude, bits, len } => {
                same_length("decode", "the list of signs", bits.len(), len.div_ceil(8))?;
                let value = scale * magnitude;
                for (out, byte) in out.chunks_mut(8).zip(bits) {
                    for (bit, out) in out.iter_mut().enumerate() {
                        *out += if byte >> bit & 1 == 1 { -value } else { value };
                    }
                }
            }
            Self::Half(values) => out.iter_mut().zip(values).for_each(|(out, value)| *out += scale * value.to_f32()),
            Self::Custom(custom) => return Err(other_format(&custom.format, "a built-in form")),
        }
        Ok(())
    }

    /// The gradient.
    ///
    /// # Errors
    ///
    /// As [`Encoded::add_to`], or when there is no memory for its length.
    pub fn to_dense(&self) -> Result<Vec<f32>> {
        let mut out = Vec::new();
        if out.try_reserve_exact(self.len()).is_err() {
            let reason = format!("there is no memory for {} elements", self.len());
            return Err(Error::InvalidData { what: "an encoded gradient".to_owned(), reason });
        }
        out.resize(self.len(), 0.);
        self.add_to(1., &mut out)?;
        Ok(out)
    }

    /// Rounds sparse values to half precision, as [`WireFormat::half_values`](crate::wire::WireFormat::half_values) sends them; values beyond its range become its largest. This must
    /// happen before error feedback subtracts what is sent, so that the rounding error is kept as well.
    pub fn round_to_half(&mut self) {
        if let Self::Sparse { values, .. } | Self::Shared { values, .. } = self {
            values.iter_mut().for_each(|value| *value = to_half(*value).to_f32());
        }
    }
}

fn other_format(got: &str, expected: &str) -> Error {
    let got = quote(got);
    let reason = format!("its format is `{got}`, expected `{expected}`; all ranks must have the same compressor");
    Error::InvalidData { what: "an encoded gradient".to_owned(), reason }
}

pub(crate) fn to_half(value: f32) -> f16 {
    f16::from_f32(value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

pub(crate) fn out_of_range(index: u32, bound: usize) -> Error {
    Error::OutOfRange { operation: "decode", what: "index", index: index as usize, bound }
}

/// `count` different positions below `len`, ascending; the same on every rank that has the seed.
///
/// # Errors
///
/// When `count` is above `len`, or `len` above 2³² - 1.
pub fn shared_positions(seed: u64, len: usize, count: usize) -> Result<Vec<u32>> {
    for (what, got, limit) in [("length", len, u32::MAX as usize), ("number of positions", count, len)] {
        if got > limit {
            return Err(Error::TooLarge { operation: "shared_positions", what, got, limit });
        }
    }
    let mut positions: Vec<u32> = rand::seq::index::sample(&mut ChaCha8Rng::seed_from_u64(seed), len, count)
        .into_iter()
        .map(|at| at as u32)
        .collect();
    positions.sort_unstable();
    Ok(positions)
}

/// The sum of the gradients of all ranks times `scale` (`1 / ranks` for the mean): `out` is cleared once and every rank's elements are added to it in the order of ranks. Values that
/// several ranks send at one index add up.
///
/// # Errors
///
/// As [`Encoded::add_to`].
pub fn decode_sparse(gradients: &[Encoded], scale: f32, out: &mut [f32]) -> Result<()> {
    scan::clear(out);
    gradients.iter().try_for_each(|gradient| gradient.add_to(scale, out))
}

/// [`decode_sparse`] by one dense tensor for each rank and their sum: what tests and benchmarks compare with.
#[doc(hidden)]
pub fn decode_naive(gradients: &[Encoded], scale: f32, out: &mut [f32]) -> Result<()> {
    let mut dense = Vec::new();
    for gradient in gradients {
        same_length("decode", "the output", out.len(), gradient.len())?;
        dense.push(gradient.to_dense()?);
    }
    out.fill(0.);
    for gradient in dense {
        out.iter_mut().zip(gradient).for_each(|(out, value)| *out += scale * value);
    }
    Ok(())
}
