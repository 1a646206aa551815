//! What the Planetoid pickles are made of.

/// Containers within containers: the files need three.
pub(super) const MAX_DEPTH: u8 = 8;

/// What a pickle is made of.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Integer(i64),
    Bytes(&'a [u8]),
    Tuple(Vec<Value<'a>>, u8),
    List(Vec<i64>),
    Dictionary(Vec<(Value<'a>, Value<'a>)>, u8),
    Name(Name),
    ElementType(ElementType),
    /// `None` until its state is set.
    Array(Option<Box<Array<'a>>>),
    /// The attributes of a CSR matrix; empty until set.
    Matrix(Vec<(Value<'a>, Value<'a>)>),
}

/// The names that may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    CsrMatrix,
    Reconstruct,
    NdArray,
    Dtype,
    DefaultDictionary,
    List,
}

/// Types of array elements, little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementType {
    F32,
    F64,
    I32,
    I64,
}

impl ElementType {
    pub(super) fn size(self) -> usize {
        match self {
            ElementType::F32 | ElementType::I32 => 4,
            ElementType::F64 | ElementType::I64 => 8,
        }
    }
}

/// A NumPy array whose bytes are still those of the pickle.
#[derive(Debug, Clone)]
pub(super) struct Array<'a> {
    pub(super) shape: Vec<usize>,
    pub(super) element_type: ElementType,
    pub(super) is_fortran_order: bool,
    pub(super) bytes: &'a [u8],
}

impl Array<'_> {
    /// The elements of a list of integers; `None` for other arrays.
    pub(super) fn integers(&self) -> Option<Vec<i64>> {
        match (self.shape.len(), self.element_type) {
            (1, ElementType::I32) => {
                Some(self.bytes.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes).into()).collect())
            }
            (1, ElementType::I64) => {
                Some(self.bytes.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
            }
            _ => None,
        }
    }

    /// The elements, row by row. Integers beyond 2^53 are rounded; no such file has any.
    pub(super) fn values(&self) -> Vec<f64> {
        let (four, eight) = (|| self.bytes.as_chunks::<4>().0.iter(), || self.bytes.as_chunks::<8>().0.iter());
        let stored: Vec<f64> = match self.element_type {
            ElementType::F32 => four().map(|bytes| f32::from_le_bytes(*bytes).into()).collect(),
            ElementType::I32 => four().map(|bytes| i32::from_le_bytes(*bytes).into()).collect(),
            ElementType::F64 => eight().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
            ElementType::I64 => eight().map(|bytes| i64::from_le_bytes(*bytes) as f64).collect(),
        };
        match (self.is_fortran_order, self.shape.as_slice()) {
            (true, &[rows, columns]) if !stored.is_empty() => (0..rows)
                .flat_map(|row| (0..columns).map(move |column| column * rows + row))
                .map(|at| stored[at])
                .collect(),
            _ => stored,
        }
    }
}

/// How deeply a value is nested.
pub(super) fn depth(value: &Value<'_>) -> u8 {
    match value {
        Value::Tuple(_, depth) | Value::Dictionary(_, depth) => *depth,
        // The attributes are a dictionary of at most this depth.
        Value::Matrix(_) => MAX_DEPTH,
        Value::List(_) | Value::Array(_) => 1,
        _ => 0,
    }
}
