//! An array of numbers with a shape: what `.npy` and IDX files hold.

use crate::error::{Error, Result};
use crate::text::quoted;

/// Numbers in row-major order with a shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Extents, outermost first; empty for a single number.
    pub shape: Vec<usize>,
    /// The elements, the last index running fastest.
    pub values: Values,
}

/// Elements of one type.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each variant is named by its element type")]
pub enum Values {
    Bool(Vec<bool>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// Evaluates an expression for the vector of whichever type.
macro_rules! for_any {
    ($values:expr, $vector:ident => $result:expr) => {
        match $values {
            Values::Bool($vector) => $result,
            Values::I8($vector) => $result,
            Values::I16($vector) => $result,
            Values::I32($vector) => $result,
            Values::I64($vector) => $result,
            Values::U8($vector) => $result,
            Values::U16($vector) => $result,
            Values::U32($vector) => $result,
            Values::U64($vector) => $result,
            Values::F32($vector) => $result,
            Values::F64($vector) => $result,
        }
    };
}

/// Integers of any type as `i64`, or nothing.
macro_rules! as_integers {
    ($vector:expr) => {
        Some($vector.iter().map(|&value| i64::from(value)).collect())
    };
}

impl Values {
    /// Number of elements.
    pub fn len(&self) -> usize {
        for_any!(self, values => values.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Name of the element type, as in `f64`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Values::Bool(_) => "bool",
            Values::I8(_) => "i8",
            Values::I16(_) => "i16",
            Values::I32(_) => "i32",
            Values::I64(_) => "i64",
            Values::U8(_) => "u8",
            Values::U16(_) => "u16",
            Values::U32(_) => "u32",
            Values::U64(_) => "u64",
            Values::F32(_) => "f32",
            Values::F64(_) => "f64",
        }
    }

    /// The elements as `f64`; integers beyond 2^53 are rounded, `true` is 1.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Values::Bool(values) => values.iter().map(|&value| f64::from(u8::from(value))).collect(),
            Values::I8(values) => values.iter().map(|&value| value.into()).collect(),
            Values::I16(values) => values.iter().map(|&value| value.into()).collect(),
            Values::I32(values) => values.iter().map(|&value| value.into()).collect(),
            Values::I64(values) => values.iter().map(|&value| value as f64).collect(),
            Values::U8(values) => values.iter().map(|&value| value.into()).collect(),
            Values::U16(values) => values.iter().map(|&value| value.into()).collect(),
            Values::U32(values) => values.iter().map(|&value| value.into()).collect(),
            Values::U64(values) => values.iter().map(|&value| value as f64).collect(),
            Values::F32(values) => values.iter().map(|&value| value.into()).collect(),
            Values::F64(values) => values.clone(),
        }
    }

