//! The one error type of this crate.

use candle_core::Shape;

/// What can go wrong in this crate; each variant names what was wrong, where, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation that needs at least one node was given a graph without nodes.
    #[error("{operation}: the graph has no nodes; at least one is needed")]
    EmptyGraph {
        /// What was asked for.
        operation: &'static str,
    },
    /// A graph with more nodes or edges than 32-bit indices can name.
    #[error("{what}: {count} is more than the {limit} that 32-bit indices can name")]
    TooLarge {
        /// What is too many.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// An edge ends at a node that does not exist.
    #[error("edge {edge} joins {source_node} and {target_node}, but the graph has nodes 0..{num_nodes}")]
    EdgeOutOfRange {
        /// Position of the edge in the input.
        edge: usize,
        /// One end.
        source_node: u32,
        /// The other end.
        target_node: u32,
        /// Number of nodes.
        num_nodes: usize,
    },
    /// An edge weight that is not a positive, finite number.
    #[error("edge {edge} has weight {weight}; weights must be finite and greater than 0")]
    InvalidWeight {
        /// Position of the edge in the input.
        edge: usize,
        /// The weight given.
        weight: f64,
    },
    /// A label outside the classes.
    #[error("label {label} of item {index} is outside the classes 0..{num_classes}")]
    LabelOutOfRange {
        /// Position of the label.
        index: usize,
        /// The label.
        label: u32,
        /// Number of classes.
        num_classes: usize,
    },
    /// A tensor of another shape than the operation needs.
    #[error("{operation}: {what} has shape {actual:?}, expected {expected}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// The tensor.
        what: &'static str,
        /// Its shape.
        actual: Shape,
        /// What was expected, in words.
        expected: String,
    },
    /// A value that is NaN or infinite where a finite one is needed.
    #[error("{operation}: {what} holds {value} at flat position {position}; finite values are needed")]
    NotFinite {
        /// The operation.
        operation: &'static str,
        /// The tensor or slice.
        what: &'static str,
        /// Where.
        position: usize,
        /// The value.
        value: f64,
    },
    /// A setting outside its range.
    #[error("{setting} is {value}; {expected}")]
    InvalidSetting {
        /// Name of the setting.
        setting: &'static str,
        /// The value given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A coding tree and a graph, or two levels of a tree, that do not belong together.
    #[error("{operation}: {detail}")]
    Mismatch {
        /// The operation.
        operation: &'static str,
        /// What does not fit.
        detail: String,
    },
    /// A cache of trees could not be read or written.
    #[error("coding-tree cache {path}: {detail}")]
    Cache {
        /// The file.
        path: String,
        /// What happened.
        detail: String,
    },
    /// An error of the tensor layer below.
    #[error(transparent)]
    CoreTensor(#[from] core_tensor::Error),
    /// An error of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            other => candle_core::Error::wrap(other),
        }
    }
}
