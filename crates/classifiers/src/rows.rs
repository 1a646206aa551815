//! Features in rows, borrowed or owned, and their labels.

use crate::error::check_counts;
use crate::{Error, Result};

/// Borrowed numbers of either precision.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    fn first_not_finite(&self) -> Option<(usize, f64)> {
        match self {
            Self::F32(values) => values.iter().position(|x| !x.is_finite()).map(|at| (at, values[at].into())),
            Self::F64(values) => values.iter().position(|x| !x.is_finite()).map(|at| (at, values[at])),
        }
    }
}

impl<'a> From<&'a [f32]> for Values<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::F32(values)
    }
}

impl<'a> From<&'a [f64]> for Values<'a> {
    fn from(values: &'a [f64]) -> Self {
        Self::F64(values)
    }
}

impl<'a> From<&'a Vec<f32>> for Values<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        Self::F32(values)
    }
}

impl<'a> From<&'a Vec<f64>> for Values<'a> {
    fn from(values: &'a Vec<f64>) -> Self {
        Self::F64(values)
    }
}

/// Features of samples, borrowed: `[samples, width]`, row by row, all finite. What every classifier of this crate takes.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    width: usize,
    values: Values<'a>,
}

impl<'a> Rows<'a> {
    /// Rows of `width` features each.
    ///
    /// # Errors
    /// [`Error::Empty`] without features or rows; [`Error::Length`] if the values are not whole rows; [`Error::Value`], which names row and column, for a feature that is NaN or infinite.
    pub fn new(width: usize, values: impl Into<Values<'a>>) -> Result<Self> {
        const OPERATION: &str = "Rows::new";
        let values = values.into();
        check_counts(OPERATION, &[("features", width), ("rows", values.len())])?;
        if !values.len().is_multiple_of(width) {
            let expected = values.len() / width * width;
            return Err(Error::Length { operation: OPERATION, what: "values", got: values.len(), expected });
        }
        if let Some((at, value)) = values.first_not_finite() {
            let what = format!("feature {} of row {}", at % width, at / width);
            return Err(Error::value(OPERATION, what, value, "a finite number"));
        }
        Ok(Self { width, values })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there are no rows; never true.
    pub fn is_empty(&self) -> bool {
        self.values.len() == 0
    }

    /// Features of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Copies of these rows, in this order.
    ///
    /// # Errors
    /// [`Error::Empty`] without rows, [`Error::OutOfRange`] for a row that is not there.
    pub fn select(&self, rows: &[usize]) -> Result<Matrix> {
        const OPERATION: &str = "Rows::select";
        check_counts(OPERATION, &[("rows", rows.len())])?;
        if let Some(at) = rows.iter().position(|&row| row >= self.len()) {
            return Err(Error::out_of_range(OPERATION, format!("row number {at}"), rows[at] as u64, self.len()));
        }
        let mut values = Vec::with_capacity(rows.len() * self.width);
        rows.iter().for_each(|&row| self.extend(row, &mut values));
        Ok(Matrix { width: self.width, values })
    }

    /// Copies of all rows.
    pub fn to_matrix(&self) -> Matrix {
        let values = match self.values {
            Values::F32(values) => values.iter().map(|&value| value.into()).collect(),
            Values::F64(values) => values.to_vec(),
        };
        Matrix { width: self.width, values }
    }

    fn extend(&self, row: usize, into: &mut Vec<f64>) {
        let range = row * self.width..(row + 1) * self.width;
        match self.values {
            Values::F32(values) => into.extend(values[range].iter().map(|&value| f64::from(value))),
            Values::F64(values) => into.extend_from_slice(&values[range]),
        }
    }

    /// Checks that there is a label for each row.
    pub(crate) fn check_labels(&self, operation: &'static str, labels: &[u32]) -> Result<()> {
        match labels.len() == self.len() {
            true => Ok(()),
            false => Err(Error::Length { operation, what: "labels", got: labels.len(), expected: self.len() }),
        }
    }

    /// Checks that the rows have the width that a classifier was trained with.
    pub(crate) fn check_width(&self, operation: &'static str, width: usize) -> Result<()> {
        match width == self.width {
            true => Ok(()),
            false => Err(Error::Length { operation, what: "features in a row", got: self.width, expected: width }),
        }
    }
}

/// Features of samples, owned: `[samples, width]` in double precision, all finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    width: usize,
    values: Vec<f64>,
}

impl Matrix {
    /// Rows of `width` features each.
    ///
    /// # Errors
    /// As [`Rows::new`].
    pub fn new(width: usize, values: Vec<f64>) -> Result<Self> {
        Rows::new(width, &values)?;
        Ok(Self { width, values })
    }

    /// The same, if all numbers are still finite.
    pub(crate) fn checked(self) -> Result<Self> {
        Self::new(self.width, self.values)
    }

    /// The same, borrowed.
    pub fn rows(&self) -> Rows<'_> {
        Rows { width: self.width, values: Values::F64(&self.values) }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there are no rows; never true.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Features of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All features, `[samples, width]`.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// The features of a row; empty if there is no such row.
    pub fn row(&self, row: usize) -> &[f64] {
        let start = row.saturating_mul(self.width);
        self.values.get(start..start.saturating_add(self.width)).unwrap_or_default()
    }
}

/// Labels from whole numbers that may be negative elsewhere, such as -1 for "unknown".
///
/// # Errors
/// [`Error::Value`], which names the place, for a label that is negative or too large.
pub fn labels(signed: &[i64]) -> Result<Vec<u32>> {
    let label = |(at, &label): (usize, &i64)| {
        let error =
            |_| Error::value("labels", format!("label {at}"), label as f64, "a class: a whole number of 0 or more");
        u32::try_from(label).map_err(error)
    };
    signed.iter().enumerate().map(label).collect()
}

/// The classes among some labels, ascending.
pub(crate) fn classes(labels: &[u32]) -> Vec<u32> {
    let mut classes = labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    classes
}

/// The classes, ascending, and each label's position among them.
///
/// # Errors
/// [`Error::OneClass`] for labels of one class.
pub(crate) fn two_or_more(operation: &'static str, labels: &[u32]) -> Result<(Vec<u32>, Vec<usize>)> {
    let classes = classes(labels);
    if let [class] = classes[..] {
        return Err(Error::OneClass { operation, class, count: labels.len() });
    }
    let targets = labels.iter().map(|label| classes.binary_search(label).unwrap_or_default()).collect();
    Ok((classes, targets))
}

/// The share of predictions that are right; 0 without predictions.
pub fn accuracy(predictions: &[u32], labels: &[u32]) -> f64 {
    let right = predictions.iter().zip(labels).filter(|(prediction, label)| prediction == label).count();
    right as f64 / predictions.len().max(1) as f64
}
