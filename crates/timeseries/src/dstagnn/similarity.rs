//! The spatial-temporal aware distance between sensors of the paper (STAD).

use super::simplex::Simplex;
use super::transport::Solver;
use crate::{Error, Result};
use candle_core::{Device, Storage, Tensor};
use rayon::prelude::*;

/// How sensors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimilarityConfig {
    /// p, the steps of a day (or of another natural period); 288 of five minutes.
    pub period: usize,
}

impl Default for SimilarityConfig {
    fn default() -> Self {
        Self { period: 288 }
    }
}

/// A square matrix of similarities, `[nodes][nodes]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Similarity {
    num_nodes: usize,
    values: Vec<f64>,
}

const OP: &str = "similarity of sensors";
/// Sensors whose costs are computed in one matrix product.
const BLOCK: usize = 8;

impl Similarity {
    /// Similarities of the columns of `series` `[steps][nodes]`: one minus the cost of the optimal transport between the sensors' days.
    ///
    /// Day vectors are weighted by their length, `P(a) = ‖x_a‖ / Σ ‖x‖`, and moving day a of one sensor onto day b of another costs `1 − cos(x_a, y_b)`. An incomplete last day is
    /// left out. The matrix is symmetric with a diagonal of 0, as in the authors' program. Pairs are solved in parallel; the result does not depend on the number of threads.
    ///
    /// A day of zeros or with a missing reading (NaN) has weight 0; a sensor that has only such days has similarity 0 to all others.
    ///
    /// # Errors
    /// Fewer than two nodes, a series of another size or shorter than a day, infinite values.
    pub fn from_series(series: &[f64], num_nodes: usize, config: SimilarityConfig) -> Result<Self> {
        let period = config.period;
        if period == 0 {
            return Err(Error::config(OP, "period", 0., "at least 1"));
        }
        if num_nodes < 2 {
            return Err(Error::count(OP, "the number of nodes", num_nodes, "at least 2"));
        }
        if !series.len().is_multiple_of(num_nodes) {
            let (got, expected) = (series.len(), series.len() / num_nodes * num_nodes);
            return Err(Error::Length { operation: OP, what: "the series of whole steps", got, expected });
        }
        if let Some(value) = series.iter().find(|value| value.is_infinite()) {
            return Err(Error::value(OP, "a reading", *value, "finite, or NaN where it is missing"));
        }
        let days = series.len() / num_nodes / period;
        if days == 0 {
            let got = series.len() / num_nodes;
            let reason = format!("has {got} steps, at least {period} are needed: sensors are compared by whole days");
            return Err(Error::InvalidData { operation: OP, what: "the series", reason });
        }
        Self::from_days(&Days::new(series, num_nodes, days, period)?)
    }

    fn from_days(days: &Days) -> Result<Self> {
        let n = days.weights.len();
        let starts: Vec<usize> = (0..n).step_by(BLOCK).collect();
        let rows: Vec<Result<Vec<Vec<f64>>>> = starts.par_iter().map(|&first| days.rows(first)).collect();
        let mut values = vec![0.; n * n];
        for (first, rows) in starts.into_iter().zip(rows) {
            for (i, row) in (first..).zip(rows?) {
                for (j, value) in (i + 1..).zip(row) {
                    values[i * n + j] = value;
                    values[j * n + i] = value;
                }
            }
        }
        Ok(Self { num_nodes: n, values })
    }

    /// A matrix that was computed elsewhere, `[nodes][nodes]`.
    ///
    /// # Errors
    /// A size that is no square, values that are not finite.
    pub fn new(values: Vec<f64>) -> Result<Self> {
        let num_nodes = values.len().isqrt();
        if num_nodes * num_nodes != values.len() || num_nodes == 0 {
            let (got, expected) = (values.len(), num_nodes * num_nodes);
            return Err(Error::Length { operation: OP, what: "a square matrix", got, expected });
        }
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(Error::value(OP, "a similarity", *value, "finite"));
        }
        Ok(Self { num_nodes, values })
    }

    /// N, the number of sensors.
    pub fn num_nodes(&self) -> usize {
        self.num_nodes
    }

    /// `[nodes][nodes]`.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The similarity of two sensors.
    pub fn get(&self, i: usize, j: usize) -> Option<f64> {
        if i < self.num_nodes && j < self.num_nodes { Some(self.values[i * self.num_nodes + j]) } else { None }
    }
}

