//! What attacks start from.

use super::exact::Precision;
use super::threat::ThreatModel;
use crate::error::check_positive;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};

/// Inputs with their labels, on the host, in f64.
#[derive(Debug, Clone)]
pub struct Samples {
    /// All inputs one after the other.
    values: Vec<f64>,
    pub(crate) labels: Vec<u32>,
    pub(crate) ids: Vec<u64>,
    pub(crate) shape: Vec<usize>,
    pub(crate) precision: Precision,
    device: Device,
}

impl Samples {
    /// Inputs `[n, …]` of f32 or f64 with n labels. They are numbered from 0, and the numbers choose their random streams.
    ///
    /// # Errors
    /// No inputs; another number of labels; another dtype; a value that is not finite, named by its sample.
    pub fn new(x: &Tensor, labels: &[u32]) -> Result<Self> {
        let ids = (0..labels.len() as u64).collect();
        Self::numbered(x, labels, ids)
    }

    /// [`Self::new`] with numbers of your own: a part of a data set attacked alone gets the same results as within the whole when it keeps the numbers that it has there.
    ///
    /// # Errors
    /// As [`Self::new`], and another count of numbers.
    pub fn numbered(x: &Tensor, labels: &[u32], ids: Vec<u64>) -> Result<Self> {
        const OPERATION: &str = "attack";
        let n = x.dims().first().copied().unwrap_or(0);
        check_positive(OPERATION, &[("samples", n)])?;
        check_positive(OPERATION, &[("elements in a sample", x.elem_count() / n)])?;
        for (what, got) in [("labels", labels.len()), ("numbers of samples", ids.len())] {
            if got != n {
                return Err(Error::length(OPERATION, what, got, n));
            }
        }
        let precision = match x.dtype() {
            DType::F32 => Precision::Single,
            DType::F64 => Precision::Double,
            other => {
                return Err(Error::config(
                    OPERATION,
                    "the inputs",
                    format!("are {other:?}, expected f32 or f64: convert them with `to_dtype`"),
                ));
            }
        };
        let values = x.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let size = values.len() / n;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let what = format!("element {} of sample {}", at % size, at / size);
            return Err(Error::value(OPERATION, what, values[at], "a finite number"));
        }
        let (shape, device) = (x.dims()[1..].to_vec(), x.device().clone());
        Ok(Self { values, labels: labels.to_vec(), ids, shape, precision, device })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none, which no constructor allows.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The elements of one input.
    pub(crate) fn size(&self) -> usize {
        self.values.len() / self.labels.len()
    }

    pub(crate) fn row(&self, sample: usize) -> &[f64] {
        &self.values[sample * self.size()..(sample + 1) * self.size()]
    }

    /// The chosen samples, with the numbers that they have here.
    pub(crate) fn select(&self, chosen: &[usize]) -> Self {
        let values = chosen.iter().flat_map(|&sample| self.row(sample)).copied().collect();
        let labels = chosen.iter().map(|&sample| self.labels[sample]).collect();
        let ids = chosen.iter().map(|&sample| self.ids[sample]).collect();
        Self { values, labels, ids, shape: self.shape.clone(), precision: self.precision, device: self.device.clone() }
    }

    /// The same samples with other inputs.
    pub(crate) fn with_rows<'a>(&self, rows: impl Iterator<Item = &'a [f64]>) -> Self {
        Self { values: rows.flatten().copied().collect(), ..self.clone() }
    }

    /// Rows as a tensor `[rows, …]` of the dtype and on the device of the inputs.
    pub(crate) fn tensor<'a>(&self, rows: impl Iterator<Item = &'a [f64]>) -> Result<Tensor> {
        let mut shape = vec![0];
        shape.extend(&self.shape);
        let size = self.size();
        let tensor = match self.precision {
            Precision::Single => {
                let values: Vec<f32> = rows.flatten().map(|&value| value as f32).collect();
                shape[0] = values.len() / size;
                Tensor::from_vec(values, shape, &self.device)?
            }
            Precision::Double => {
                let values: Vec<f64> = rows.flatten().copied().collect();
                shape[0] = values.len() / size;
                Tensor::from_vec(values, shape, &self.device)?
            }
        };
        Ok(tensor)
    }

    /// The inputs `[n, …]`.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn inputs(&self) -> Result<Tensor> {
        self.tensor(std::iter::once(self.values.as_slice()))
    }

    /// Checks that all elements are within the threat model's bounds.
    pub(crate) fn check_bounds(&self, threat: &ThreatModel) -> Result<()> {
        let (least, largest) = threat.bounds;
        let seen =
            self.values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)));
        if seen.0 < least || seen.1 > largest {
            let reason = format!(
                "range from {} to {}, expected {least} to {largest}; scale them, move a normalisation into the model (`Normalized`), or set `ThreatModel::bounds`",
                seen.0, seen.1
            );
            return Err(Error::config("attack", "the inputs", reason));
        }
        Ok(())
    }
}
