//! Bitmaps as PNG, in `data:` addresses that a drawing holds within itself.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// A picture of 8 bits per value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bitmap {
    pub(super) width: usize,
    pub(super) height: usize,
    /// 1 for grey; 3 for red, green and blue.
    pub(super) channels: usize,
    /// `[height, width, channels]`.
    pub(super) values: Vec<u8>,
}

impl Bitmap {
    /// The bitmap as a `data:` address of a PNG.
    pub(super) fn address(&self) -> io::Result<String> {
        Ok(format!("data:image/png;base64,{}", base64(&self.png()?)))
    }

    fn png(&self) -> io::Result<Vec<u8>> {
        let mut png = SIGNATURE.to_vec();
        chunk(&mut png, *b"IHDR", &self.header()?)?;
        chunk(&mut png, *b"IDAT", &self.compressed()?)?;
        chunk(&mut png, *b"IEND", &[])?;
        Ok(png)
    }

    /// Sides, bits per value, kind of colour; then the only compression, the only family of filters, no interlacing.
    fn header(&self) -> io::Result<Vec<u8>> {
        let color = if self.channels == 1 { 0 } else { 2 };
        let sides = [big_endian(self.width)?, big_endian(self.height)?];
        Ok([sides.as_flattened(), &[8, color, 0, 0, 0]].concat())
    }

    fn compressed(&self) -> io::Result<Vec<u8>> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        for row in self.values.chunks((self.width * self.channels).max(1)) {
            // Each row begins with its filter; 0 is none.
            encoder.write_all(&[0])?;
            encoder.write_all(row)?;
        }
        encoder.finish()
    }
}

fn chunk(png: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) -> io::Result<()> {
    let content = [kind.as_slice(), data].concat();
    png.extend(big_endian(data.len())?);
    png.extend(&content);
    png.extend(crc32fast::hash(&content).to_be_bytes());
    Ok(())
}

fn big_endian(count: usize) -> io::Result<[u8; 4]> {
    u32::try_from(count).map(u32::to_be_bytes).map_err(io::Error::other)
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| group.get(index).copied().map_or(0, usize::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let is_padding = digit > group.len();
            text.push(if is_padding { '=' } else { DIGITS[bits >> (18 - 6 * digit) & 63].into() });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Kinds and contents of the chunks, whose checksums must be right.
    fn chunks(png: &[u8]) -> Vec<(&[u8], &[u8])> {
        let mut rest = png.strip_prefix(&SIGNATURE).unwrap();
        let mut chunks = Vec::new();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (content, tail) = tail.split_at(4 + u32::from_be_bytes(*length) as usize);
            let (checksum, tail) = tail.split_first_chunk::<4>().unwrap();
            assert_eq!(u32::from_be_bytes(*checksum), crc32fast::hash(content));
            chunks.push(content.split_at(4));
            rest = tail;
        }
        chunks
    }

    #[test]
    fn a_png_holds_the_sides_and_every_value() {
        let values: Vec<u8> = (0..12).map(|value| value * 20).collect();
        for (width, channels, color) in [(2, 3, 2), (6, 1, 0)] {
            let png = Bitmap { width, height: 2, channels, values: values.clone() }.png().unwrap();
            let chunks = chunks(&png);
            assert_eq!(chunks.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [b"IHDR", b"IDAT", b"IEND"]);
            assert_eq!(chunks[0].1, [0, 0, 0, width as u8, 0, 0, 0, 2, 8, color, 0, 0, 0]);
            let mut rows = Vec::new();
            flate2::read::ZlibDecoder::new(chunks[1].1).read_to_end(&mut rows).unwrap();
            assert_eq!(rows, [&[0], &values[..6], &[0], &values[6..]].concat());
        }
    }

    /// The examples of RFC 4648, section 10, and the two digits that are no letters.
    #[test]
    fn base64_is_that_of_the_standard() {
        let examples: [(&[u8], &str); 8] = [
            (b"", ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"fooba", "Zm9vYmE="),
            (b"foobar", "Zm9vYmFy"),
            (b"\xfb\xff", "+/8="),
        ];
        for (bytes, text) in examples {
            assert_eq!(base64(bytes), text);
        }
    }
}
