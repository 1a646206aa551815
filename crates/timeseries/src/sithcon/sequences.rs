//! Batches of sequences of different lengths without padding.

use crate::{Error, Result};
use candle_core::Tensor;
use core_tensor::ops;
use std::ops::Range;
use std::sync::Arc;

/// Sequences one after the other: `values` is `[rows, features]`, and each sequence is a range of rows.
///
/// There is no padding and so no mask: every result equals that of the sequence alone.
#[derive(Debug, Clone)]
pub struct Sequences {
    values: Tensor,
    offsets: Arc<Vec<usize>>,
}

impl Sequences {
    /// Sequences of the given lengths in `values` `[Σ lengths, features]`.
    ///
    /// # Errors
    /// Another shape, no sequence, or a sequence of length 0.
    pub fn new(values: Tensor, lengths: &[usize]) -> Result<Self> {
        const OP: &str = "sequences";
        let mut offsets = vec![0];
        for (at, &length) in lengths.iter().enumerate() {
            if length == 0 {
                return Err(Error::count(OP, &format!("the length of sequence {at}"), 0, "at least 1"));
            }
            offsets.push(offsets[at] + length);
        }
        if lengths.is_empty() {
            return Err(Error::count(OP, "the number of sequences", 0, "at least 1"));
        }
        let rows = offsets[lengths.len()];
        if !matches!(values.dims(), &[r, features] if r == rows && features > 0) {
            return Err(Error::shape(OP, "values", &values, format!("[{rows}, features]")));
        }
        Ok(Self { values, offsets: Arc::new(offsets) })
    }

    /// All sequences of `x` `[batch, features, time]` at full length.
    ///
    /// # Errors
    /// Another shape or an empty one.
    pub fn from_batch(x: &Tensor) -> Result<Self> {
        let &[batch, features, time] = x.dims() else {
            return Err(Error::shape("sequences", "x", x, "[batch, features, time]"));
        };
        Self::new(ops::to_contiguous(&x.transpose(1, 2)?)?.reshape((batch * time, features))?, &vec![time; batch])
    }

    /// The last `lengths[b]` steps of each row of `x` `[batch, features, time]`: what was padded on the left.
    ///
    /// # Errors
    /// As for [`Self::from_batch`]; lengths of 0 or above the number of steps.
    pub fn from_left_padded(x: &Tensor, lengths: &[usize]) -> Result<Self> {
        Self::from_padded(x, lengths, |time, length| time - length)
    }

    /// The first `lengths[b]` steps of each row of `x` `[batch, features, time]`: what was padded on the right.
    ///
    /// # Errors
    /// As for [`Self::from_left_padded`].
    pub fn from_right_padded(x: &Tensor, lengths: &[usize]) -> Result<Self> {
        Self::from_padded(x, lengths, |_, _| 0)
    }

    fn from_padded(x: &Tensor, lengths: &[usize], start: impl Fn(usize, usize) -> usize) -> Result<Self> {
        let all = Self::from_batch(x)?;
        let (batch, time) = (x.dims()[0], x.dims()[2]);
        if lengths.len() != batch {
            let (got, expected) = (lengths.len(), batch);
            return Err(Error::Length { operation: "sequences", what: "lengths", got, expected });
        }
        let mut rows = Vec::new();
        for (b, &length) in lengths.iter().enumerate() {
            if length > time {
                let expected = format!("at most the {time} steps of the batch");
                return Err(Error::count("sequences", &format!("the length of sequence {b}"), length, expected));
            }
            let first = b * time + start(time, length);
            rows.extend((first..first + length).map(|row| row as u32));
        }
        let count = rows.len();
        if count == 0 {
            return Err(Error::count("sequences", "the length of every sequence", 0, "at least 1"));
        }
        Self::new(all.values.index_select(&Tensor::from_vec(rows, count, x.device())?, 0)?, lengths)
    }

    /// `[rows, features]`.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// The same sequences with other values at every step, `[rows, features]`.
    pub(crate) fn with_values(&self, values: Tensor) -> Self {
        Self { values, offsets: self.offsets.clone() }
    }

    /// How many sequences there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Always false: there is at least one sequence.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// How many features each step has.
    pub fn num_features(&self) -> usize {
        self.values.dims()[1]
    }

    /// Where the sequences begin, and the number of rows.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The rows of one sequence.
    pub fn rows(&self, sequence: usize) -> Range<usize> {
        self.offsets[sequence]..self.offsets[sequence + 1]
    }

    /// The length of the longest sequence.
    pub fn longest(&self) -> usize {
        (0..self.len()).map(|sequence| self.rows(sequence).len()).max().unwrap_or(0)
    }

    /// The last row of each sequence.
    pub fn last_rows(&self) -> Vec<u32> {
        self.offsets[1..].iter().map(|&end| (end - 1) as u32).collect()
    }

    /// A part of the sequences.
    ///
    /// # Errors
    /// A range that is empty or reaches beyond the last sequence.
    pub fn slice(&self, sequences: Range<usize>) -> Result<Self> {
        if sequences.start >= sequences.end || sequences.end > self.len() {
            let expected = format!("within 0..{}", self.len());
            return Err(Error::count("sequences", "the end of a part", sequences.end, expected));
        }
        let lengths: Vec<usize> = sequences.clone().map(|sequence| self.rows(sequence).len()).collect();
        let (start, end) = (self.offsets[sequences.start], self.offsets[sequences.end]);
        Self::new(self.values.narrow(0, start, end - start)?, &lengths)
    }

    /// `[batch, features, longest]` with zeros after the end of shorter sequences.
    ///
    /// # Errors
    /// Those of Candle.
    pub fn to_right_padded(&self) -> Result<Tensor> {
        let longest = self.longest();
        let mut parts = Vec::with_capacity(self.len());
        for sequence in 0..self.len() {
            let rows = self.rows(sequence);
            let part = self.values.narrow(0, rows.start, rows.len())?;
            parts.push(part.pad_with_zeros(0, 0, longest - rows.len())?);
        }
        Ok(ops::to_contiguous(&ops::stack(&parts, 0)?.transpose(1, 2)?)?)
    }
}
