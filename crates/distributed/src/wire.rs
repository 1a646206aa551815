//! The bytes of an [`Encoded`] gradient.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `GC` |
//! | 2 | version, 1 |
//! | 3 | kind: 0 dense, 1 sparse, 2 shared, 3 quantised, 4 signs, 5 half, 6 a compressor's own format |
//! | 4 | flags: 1 values in half precision, 2 indices as differences |
//! | 5..8 | zero |
//! | 8..16 | length of the gradient |
//! | 16..24 | number of elements sent |
//! | 24..28 | CRC-32 of all other bytes |
//! | 28.. | the payload |
//!
//! All numbers are little-endian. Indices are u32, or ascending differences in LEB128 (the first index is its difference from 0). The payload of kind 6 is the length of the format's name (one
//! byte), the name, and the compressor's bytes. Reading checks version, kind, lengths, [limits](Limits), checksum, indices and finiteness before anything is used: any bytes give a gradient or an
//! error, and never use more memory than a small multiple of their number. What is inside a compressor's own format is checked by that compressor.

use crate::encoded::{Custom, out_of_range, to_half};
use crate::{Encoded, Error, Result};
use half::f16;
use serde::{Deserialize, Serialize};

/// Number of bytes before the payload.
const HEADER: usize = 28;
const VERSION: u8 = 1;
const HALF: u8 = 1;
const DIFFERENCES: u8 = 2;

/// How sparse gradients are written. The other forms have only one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WireFormat {
    /// Values in 2 bytes instead of 4.
    pub half_values: bool,
    /// Indices sorted and written as differences: 1 to 2 bytes instead of 4 at ratios of 1 % to 0.1 %. The order of the entries is lost.
    pub index_differences: bool,
}

/// The bytes of a gradient.
///
/// # Errors
///
/// When lists that belong together have different lengths.
pub fn to_bytes(encoded: &Encoded, format: WireFormat) -> Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER];
    let mut flags = 0;
    let kind = match encoded {
        Encoded::Dense(values) => {
            bytes.extend_from_slice(bytemuck::cast_slice(values));
            0
        }
        Encoded::Sparse { indices, values, .. } => {
            crate::error::same_length("encode", "the list of values", values.len(), indices.len())?;
            flags |= u8::from(format.index_differences) * DIFFERENCES;
            if format.index_differences && !indices.is_sorted() {
                let mut entries: Vec<(u32, f32)> = indices.iter().copied().zip(values.iter().copied()).collect();
                entries.sort_by_key(|&(index, _)| index);
                let (indices, values): (Vec<u32>, Vec<f32>) = entries.into_iter().unzip();
                flags |= put_values(&values, format.half_values, &mut bytes);
                put_differences(&indices, &mut bytes);
            } else {
                flags |= put_values(values, format.half_values, &mut bytes);
                match format.index_differences {
                    true => put_differences(indices, &mut bytes),
                    false => bytes.extend_from_slice(bytemuck::cast_slice(indices)),
                }
            }
            1
        }
        Encoded::Shared { seed, values, .. } => {
            bytes.extend_from_slice(&seed.to_le_bytes());
            flags |= put_values(values, format.half_values, &mut bytes);
            2
        }
        Encoded::Quantized { norm, levels, codes } => {
            bytes.extend_from_slice(&norm.to_le_bytes());
            bytes.push(*levels);
            bytes.extend_from_slice(bytemuck::cast_slice(codes));
            3
        }
        Encoded::Signs { scale, bits, .. } => {
            bytes.extend_from_slice(&scale.to_le_bytes());
            bytes.extend_from_slice(bits);
            4
        }
        Encoded::Half(values) => {
            values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
            5
        }
        Encoded::Custom(custom) => {
            // `Custom::new` has checked that the length fits one byte
            bytes.push(custom.format().len() as u8);
            bytes.extend_from_slice(custom.format().as_bytes());
            bytes.extend_from_slice(custom.raw_bytes());
            6
        }
    };
    bytes[..5].copy_from_slice(&[b'G', b'C', VERSION, kind, flags]);
    bytes[8..16].copy_from_slice(&(encoded.len() as u64).to_le_bytes());
    bytes[16..24].copy_from_slice(&(encoded.num_sent() as u64).to_le_bytes());
    let checksum = checksum(&bytes);
    bytes[24..28].copy_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

