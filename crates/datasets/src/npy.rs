//! NumPy's `.npy` files, versions 1 to 3: integers, floats and booleans of either byte order, in either order of axes.

use std::path::Path;

use crate::archive;
use crate::array::{self, Array, ElementType, Values};
use crate::error::{Error, Result};
use crate::text;

const FORMAT: &str = "npy";

/// The most axes that NumPy knows.
const MAX_AXES: usize = 64;

/// Reads a `.npy` file (also `.npy.gz`).
///
/// # Errors
/// As [`parse`] and [`archive::read`].
pub fn read(path: &Path) -> Result<Array> {
    parse(&archive::read(path)?)
}

/// Reads the bytes of a `.npy` file. Arrays in Fortran order are brought into row-major order.
///
/// # Errors
/// [`Error::InvalidData`]: another magic or version, a header that is not the dictionary of NumPy, an element type that is not a
/// plain number (text, records, objects, complex and half precision are refused), or not exactly the bytes that the shape
/// asks for.
pub fn parse(bytes: &[u8]) -> Result<Array> {
    let invalid = |at: &str, reason: String| Err(Error::invalid_data(FORMAT, at, reason));
    let Some((b"\x93NUMPY", rest)) = bytes.split_first_chunk::<6>() else {
        return invalid("byte 0", "not the magic number of NumPy".into());
    };
    let (length, rest) = match rest {
        [1, 0, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, 0, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        [major, minor, ..] => return invalid("version", format!("{major}.{minor}, expected 1.0 to 3.0")),
        _ => return invalid("version", "the file ends".into()),
    };
    let Some((header, data)) = rest.split_at_checked(length) else {
        return invalid("header", format!("{} bytes, expected {length}", rest.len()));
    };
    let Ok(header) = std::str::from_utf8(header) else {
        return invalid("header", "not UTF-8".into());
    };
    let header = Header::parse(header)?;
    array::check_length(FORMAT, &header.shape, header.element, data)?;
    let mut values = Values::decode(header.element, header.is_big_endian, data);
    if header.is_fortran_order && header.shape.len() > 1 && !values.is_empty() {
        values = values.gather(row_major_positions(&header.shape));
    }
    Ok(Array { shape: header.shape, values })
}

/// For each element in row-major order, its position in column-major order. The shape is that of at least one element.
fn row_major_positions(shape: &[usize]) -> impl Iterator<Item = usize> {
    let mut stride = 1;
    // Extent, stride and current index of each axis.
    let mut axes: Vec<(usize, usize, usize)> = Vec::with_capacity(shape.len());
    for &extent in shape {
        axes.push((extent, stride, 0));
        stride *= extent;
    }
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let position = next?;
        let mut following = position;
        // As on an odometer: the last axis that is not at its end moves on, and those behind it start again.
        for (extent, stride, index) in axes.iter_mut().rev() {
            if *index + 1 < *extent {
                *index += 1;
                next = Some(following + *stride);
                return Some(position);
            }
            following -= *index * *stride;
            *index = 0;
        }
        next = None;
        Some(position)
    })
}

struct Header {
    element: ElementType,
    is_big_endian: bool,
    is_fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Reads `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`, the keys in any order.
    fn parse(text: &str) -> Result<Self> {
        let invalid = |reason: &str| {
            Error::invalid_data(FORMAT, "header", format!("{reason}: {}", text::quoted(text.trim_end())))
        };
        let body = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let mut rest = body.ok_or_else(|| invalid("expected a dictionary"))?.trim();
        let (mut descr, mut order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, after) = quoted(rest).ok_or_else(|| invalid("expected a quoted key"))?;
            let after = after.trim_start().strip_prefix(':').ok_or_else(|| invalid("expected a colon"))?.trim_start();
            let after = match key {
                "descr" => {
                    let (value, after) = quoted(after).ok_or_else(|| invalid("expected a plain element type"))?;
                    descr = Some(value);
                    after
                }
                "fortran_order" => {
                    let (value, after) = boolean(after).ok_or_else(|| invalid("expected True or False"))?;
                    order = Some(value);
                    after
                }
                "shape" => {
                    let (value, after) = tuple(after).ok_or_else(|| invalid("expected a tuple of sizes"))?;
                    shape = Some(value);
                    after
                }
                _ => return Err(invalid("an unknown key")),
            };
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(after) => after.trim_start(),
                None if after.is_empty() => after,
                None => return Err(invalid("expected a comma")),
            };
        }
        let (Some(descr), Some(is_fortran_order), Some(shape)) = (descr, order, shape) else {
            return Err(invalid("a key is missing"));
        };
        let (element, is_big_endian) =
            element_type(descr).ok_or_else(|| invalid("an element type that is not a plain number"))?;
        Ok(Self { element, is_big_endian, is_fortran_order, shape })
    }
}