    /// The elements as `f32`, rounded to the nearest.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Values::Bool(values) => values.iter().map(|&value| f32::from(u8::from(value))).collect(),
            Values::I8(values) => values.iter().map(|&value| value.into()).collect(),
            Values::I16(values) => values.iter().map(|&value| value.into()).collect(),
            Values::I32(values) => values.iter().map(|&value| value as f32).collect(),
            Values::I64(values) => values.iter().map(|&value| value as f64 as f32).collect(),
            Values::U8(values) => values.iter().map(|&value| value.into()).collect(),
            Values::U16(values) => values.iter().map(|&value| value.into()).collect(),
            Values::U32(values) => values.iter().map(|&value| value as f32).collect(),
            Values::U64(values) => values.iter().map(|&value| value as f64 as f32).collect(),
            Values::F32(values) => values.clone(),
            Values::F64(values) => values.iter().map(|&value| value as f32).collect(),
        }
    }

    /// The elements as `i64`, if they are integers (or `bool`) that fit.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        match self {
            Values::Bool(values) => as_integers!(values),
            Values::I8(values) => as_integers!(values),
            Values::I16(values) => as_integers!(values),
            Values::I32(values) => as_integers!(values),
            Values::I64(values) => Some(values.clone()),
            Values::U8(values) => as_integers!(values),
            Values::U16(values) => as_integers!(values),
            Values::U32(values) => as_integers!(values),
            Values::U64(values) => values.iter().map(|&value| i64::try_from(value).ok()).collect(),
            Values::F32(_) | Values::F64(_) => None,
        }
    }

    /// What `convert` makes of each position and element, without a copy in between; `None` where the elements are no integers
    /// (or `bool`).
    pub(crate) fn convert_integers<T>(&self, convert: impl FnMut(usize, i128) -> Result<T>) -> Option<Result<Vec<T>>> {
        fn all<N: Copy + Into<i128>, T>(
            values: &[N],
            mut convert: impl FnMut(usize, i128) -> Result<T>,
        ) -> Option<Result<Vec<T>>> {
            let mut converted = Vec::with_capacity(values.len());
            for (position, &value) in values.iter().enumerate() {
                match convert(position, value.into()) {
                    Ok(value) => converted.push(value),
                    Err(error) => return Some(Err(error)),
                }
            }
            Some(Ok(converted))
        }
        match self {
            Values::Bool(values) => all(values, convert),
            Values::I8(values) => all(values, convert),
            Values::I16(values) => all(values, convert),
            Values::I32(values) => all(values, convert),
            Values::I64(values) => all(values, convert),
            Values::U8(values) => all(values, convert),
            Values::U16(values) => all(values, convert),
            Values::U32(values) => all(values, convert),
            Values::U64(values) => all(values, convert),
            Values::F32(_) | Values::F64(_) => None,
        }
    }

    /// Reads elements of a type from bytes, which must be a whole number of them.
    pub(crate) fn decode(element: ElementType, is_big_endian: bool, bytes: &[u8]) -> Self {
        macro_rules! decode {
            ($variant:ident, $type:ty) => {{
                let chunks = bytes.as_chunks::<{ size_of::<$type>() }>().0.iter();
                Values::$variant(match is_big_endian {
                    true => chunks.map(|chunk| <$type>::from_be_bytes(*chunk)).collect(),
                    false => chunks.map(|chunk| <$type>::from_le_bytes(*chunk)).collect(),
                })
            }};
        }
        match element {
            ElementType::Bool => Values::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
            ElementType::I8 => decode!(I8, i8),
            ElementType::I16 => decode!(I16, i16),
            ElementType::I32 => decode!(I32, i32),
            ElementType::I64 => decode!(I64, i64),
            ElementType::U8 => Values::U8(bytes.to_vec()),
            ElementType::U16 => decode!(U16, u16),
            ElementType::U32 => decode!(U32, u32),
            ElementType::U64 => decode!(U64, u64),
            ElementType::F32 => decode!(F32, f32),
            ElementType::F64 => decode!(F64, f64),
        }
    }

    /// Elements at these positions, in this order. The positions must exist, and be as many as the elements.
    pub(crate) fn gather(&self, positions: impl Iterator<Item = usize>) -> Self {
        macro_rules! gather {
            ($($variant:ident),*) => {
                match self {
                    $(Values::$variant(values) => {
                        let mut gathered = Vec::with_capacity(values.len());
                        gathered.extend(positions.map(|at| values[at]));
                        Values::$variant(gathered)
                    })*
                }
            };
        }
        gather!(Bool, I8, I16, I32, I64, U8, U16, U32, U64, F32, F64)
    }
}

/// Type of an element in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ElementType {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
}

impl ElementType {
    /// Bytes of an element.
    pub(crate) fn size(self) -> usize {
        match self {
            ElementType::Bool | ElementType::I8 | ElementType::U8 => 1,
            ElementType::I16 | ElementType::U16 => 2,
            ElementType::I32 | ElementType::U32 | ElementType::F32 => 4,
            ElementType::I64 | ElementType::U64 | ElementType::F64 => 8,
        }
    }
}

/// Checks that `bytes` hold exactly the elements of a shape: nothing may be allocated by a claimed shape before.
pub(crate) fn check_length(format: &'static str, shape: &[usize], element: ElementType, bytes: &[u8]) -> Result<()> {
    let expected = shape.iter().try_fold(element.size(), |size, &extent| size.checked_mul(extent));
    match expected == Some(bytes.len()) {
        true => Ok(()),
        false => {
            let reason =
                format!("{} bytes for shape {} of {}-byte elements", bytes.len(), shown(shape), element.size());
            Err(Error::invalid_data(format, "data", reason))
        }
    }
}

/// A shape for a message: a file may claim any number of axes.
pub(crate) fn shown(shape: &[usize]) -> String {
    quoted(&format!("{shape:?}"))
}