/// The days of all sensors that have a weight.
struct Days {
    /// Of each sensor's days that count.
    weights: Vec<Vec<f64>>,
    /// Where each sensor's days begin, and their number.
    offsets: Vec<usize>,
    /// `[days, period]` of all sensors, of unit length, and its transpose.
    rows: Tensor,
    columns: Tensor,
}

impl Days {
    fn new(series: &[f64], num_nodes: usize, days: usize, period: usize) -> Result<Self> {
        let (mut weights, mut offsets, mut unit) = (Vec::new(), vec![0], Vec::new());
        for node in 0..num_nodes {
            let mut lengths = Vec::new();
            for day in 0..days {
                let at = |step: usize| series[(day * period + step) * num_nodes + node];
                // scaled by the largest reading, so that no square overflows
                let largest = (0..period).map(at).fold(0f64, |largest, x| largest.max(x.abs()));
                let length = largest * (0..period).map(|step| (at(step) / largest).powi(2)).sum::<f64>().sqrt();
                // NaN for a missing reading, and for a day of zeros
                if length > 0. {
                    unit.extend((0..period).map(|step| at(step) / length));
                    lengths.push(length);
                }
            }
            let sum: f64 = lengths.iter().sum();
            offsets.push(offsets[node] + lengths.len());
            weights.push(lengths.into_iter().map(|length| length / sum).collect());
        }
        let count = offsets[num_nodes];
        let mut columns = vec![0.; unit.len()];
        for (row, values) in unit.chunks_exact(period).enumerate() {
            values.iter().enumerate().for_each(|(column, &value)| columns[column * count + row] = value);
        }
        let rows = Tensor::from_vec(unit, (count, period), &Device::Cpu)?;
        let columns = Tensor::from_vec(columns, (period, count), &Device::Cpu)?;
        Ok(Self { weights, offsets, rows, columns })
    }

    /// The similarities of up to [`BLOCK`] sensors from `first` on to all later ones.
    fn rows(&self, first: usize) -> Result<Vec<Vec<f64>>> {
        let n = self.weights.len();
        let last = (first + BLOCK).min(n);
        let (start, end, all) = (self.offsets[first], self.offsets[last], self.offsets[n]);
        if end == start {
            return Ok((first..last).map(|i| vec![0.; n - i - 1]).collect());
        }
        let width = all - start;
        let products = self.rows.narrow(0, start, end - start)?.matmul(&self.columns.narrow(1, start, width)?)?;
        let (storage, layout) = products.storage_and_layout();
        let products = match (&*storage, layout.contiguous_offsets()) {
            (Storage::Cpu(cpu), Some((from, to))) => &cpu.as_slice::<f64>()?[from..to],
            _ => return Err(Error::shape(OP, "the products", &products, "contiguous on the CPU")),
        };
        let (mut simplex, mut paths) = (Simplex::default(), Solver::default());
        let mut cost = Vec::new();
        let mut rows = Vec::with_capacity(last - first);
        for i in first..last {
            let mut row = Vec::with_capacity(n - i - 1);
            for j in i + 1..n {
                let (p, q) = (&self.weights[i], &self.weights[j]);
                if p.is_empty() || q.is_empty() {
                    row.push(0.);
                    continue;
                }
                cost.clear();
                for day in self.offsets[i] - start..self.offsets[i + 1] - start {
                    let at = day * width + self.offsets[j] - start;
                    cost.extend(products[at..at + q.len()].iter().map(|product| 1. - product));
                }
                // with many ties the simplex may give up
                let distance = simplex.solve(p, q, &cost).unwrap_or_else(|| paths.solve(p, q, &cost));
                row.push(1. - distance);
            }
            rows.push(row);
        }
        Ok(rows)
    }
}