fn element_type(descr: &str) -> Option<(ElementType, bool)> {
    let (order, code) = descr.split_at_checked(1)?;
    let element = match code {
        "b1" | "?" => ElementType::Bool,
        "i1" => ElementType::I8,
        "i2" => ElementType::I16,
        "i4" => ElementType::I32,
        "i8" => ElementType::I64,
        "u1" => ElementType::U8,
        "u2" => ElementType::U16,
        "u4" => ElementType::U32,
        "u8" => ElementType::U64,
        "f4" => ElementType::F32,
        "f8" => ElementType::F64,
        _ => return None,
    };
    match order {
        "<" => Some((element, false)),
        ">" => Some((element, true)),
        "|" if element.size() == 1 => Some((element, false)),
        _ => None,
    }
}

/// A quoted text without escapes, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    text[1..].split_once(quote)
}

fn boolean(text: &str) -> Option<(bool, &str)> {
    match text.strip_prefix("True") {
        Some(rest) => Some((true, rest)),
        None => Some((false, text.strip_prefix("False")?)),
    }
}

fn tuple(text: &str) -> Option<(Vec<usize>, &str)> {
    let (inside, rest) = text.strip_prefix('(')?.split_once(')')?;
    let inside = inside.trim();
    let inside = inside.strip_suffix(',').unwrap_or(inside).trim_end();
    if inside.is_empty() {
        return Some((Vec::new(), rest));
    }
    // Python 2 wrote long integers with an L.
    let extent = |word: &str| word.trim().trim_end_matches('L').parse().ok();
    let shape: Vec<usize> = inside.split(',').map(extent).collect::<Option<_>>()?;
    (shape.len() <= MAX_AXES).then_some((shape, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((header.len() as u16).to_le_bytes()),
            _ => bytes.extend((header.len() as u32).to_le_bytes()),
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn every_version_and_byte_order_gives_the_same_numbers() {
        let little: Vec<u8> = [1.5f64, -2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let big: Vec<u8> = [1.5f64, -2.0, 3.0].iter().flat_map(|value| value.to_be_bytes()).collect();
        for version in 1..=3 {
            for (order, data) in [('<', &little), ('>', &big)] {
                let header = format!("{{'descr': '{order}f8', 'fortran_order': False, 'shape': (3,), }}   \n");
                let array = parse(&file(version, &header, data)).unwrap();
                assert_eq!(array, Array { shape: vec![3], values: Values::F64(vec![1.5, -2.0, 3.0]) });
            }
        }
    }

    #[test]
    fn fortran_order_is_brought_into_row_major_order() {
        // Of the array [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]].
        let data = [0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11];
        let array = parse(&file(1, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 2)}", &data)).unwrap();
        assert_eq!(array.values, Values::U8((0..12).collect()));
        assert_eq!(array.shape, [2, 3, 2]);
    }

    #[test]
    fn every_plain_element_type_is_read() {
        for (descr, data, expected) in [
            ("|b1", vec![1, 0], Values::Bool(vec![true, false])),
            ("|i1", vec![255, 1], Values::I8(vec![-1, 1])),
            ("<i2", vec![254, 255, 1, 0], Values::I16(vec![-2, 1])),
            (">i4", vec![0, 0, 0, 1, 255, 255, 255, 255], Values::I32(vec![1, -1])),
            ("<u2", vec![1, 1, 2, 0], Values::U16(vec![257, 2])),
            ("<u4", vec![1, 0, 0, 0, 0, 1, 0, 0], Values::U32(vec![1, 256])),
            (">u8", vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0], Values::U64(vec![1, 256])),
            ("<i8", [3i64.to_le_bytes(), (-4i64).to_le_bytes()].concat(), Values::I64(vec![3, -4])),
            ("<f4", [0.5f32.to_le_bytes(), 2.0f32.to_le_bytes()].concat(), Values::F32(vec![0.5, 2.0])),
        ] {
            let header = format!("{{'shape': (2,), 'fortran_order': False, 'descr': '{descr}'}}");
            assert_eq!(parse(&file(1, &header, &data)).unwrap().values, expected, "{descr}");
        }
    }

    #[test]
    fn a_number_without_axes_and_an_empty_array_are_read() {
        let one = parse(&file(1, "{'descr': '|u1', 'fortran_order': False, 'shape': ()}", &[7])).unwrap();
        assert_eq!((one.shape.len(), one.values), (0, Values::U8(vec![7])));
        let none = parse(&file(1, "{'descr': '<f8', 'fortran_order': True, 'shape': (0, 5)}", &[])).unwrap();
        assert!(none.values.is_empty());
    }

    #[test]
    fn text_records_and_objects_are_refused() {
        for descr in ["'<U3'", "'|O'", "[('a', '<f4')]", "'<f2'", "'<c8'", "'=f8'"] {
            let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (1,)}}");
            assert!(matches!(parse(&file(1, &header, &[0; 12])), Err(Error::InvalidData { .. })), "{descr}");
        }
    }

    #[test]
    fn a_claimed_shape_allocates_nothing() {
        for shape in ["(9223372036854775807, 4)", "(1000000000000,)", "(18446744073709551615, 18446744073709551615)"] {
            let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}");
            assert!(matches!(parse(&file(2, &header, &[0; 8])), Err(Error::InvalidData { .. })));
        }
        let mut bytes = file(2, "{}", &[]);
        bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(parse(&bytes), Err(Error::InvalidData { .. })));
    }
}
