//! The error of this crate.

/// What can go wrong in this crate. Every variant says where it happened, what was given and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No graph where at least one is needed, or a graph without nodes.
    #[error("{operation}: the graph has no nodes, at least one is needed")]
    EmptyGraph {
        /// The operation that was called.
        operation: &'static str,
    },
    /// Something was too large for 32-bit indices.
    #[error("{operation}: {what} is {got}, the most that 32-bit indices can address is {limit}")]
    TooLarge {
        /// The operation that was called.
        operation: &'static str,
        /// What was counted.
        what: &'static str,
        /// Its size.
        got: usize,
        /// The largest possible size.
        limit: usize,
    },
    /// An index pointed outside of what it indexes.
    #[error("{operation}: {what}[{position}] is {index}, which is not below {bound}")]
    OutOfRange {
        /// The operation that was called.
        operation: &'static str,
        /// The list that holds the index.
        what: &'static str,
        /// Position in that list.
        position: usize,
        /// The offending index.
        index: u64,
        /// The number of things that can be indexed.
        bound: usize,
    },
    /// A list had another length than the operation needs.
    #[error("{operation}: {what} has {got} elements, expected {expected}")]
    Length {
        /// The operation that was called.
        operation: &'static str,
        /// The list.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length that was needed.
        expected: usize,
    },
    /// A number was outside of its domain.
    #[error("{operation}: {what}[{position}] is {got}, expected {expected}")]
    Value {
        /// The operation that was called.
        operation: &'static str,
        /// The list that holds the number.
        what: &'static str,
        /// Position in that list.
        position: usize,
        /// The value that was given.
        got: f64,
        /// The values that are possible.
        expected: &'static str,
    },
    /// A tensor had another shape than the operation needs.
    #[error("{operation}: {what} has shape {got:?}, expected {expected}")]
    Shape {
        /// The operation that was called.
        operation: &'static str,
        /// The tensor.
        what: &'static str,
        /// Its shape.
        got: Vec<usize>,
        /// The shape that was needed, in words or symbols.
        expected: String,
    },
    /// A tensor or graph had another element type than the layer's parameters.
    #[error("{operation}: {what} has dtype {got:?}, expected {expected:?}; `Tensor::to_dtype` converts")]
    DType {
        /// The layer or model that was called.
        operation: &'static str,
        /// The tensor.
        what: &'static str,
        /// Its element type.
        got: candle_core::DType,
        /// The element type that was needed.
        expected: candle_core::DType,
    },
    /// A tensor or graph was on another device than the layer's parameters.
    #[error("{operation}: {what} is on {got}, expected {expected}; `Tensor::to_device` moves")]
    Device {
        /// The layer or model that was called.
        operation: &'static str,
        /// The tensor.
        what: &'static str,
        /// Where it is.
        got: String,
        /// Where it should be.
        expected: String,
    },
    /// NaN or infinity where a finite number is needed.
    #[error("{operation}: {what} holds {got} at flat position {position}, expected finite numbers")]
    NotFinite {
        /// The operation that was called.
        operation: &'static str,
        /// The tensor or slice.
        what: &'static str,
        /// Position in row-major order.
        position: usize,
        /// The value found there.
        got: f64,
    },
    /// A setting was outside of its range.
    #[error("{what} is {got}, expected {expected}")]
    InvalidConfig {
        /// The setting.
        what: &'static str,
        /// The value that was given.
        got: String,
        /// The values that are possible.
        expected: &'static str,
    },
    /// A graph, a tree, labels or a batch that contradict themselves or each other.
    #[error("{operation}: {reason}")]
    InvalidData {
        /// The operation that was called.
        operation: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// A file of coding trees could not be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What happened.
        reason: String,
    },
    /// An error of the classifiers of a probe.
    #[error(transparent)]
    Classifiers(#[from] classifiers::Error),
    /// An error of core-tensor.
    #[error(transparent)]
    Core(#[from] core_tensor::Error),
    /// An error of Candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The result of a fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn invalid_data(operation: &'static str, reason: impl Into<String>) -> Self {
        Self::InvalidData { operation, reason: reason.into() }
    }
}

/// An error that came from Candle goes back unchanged, any other is wrapped.
impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            Error::Core(inner) => inner.into(),
            other => candle_core::Error::wrap(other),
        }
    }
}
