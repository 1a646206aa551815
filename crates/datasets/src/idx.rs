//! IDX files, the form of MNIST: a magic number with the element type and the number of axes, the extents, the elements,
//! all big endian.

use std::path::Path;

use crate::archive;
use crate::array::{self, Array, ElementType, Values};
use crate::error::{Error, Result};

const FORMAT: &str = "IDX";

/// Reads an IDX file, also compressed (`.gz`).
///
/// # Errors
/// As [`parse`] and [`archive::read`].
pub fn read(path: &Path) -> Result<Array> {
    parse(&archive::read(path)?)
}

/// Reads the bytes of an IDX file.
///
/// # Errors
/// [`Error::InvalidData`]: another magic number, an unknown element type, not exactly the bytes that the extents ask for.
pub fn parse(bytes: &[u8]) -> Result<Array> {
    let [0, 0, code, num_axes, rest @ ..] = bytes else {
        return Err(Error::invalid_data(FORMAT, "byte 0", "not the magic number of IDX"));
    };
    let element = match code {
        0x08 => ElementType::U8,
        0x09 => ElementType::I8,
        0x0b => ElementType::I16,
        0x0c => ElementType::I32,
        0x0d => ElementType::F32,
        0x0e => ElementType::F64,
        other => return Err(Error::invalid_data(FORMAT, "byte 2", format!("element type 0x{other:02x}"))),
    };
    let Some((extents, data)) = rest.split_at_checked(4 * usize::from(*num_axes)) else {
        return Err(Error::invalid_data(FORMAT, "extents", format!("the file ends before {num_axes} extents")));
    };
    let shape: Vec<usize> =
        extents.as_chunks::<4>().0.iter().map(|extent| u32::from_be_bytes(*extent) as usize).collect();
    array::check_length(FORMAT, &shape, element, data)?;
    Ok(Array { shape, values: Values::decode(element, true, data) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_big_endian() {
        let array = parse(&[0, 0, 0x0b, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 255, 255]).unwrap();
        assert_eq!(array, Array { shape: vec![1, 2], values: Values::I16(vec![256, -1]) });
    }

    #[test]
    fn a_wrong_type_or_length_is_refused_before_anything_is_allocated() {
        for bytes in [
            &[][..],
            &[0, 0, 8],
            &[0, 0, 0x0a, 1, 0, 0, 0, 0],
            &[0, 0, 8, 3, 0, 0, 0, 1],
            &[0, 0, 8, 1, 0, 0, 0, 2, 1],
            &[0, 0, 8, 1, 0, 0, 0, 1, 1, 1],
            &[0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255],
        ] {
            assert!(matches!(parse(bytes), Err(Error::InvalidData { .. })), "{bytes:?}");
        }
    }
}
