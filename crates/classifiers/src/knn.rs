//! Nearest neighbours.

use crate::linear::largest;
use crate::pairwise::{Comparison, Packed, ROWS, padded};
use crate::products::dot;
use crate::rows::classes;
use crate::{Classifier, Error, Fitted, Matrix, Result, Rows};
use rayon::prelude::*;

/// What makes a neighbour near.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Metric {
    /// |x - y|
    Euclidean,
    /// 1 - x · y / (|x| |y|); a row of zeros is as far from all others as a right angle is.
    Cosine,
}

/// The class that most of the k nearest training rows have: every pair is compared. Of equal distances the earlier row is nearer, of equally frequent classes the smaller wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Knn {
    /// The number of neighbours, k. Default: 5; where there are fewer training rows, all of them.
    pub k: usize,
    /// The distance. Default: Euclidean.
    pub metric: Metric,
}

impl Default for Knn {
    fn default() -> Self {
        Self { k: 5, metric: Metric::Euclidean }
    }
}

/// Training rows to look up.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FittedKnn {
    k: usize,
    metric: Metric,
    width: usize,
    rows: Packed,
    classes: Vec<u32>,
    targets: Vec<usize>,
}

/// One class is enough.
impl Classifier for Knn {
    type Fitted = FittedKnn;

    fn fit(&self, x: Rows<'_>, labels: &[u32]) -> Result<FittedKnn> {
        const OPERATION: &str = "Knn";
        if self.k == 0 {
            return Err(Error::value(OPERATION, "k", 0., "1 or more"));
        }
        x.check_labels(OPERATION, labels)?;
        let classes = classes(labels);
        let targets = labels.iter().map(|label| classes.binary_search(label).unwrap_or_default()).collect();
        let (k, metric, width) = (self.k.min(x.len()), self.metric, x.width());
        let rows = metric.prepared(&x.to_matrix());
        Ok(FittedKnn { k, metric, width, rows: Packed::new(width, rows.chunks_exact(width)), classes, targets })
    }
}

impl Metric {
    /// Rows whose comparisons order neighbours as the metric does.
    fn prepared(self, x: &Matrix) -> Vec<f64> {
        let unit = |row: &[f64]| -> Vec<f64> {
            let largest = row.iter().fold(0f64, |largest, value| largest.max(value.abs()));
            if largest == 0. {
                return row.to_vec();
            }
            let row: Vec<f64> = row.iter().map(|value| value / largest).collect();
            let norm = dot(&row, &row).sqrt();
            row.iter().map(|value| value / norm).collect()
        };
        match self {
            Self::Euclidean => x.values().to_vec(),
            Self::Cosine => x.values().chunks_exact(x.width()).flat_map(unit).collect(),
        }
    }

    /// How prepared rows compare, and the sign with which the result is a distance.
    fn comparison(self) -> (Comparison, f64) {
        match self {
            Self::Euclidean => (Comparison::SquaredDistance, 1.),
            Self::Cosine => (Comparison::Product, -1.),
        }
    }
}

impl Fitted for FittedKnn {
    fn predict(&self, x: Rows<'_>) -> Result<Vec<u32>> {
        x.check_width("FittedKnn", self.width)?;
        let rows = self.metric.prepared(&x.to_matrix());
        let (comparison, sign) = self.metric.comparison();
        let (count, stride) = (self.rows.len(), padded(self.rows.len()));
        let predict = |(rows, classes): (&[f64], &mut [u32])| {
            let mut compared = vec![0.; classes.len() * stride];
            self.rows.compare(comparison, rows, &mut compared);
            let mut near: Vec<(f64, usize)> = Vec::with_capacity(count);
            for (class, compared) in classes.iter_mut().zip(compared.chunks_exact(stride)) {
                near.clear();
                near.extend(compared[..count].iter().enumerate().map(|(at, value)| (sign * value, at)));
                *class = self.classes[self.vote(&mut near)];
            }
        };
        let mut found = vec![0; x.len()];
        rows.par_chunks(ROWS * self.width).zip(found.par_chunks_mut(ROWS)).for_each(predict);
        Ok(found)
    }
}

impl FittedKnn {
    /// The most frequent class among the k nearest.
    fn vote(&self, distances: &mut [(f64, usize)]) -> usize {
        distances.select_nth_unstable_by(self.k - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut votes = vec![0.; self.classes.len()];
        distances[..self.k].iter().for_each(|&(_, at)| votes[self.targets[at]] += 1.);
        largest(&votes)
    }
}
