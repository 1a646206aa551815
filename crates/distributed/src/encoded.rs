//! What travels: a gradient in short form.

use crate::error::same_length;
use crate::{Error, Result, scan};
use half::f16;

/// A compressed gradient of `len` elements. It holds all that decoding needs; nothing of the sender's context travels beside it.
#[derive(Debug, Clone, PartialEq)]
pub enum Encoded {
    /// All elements.
    Dense(Vec<f32>),
    /// Some elements and where they stand; the others are zero. Indices are below `len`, in any order.
    Sparse {
        /// Length of the gradient.
        len: usize,
        /// Where the values stand.
        indices: Vec<u32>,
        /// As many as indices.
        values: Vec<f32>,
    },
    /// The elements at positions that every rank derives from the seed ([`shared_positions`](crate::compress::shared_positions)), so that only values travel and may be
    /// summed as they are.
    Shared {
        /// Length of the gradient.
        len: usize,
        /// Seed of the positions.
        seed: u64,
        /// In order of ascending positions.
        values: Vec<f32>,
    },
    /// QSGD: element `i` is `norm · codes[i] / levels`.
    Quantized {
        /// Euclidean norm of the gradient.
        norm: f32,
        /// Steps between zero and the norm, 1 to 127.
        levels: u8,
        /// One for each element, at most `levels` in magnitude.
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
}

impl Encoded {
    /// Length of the gradient.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self {
            Self::Dense(values) => values.len(),
            Self::Sparse { len, .. } | Self::Shared { len, .. } | Self::Signs { len, .. } => *len,
            Self::Quantized { codes, .. } => codes.len(),
            Self::Half(values) => values.len(),
        }
    }

    /// How many elements it says something about.
    pub fn num_sent(&self) -> usize {
        match self {
            Self::Sparse { values, .. } | Self::Shared { values, .. } => values.len(),
            _ => self.len(),
        }
    }

    /// Adds `scale` times the gradient to `out`; costs the number of sent elements where the form is sparse.
    ///
    /// # Errors
    ///
    /// When `out` has another length, or an index (of bytes from outside) is not below it; elements before it are added then.
    pub fn add_to(&self, scale: f32, out: &mut [f32]) -> Result<()> {
        same_length("decode", "the gradient", out.len(), self.len())?;
        match self {
            Self::Dense(values) => out.iter_mut().zip(values).for_each(|(out, value)| *out += scale * value),
            Self::Sparse { indices, values, .. } => {
                same_length("decode", "the list of values", values.len(), indices.len())?;
                for (&index, value) in indices.iter().zip(values) {
                    match out.get_mut(index as usize) {
                        Some(out) => *out += scale * value,
                        None => return Err(outside(index, self.len())),
                    }
                }
            }
            Self::Shared { seed, values, len } => {
                let positions = crate::compress::shared_positions(*seed, *len, values.len())?;
                for (index, value) in positions.into_iter().zip(values) {
                    out[index as usize] += scale * value;
                }
            }
            Self::Quantized { norm, levels, codes } => {
                let unit = scale * norm / f32::from((*levels).max(1));
                out.iter_mut().zip(codes).for_each(|(out, code)| *out += unit * f32::from(*code));
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
        }
        Ok(())
    }

    /// The gradient.
    ///
    /// # Errors
    ///
    /// As [`Encoded::add_to`].
    pub fn to_dense(&self) -> Result<Vec<f32>> {
        let mut out = vec![0.; self.len()];
        self.add_to(1., &mut out)?;
        Ok(out)
    }

    /// Rounds sparse values to half precision, as [`WireFormat::half_values`](crate::wire::WireFormat::half_values) sends them. A value beyond its range becomes the largest that
    /// it has. Done before error feedback looks at what is sent, so that the rounding error is kept as well.
    pub fn round_to_half(&mut self) {
        if let Self::Sparse { values, .. } | Self::Shared { values, .. } = self {
            values.iter_mut().for_each(|value| *value = to_half(*value).to_f32());
        }
    }
}

pub(crate) fn to_half(value: f32) -> f16 {
    f16::from_f32(value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

pub(crate) fn outside(index: u32, len: usize) -> Error {
    Error::Wire { len, reason: format!("index {index} is not below the length {len}") }
}

/// The mean (or sum) of the gradients of all ranks: one zeroed tensor, to which every rank's elements are added in the order of ranks. Where several ranks send the same index
/// the values add up.
///
/// # Errors
///
/// When a gradient has another length than `out`.
pub fn decode_sparse(gradients: &[Encoded], scale: f32, out: &mut [f32]) -> Result<()> {
    scan::clear(out);
    gradients.iter().try_for_each(|gradient| gradient.add_to(scale, out))
}

/// The same by one dense tensor for each rank and their sum, the form that [`decode_sparse`] makes unnecessary; for comparison.
///
/// # Errors
///
/// As [`decode_sparse`].
pub fn decode_naive(gradients: &[Encoded], scale: f32, out: &mut [f32]) -> Result<()> {
    let mut dense = Vec::new();
    for gradient in gradients {
        same_length("decode", "the gradient", out.len(), gradient.len())?;
        dense.push(gradient.to_dense()?);
    }
    out.fill(0.);
    for gradient in dense {
        out.iter_mut().zip(gradient).for_each(|(out, value)| *out += scale * value);
    }
    Ok(())
}