fn put_values(values: &[f32], half: bool, bytes: &mut Vec<u8>) -> u8 {
    if half {
        values.iter().for_each(|&value| bytes.extend_from_slice(&to_half(value).to_le_bytes()));
        HALF
    } else {
        bytes.extend_from_slice(bytemuck::cast_slice(values));
        0
    }
}

fn put_differences(sorted: &[u32], bytes: &mut Vec<u8>) {
    let mut last = 0;
    for &index in sorted {
        let mut rest = index - last;
        last = index;
        while rest >= 0x80 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }
}

/// The CRC-32 of everything but itself.
fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..24]);
    hasher.update(&bytes[HEADER..]);
    hasher.finalize()
}

/// What the bytes of another may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest length of a gradient. A sparse gradient of few bytes may announce any length, and becomes a tensor of that length; 2²⁸ elements by default, which are 1 GiB.
    pub max_elements: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_elements: 1 << 28 }
    }
}

/// The gradient in these bytes, within the default [`Limits`].
///
/// # Errors
///
/// When they are not the bytes of a gradient, with the reason, or the gradient is longer than the limit ([`Error::TooLarge`]). The bytes may be anything.
pub fn from_bytes(bytes: &[u8]) -> Result<Encoded> {
    from_bytes_within(bytes, Limits::default())
}

/// [`from_bytes`] within limits of your own: the length that you expect, or up to 2³² - 1.
///
/// # Errors
///
/// As [`from_bytes`].
pub fn from_bytes_within(bytes: &[u8], limits: Limits) -> Result<Encoded> {
    parse(bytes, limits).map_err(|reason| match reason {
        Reason::Text(reason) => {
            Error::InvalidData { what: format!("an encoded gradient of {} bytes", bytes.len()), reason }
        }
        Reason::Known(error) => error,
    })
}

