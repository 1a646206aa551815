//! Privileged information as columns, and what networks see of it.

use crate::mixing::mixed;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use core_tensor::random::Rng;
use rand_distr::{Distribution as _, StandardNormal};
use std::collections::BTreeMap;

/// A column of [`Information`], a value for each annotation; `None` where it is missing.
#[derive(Debug, Clone, PartialEq)]
pub enum PiColumn {
    /// Who or what: annotators, sources, devices, trials. Any numbers.
    Ids(Vec<Option<u64>>),
    /// How much: times, confidences, ages.
    Numbers(Vec<Option<f64>>),
}

impl PiColumn {
    fn len(&self) -> usize {
        match self {
            Self::Ids(values) => values.len(),
            Self::Numbers(values) => values.len(),
        }
    }
}

/// What is known of each annotation in training only: columns of the same length.
#[derive(Debug, Clone, PartialEq)]
pub struct Information {
    columns: Vec<PiColumn>,
    rows: usize,
}

impl Information {
    /// Columns for `rows` annotations. No column at all is possible: information can be random alone.
    ///
    /// # Errors
    ///
    /// Columns of another length, numbers that are not finite.
    pub fn new(rows: usize, columns: Vec<PiColumn>) -> Result<Self> {
        const OP: &str = "Information";
        for column in &columns {
            if column.len() != rows {
                return Err(Error::length(OP, "values of a column", column.len(), rows));
            }
            let PiColumn::Numbers(values) = column else { continue };
            if let Some(position) = values.iter().position(|value| value.is_some_and(|value| !value.is_finite())) {
                let got = values[position].unwrap_or(f64::NAN);
                return Err(Error::Value { operation: OP, what: "the number", position, got, expected: "finite" });
            }
        }
        Ok(Self { columns, rows })
    }

    /// How many annotations there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The columns.
    pub fn columns(&self) -> &[PiColumn] {
        &self.columns
    }

    /// The information of some annotations, in this order.
    ///
    /// # Errors
    ///
    /// Numbers of annotations that do not exist.
    pub fn select(&self, rows: &[u32]) -> Result<Self> {
        self.check("Information::select", rows)?;
        let columns = self.columns.iter().map(|column| match column {
            PiColumn::Ids(values) => PiColumn::Ids(rows.iter().map(|&row| values[row as usize]).collect()),
            PiColumn::Numbers(values) => PiColumn::Numbers(rows.iter().map(|&row| values[row as usize]).collect()),
        });
        Ok(Self { columns: columns.collect(), rows: rows.len() })
    }

    fn check(&self, operation: &'static str, rows: &[u32]) -> Result<()> {
        match rows.iter().position(|&row| row as usize >= self.rows) {
            Some(position) => {
                let index = rows[position].into();
                Err(Error::OutOfRange { operation, what: "the annotation", position, index, bound: self.rows })
            }
            None => Ok(()),
        }
    }
}

/// The settings of [`PiEncoder::fit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PiEncoderConfig {
    /// Encodes ids by this many places that they are hashed to, instead of a place for each id that occurs in training; for very many ids. `None`.
    pub hash_buckets: Option<usize>,
    /// Adds a place to each column of numbers that is 1 where the number is missing; without it a missing number counts as the mean. False.
    pub marks_missing: bool,
    /// `R`, the length of a random vector that each annotation gets, so that the network can explain away by it what nothing else explains. 0.
    pub random: usize,
    /// The seed of these vectors. 0.
    pub seed: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Field {
    OneHot(BTreeMap<u64, usize>),
    Hashed(usize),
    Number { mean: f64, scale: f64 },
}

/// Turns [`Information`] into rows of numbers.
///
/// Ids become one-hot places; a missing id, and one that did not occur in training, is all zero. Numbers are brought to mean 0 and standard deviation 1 of the training annotations that have one; a missing number is 0. Random vectors are
/// standard normal and belong to the number of the annotation.
#[derive(Debug, Clone, PartialEq)]
pub struct PiEncoder {
    fields: Vec<Field>,
    width: usize,
    config: PiEncoderConfig,
}

