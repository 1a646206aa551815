//! Recordings: 16-bit PCM `.wav` files, and the Free Spoken Digit Dataset made of them.

use crate::archive::{self, Limits};
use crate::error::{Error, Result};
use crate::store::Store;
use crate::text::quoted;

const FORMAT: &str = "WAV";

/// A recording with one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Samples per second.
    pub sample_rate: u32,
    /// The samples.
    pub samples: Vec<i16>,
}

/// A spoken digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpokenDigit {
    /// The digit, 0 to 9.
    pub digit: u8,
    /// Name of the speaker.
    pub speaker: String,
    /// Number of the take. The official split tests on the takes 0 to 4 and trains on the others.
    pub take: u32,
    /// The sound.
    pub recording: Recording,
}

/// Loads `fsdd`: 3000 recordings at 8 kHz, sorted by file name (`<digit>_<speaker>_<take>.wav`, byte order).
///
/// # Errors
/// What [`Store::file`], [`archive::members`] and [`parse_wav`] report; [`Error::InvalidData`] for another kind of name.
pub fn load_fsdd(store: &Store) -> Result<Vec<SpokenDigit>> {
    let path = store.file("fsdd", "recordings.tar.gz")?;
    let bytes = std::fs::read(&path).map_err(|source| Error::io("read", &path, source))?;
    let mut digits = Vec::new();
    for (name, bytes) in archive::members(&bytes, &Limits::default())? {
        let Some(stem) = name.strip_suffix(".wav") else { continue };
        let stem = stem.rsplit('/').next().unwrap_or(stem);
        let parts: Vec<&str> = stem.split('_').collect();
        let parsed = match parts.as_slice() {
            [digit, speaker, take] => {
                digit.parse().ok().zip(take.parse().ok()).map(|(digit, take)| (digit, *speaker, take))
            }
            _ => None,
        };
        let Some((digit @ 0..=9, speaker, take)) = parsed else {
            return Err(Error::invalid_data(
                "fsdd",
                format!("member `{}`", quoted(&name)),
                "expected <digit>_<speaker>_<take>.wav",
            ));
        };
        digits.push(SpokenDigit { digit, speaker: speaker.to_owned(), take, recording: parse_wav(&bytes)? });
    }
    Ok(digits)
}

/// Reads a `.wav` file with one channel of 16-bit PCM samples. Chunks of other kinds are skipped.
///
/// # Errors
/// [`Error::InvalidData`]: not RIFF WAVE, another coding, sample size or number of channels, a chunk longer than the file, or no
/// samples chunk.
pub fn parse_wav(bytes: &[u8]) -> Result<Recording> {
    let [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', chunks @ ..] = bytes else {
        return Err(Error::invalid_data(FORMAT, "byte 0", "not RIFF WAVE"));
    };
    let mut rest = chunks;
    let mut sample_rate = None;
    while let [a, b, c, d, l0, l1, l2, l3, chunk @ ..] = rest {
        let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
        let name = [*a, *b, *c, *d];
        let Some((body, after)) = chunk.split_at_checked(length) else {
            let at = format!("chunk `{}`", name.escape_ascii());
            return Err(Error::invalid_data(FORMAT, at, format!("{length} bytes, but only {} are left", chunk.len())));
        };
        match (&name, sample_rate) {
            (b"fmt ", _) => sample_rate = Some(parse_format(body)?),
            (b"data", Some(sample_rate)) => {
                let (samples, []) = body.as_chunks::<2>() else {
                    return Err(Error::invalid_data(FORMAT, "chunk `data`", "half a sample at the end"));
                };
                let samples = samples.iter().map(|sample| i16::from_le_bytes(*sample)).collect();
                return Ok(Recording { sample_rate, samples });
            }
            _ => {}
        }
        // Chunks start at even offsets.
        rest = after.get(length % 2..).unwrap_or_default();
    }
    Err(Error::invalid_data(FORMAT, "the end", "no chunk `data` after a chunk `fmt `"))
}

/// The sample rate of a format that can be read.
fn parse_format(body: &[u8]) -> Result<u32> {
    let [coding0, coding1, channels0, channels1, r0, r1, r2, r3, _, _, _, _, _, _, bits0, bits1, ..] = body else {
        return Err(Error::invalid_data(FORMAT, "chunk `fmt `", format!("{} bytes, expected 16", body.len())));
    };
    let of = |low: &u8, high: &u8| u16::from_le_bytes([*low, *high]);
    match (of(coding0, coding1), of(channels0, channels1), of(bits0, bits1)) {
        (1, 1, 16) => Ok(u32::from_le_bytes([*r0, *r1, *r2, *r3])),
        (coding, channels, bits) => {
            let reason = format!("coding {coding}, {channels} channels, {bits} bits; expected 1, 1, 16");
            Err(Error::invalid_data(FORMAT, "chunk `fmt `", reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(channels: u8, extra: &[u8]) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0".to_vec();
        bytes.extend([channels, 0, 0x40, 0x1f, 0, 0, 0, 0, 0, 0, 2, 0, 16, 0]);
        bytes.extend(extra);
        bytes.extend(b"data\x04\0\0\0\x01\0\xff\xff");
        bytes
    }

    #[test]
    fn samples_are_read_behind_chunks_of_odd_length() {
        let expected = Recording { sample_rate: 8000, samples: vec![1, -1] };
        assert_eq!(parse_wav(&wav(1, b"")).unwrap(), expected);
        assert_eq!(parse_wav(&wav(1, b"LIST\x03\0\0\0abc\0")).unwrap(), expected);
    }

    #[test]
    fn stereo_truncation_and_missing_samples_are_refused() {
        let whole = wav(1, b"");
        for bytes in [&wav(2, b"")[..], &whole[..whole.len() - 1], &whole[..40], &whole[..36], &whole[..11], b""] {
            assert!(matches!(parse_wav(bytes), Err(Error::InvalidData { .. })));
        }
    }
}