enum Reason {
    Text(String),
    Known(Error),
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

fn parse(bytes: &[u8], limits: Limits) -> std::result::Result<Encoded, Reason> {
    if bytes.len() < HEADER {
        return Err(format!("shorter than the header of {HEADER} bytes").into());
    }
    let (header, payload) = bytes.split_at(HEADER);
    if header[..2] != *b"GC" {
        return Err(format!("it begins with {:?}, expected \"GC\"", &header[..2]).into());
    }
    let (version, kind, flags) = (header[2], header[3], header[4]);
    if version != VERSION {
        return Err(format!("its version is {version}, this build reads version {VERSION}").into());
    }
    if header[5..8] != [0; 3] || flags > HALF | DIFFERENCES {
        return Err("unknown flags".to_owned().into());
    }
    let number = |at: usize| header[at..at + 8].iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    let size = |value: u64, what: &str| match usize::try_from(value) {
        Ok(value) if value <= u32::MAX as usize => Ok(value),
        _ => Err(Reason::Text(format!("its {what} {value} is above 2^32 - 1"))),
    };
    let (len, sent) = (size(number(8), "length")?, size(number(16), "number of elements")?);
    if sent > len {
        return Err(format!("{sent} elements sent of {len}").into());
    }
    if len > limits.max_elements {
        let (operation, what) = ("decode", "the length of the gradient");
        return Err(Reason::Known(Error::TooLarge { operation, what, got: len, limit: limits.max_elements }));
    }
    let stored = u32::from_le_bytes([header[24], header[25], header[26], header[27]]);
    if stored != checksum(bytes) {
        return Err("its checksum is wrong".to_owned().into());
    }
    let exactly = |expected: Option<usize>| {
        let Some(expected) = expected else { return Err(Reason::Text("its length is beyond this machine".to_owned())) };
        if payload.len() == expected {
            Ok(())
        } else {
            Err(Reason::Text(format!("{} bytes of payload, expected {expected}", payload.len())))
        }
    };
    let width = if flags & HALF == 0 { 4 } else { 2 };
    if sent != len && !matches!(kind, 1 | 2 | 6) {
        return Err(format!("{sent} elements sent of {len} in a form that sends all").into());
    }
    match kind {
        0 => {
            exactly(len.checked_mul(4))?;
            Ok(Encoded::Dense(get_values(payload, 4)?))
        }
        1 => {
            let parts = sent.checked_mul(width).and_then(|bytes| payload.split_at_checked(bytes));
            let Some((values, rest)) = parts else {
                return Err(format!("{} bytes of payload for {sent} values", payload.len()).into());
            };
            let indices = if flags & DIFFERENCES == 0 {
                exactly(sent.checked_mul(width + 4))?;
                let read = |chunk: &[u8]| u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
                rest.chunks_exact(4).map(read).collect()
            } else {
                get_differences(rest, sent)?
            };
            if let Some(&index) = indices.iter().find(|&&index| index as usize >= len) {
                return Err(Reason::Known(out_of_range(index, len)));
            }
            Ok(Encoded::Sparse { len, indices, values: get_values(values, width)? })
        }
        2 => {
            exactly(sent.checked_mul(width).and_then(|bytes| bytes.checked_add(8)))?;
            let (seed, values) = payload.split_at(8);
            let seed = seed.iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
            Ok(Encoded::Shared { len, seed, values: get_values(values, width)? })
        }
        3 => {
            exactly(len.checked_add(5))?;
            let norm = get_values(&payload[..4], 4)?[0];
            let levels = payload[4];
            let codes: Vec<i8> = payload[5..].iter().map(|&byte| byte as i8).collect();
            if !(1..=127).contains(&levels) || norm < 0. {
                return Err(format!("{levels} levels of norm {norm}").into());
            }
            if codes.iter().any(|code| code.unsigned_abs() > levels) {
                return Err(format!("a code is beyond {levels} levels").into());
            }
            Ok(Encoded::Quantized { norm, levels, codes })
        }
        4 => {
            exactly(Some(4 + len.div_ceil(8)))?;
            Ok(Encoded::Signs { len, scale: get_values(&payload[..4], 4)?[0], bits: payload[4..].to_vec() })
        }
        5 => {
            exactly(len.checked_mul(2))?;
            get_values(payload, 2)?;
            let read = |chunk: &[u8]| f16::from_le_bytes([chunk[0], chunk[1]]);
            Ok(Encoded::Half(payload.chunks_exact(2).map(read).collect()))
        }
        6 => {
            let text = |end: usize| payload.get(1..end).and_then(|name| std::str::from_utf8(name).ok());
            let end = 1 + payload.first().map_or(0, |&count| usize::from(count));
            let Some(name) = text(end) else { return Err("the name of its format is damaged".to_owned().into()) };
            Ok(Encoded::Custom(Custom::new(name, len, sent, payload[end..].to_vec()).map_err(Reason::Known)?))
        }
        other => Err(format!("kind {other} is unknown").into()),
    }
}

fn get_values(bytes: &[u8], width: usize) -> std::result::Result<Vec<f32>, Reason> {
    let values: Vec<f32> = match width {
        2 => bytes.chunks_exact(2).map(|chunk| f16::from_le_bytes([chunk[0], chunk[1]]).to_f32()).collect(),
        _ => bytes.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect(),
    };
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(position) => Err(Reason::Known(Error::NotFinite { operation: "decode", position, got: values[position] })),
    }
}

fn get_differences(mut bytes: &[u8], count: usize) -> std::result::Result<Vec<u32>, Reason> {
    let mut indices = Vec::with_capacity(count.min(bytes.len()));
    let mut last = 0u32;
    for _ in 0..count {
        let mut difference = 0u64;
        let mut shift = 0;
        loop {
            let Some((&byte, rest)) = bytes.split_first() else {
                return Err(format!("the indices end after {} of {count}", indices.len()).into());
            };
            bytes = rest;
            difference |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 28 {
                return Err("a difference of indices is too long".to_owned().into());
            }
        }
        let Ok(index) = u32::try_from(u64::from(last) + difference) else {
            return Err("an index is above 2^32 - 1".to_owned().into());
        };
        indices.push(index);
        last = index;
    }
    if !bytes.is_empty() {
        return Err(format!("{} bytes after the last index", bytes.len()).into());
    }
    Ok(indices)
}