impl PiEncoder {
    /// Learns ids, means and standard deviations from the information of the *training* annotations.
    ///
    /// # Errors
    ///
    /// An encoding without any place, no buckets.
    ///
    /// ```
    /// use noisy_labels::tram::{Information, PiColumn, PiEncoder};
    ///
    /// let annotators = PiColumn::Ids(vec![Some(7), Some(3), None]);
    /// let seconds = PiColumn::Numbers(vec![Some(2.), Some(4.), None]);
    /// let information = Information::new(3, vec![annotators, seconds])?;
    /// let encoder = PiEncoder::fit(&information, &Default::default())?;
    /// assert_eq!(encoder.rows(&information, &[0, 2])?, [0., 1., -1., 0., 0., 0.]);
    /// # Ok::<(), noisy_labels::Error>(())
    /// ```
    pub fn fit(information: &Information, config: &PiEncoderConfig) -> Result<Self> {
        const OP: &str = "PiEncoder::fit";
        let mut fields = Vec::new();
        for column in &information.columns {
            fields.push(match (column, config.hash_buckets) {
                (PiColumn::Ids(_), Some(0)) => {
                    return Err(Error::config(OP, "hash_buckets", 0, "at least 1"));
                }
                (PiColumn::Ids(_), Some(buckets)) => Field::Hashed(buckets),
                (PiColumn::Ids(values), None) => {
                    let mut places: BTreeMap<u64, usize> = values.iter().flatten().map(|&id| (id, 0)).collect();
                    places.values_mut().enumerate().for_each(|(at, place)| *place = at);
                    Field::OneHot(places)
                }
                (PiColumn::Numbers(values), _) => {
                    let known: Vec<f64> = values.iter().flatten().copied().collect();
                    // Scaled by the largest first, so that no square overflows.
                    let largest = known.iter().fold(0f64, |a, b| a.max(b.abs()));
                    let unit = if largest > 0. { largest } else { 1. };
                    let count = known.len().max(1) as f64;
                    let mean = known.iter().map(|x| x / unit).sum::<f64>() / count;
                    let variance = known.iter().map(|x| (x / unit - mean).powi(2)).sum::<f64>() / count;
                    // Equal numbers say nothing; rounding must not make them differ.
                    let scale = if variance.sqrt() > 1e-12 { variance.sqrt() * unit } else { 0. };
                    Field::Number { mean: mean * unit, scale }
                }
            });
        }
        let places = |field: &Field| match field {
            Field::OneHot(places) => places.len(),
            Field::Hashed(buckets) => *buckets,
            Field::Number { .. } => 1 + usize::from(config.marks_missing),
        };
        let width = fields.iter().map(places).sum::<usize>() + config.random;
        if width == 0 {
            return Err(Error::Empty { operation: OP, what: "places of the encoding" });
        }
        Ok(Self { fields, width, config: *config })
    }

    /// `P`, the length of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `[rows, P]`: the encoding of some annotations.
    ///
    /// # Errors
    ///
    /// Information of other columns than in training, annotations that do not exist.
    pub fn rows(&self, information: &Information, rows: &[u32]) -> Result<Vec<f64>> {
        const OP: &str = "PiEncoder::rows";
        information.check(OP, rows)?;
        if information.columns.len() != self.fields.len() {
            return Err(Error::length(OP, "columns", information.columns.len(), self.fields.len()));
        }
        let mut encoded = vec![0.; rows.len() * self.width];
        let mut start = 0;
        for (number, (field, column)) in self.fields.iter().zip(&information.columns).enumerate() {
            let each = encoded.chunks_exact_mut(self.width).zip(rows);
            match (field, column) {
                (Field::OneHot(places), PiColumn::Ids(values)) => {
                    for (encoded, &row) in each {
                        let place = values[row as usize].and_then(|id| places.get(&id));
                        place.into_iter().for_each(|place| encoded[start + place] = 1.);
                    }
                    start += places.len();
                }
                (Field::Hashed(buckets), PiColumn::Ids(values)) => {
                    for (encoded, &row) in each {
                        if let Some(id) = values[row as usize] {
                            encoded[start + (mixed(id) % *buckets as u64) as usize] = 1.;
                        }
                    }
                    start += buckets;
                }
                (Field::Number { mean, scale }, PiColumn::Numbers(values)) => {
                    for (encoded, &row) in each {
                        match values[row as usize] {
                            Some(value) if *scale > 0. => encoded[start] = (value - mean) / scale,
                            Some(_) => {}
                            None if self.config.marks_missing => encoded[start + 1] = 1.,
                            None => {}
                        }
                    }
                    start += 1 + usize::from(self.config.marks_missing);
                }
                _ => {
                    let reason = format!("column {number} has another kind than in training");
                    return Err(Error::InvalidData { operation: OP, what: "information", reason });
                }
            }
        }
        if self.config.random > 0 {
            let rng = Rng::new(self.config.seed);
            for (encoded, &row) in encoded.chunks_exact_mut(self.width).zip(rows) {
                let mut rng = rng.fork(&row.to_string());
                encoded[start..].iter_mut().for_each(|x| *x = StandardNormal.sample(&mut rng));
            }
        }
        Ok(encoded)
    }

    /// [`PiEncoder::rows`] as a tensor.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn encode(&self, information: &Information, rows: &[u32], dtype: DType, device: &Device) -> Result<Tensor> {
        let encoded = self.rows(information, rows)?;
        Ok(Tensor::from_vec(encoded, (rows.len(), self.width), device)?.to_dtype(dtype)?)
    }

    /// Different rows of the encoding `[rows, P]` and how often each occurs among the annotations: what full marginalisation averages over.
    ///
    /// # Errors
    ///
    /// No annotation, and those of [`PiEncoder::rows`].
    pub fn distinct(&self, information: &Information, dtype: DType, device: &Device) -> Result<(Tensor, Vec<f64>)> {
        let all: Vec<u32> = (0..information.len() as u32).collect();
        self.counted("PiEncoder::distinct", information, &all, dtype, device)
    }

    /// The same for `draws` annotations drawn with replacement.
    ///
    /// # Errors
    ///
    /// No draw, and as for [`PiEncoder::distinct`].
    pub fn sample(
        &self,
        information: &Information,
        draws: usize,
        rng: &mut Rng,
        dtype: DType,
        device: &Device,
    ) -> Result<(Tensor, Vec<f64>)> {
        const OP: &str = "PiEncoder::sample";
        if draws == 0 {
            return Err(Error::config(OP, "draws", 0, "at least 1"));
        }
        if information.is_empty() {
            return Err(Error::Empty { operation: OP, what: "annotations" });
        }
        let drawn: Vec<u32> = (0..draws).map(|_| rng.below(information.len()) as u32).collect();
        self.counted(OP, information, &drawn, dtype, device)
    }

    fn counted(
        &self,
        operation: &'static str,
        information: &Information,
        annotations: &[u32],
        dtype: DType,
        device: &Device,
    ) -> Result<(Tensor, Vec<f64>)> {
        if annotations.is_empty() {
            return Err(Error::Empty { operation, what: "annotations" });
        }
        let mut places = BTreeMap::new();
        let (mut rows, mut counts) = (Vec::new(), Vec::new());
        for part in annotations.chunks(4096) {
            for row in self.rows(information, part)?.chunks_exact(self.width) {
                // −0 and 0 are the same information.
                let key: Vec<u64> = row.iter().map(|x| (x + 0.).to_bits()).collect();
                let place = *places.entry(key).or_insert(counts.len());
                if place == counts.len() {
                    rows.extend_from_slice(row);
                    counts.push(0.);
                }
                counts[place] += 1.;
            }
        }
        Ok((Tensor::from_vec(rows, (counts.len(), self.width), device)?.to_dtype(dtype)?, counts))
    }
}
