//! Clusters of all instances on several levels: k-means of the instances, then k-means of its centroids.

use crate::{Error, Result};
use candle_core::{DType, Tensor};
use core_tensor::random::Rng;
use rayon::prelude::*;

/// How clusters are found.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ClusterConfig {
    /// Clusters of each level, falling: K_1 > K_2 > … ≥ 2. A rule of thumb for K_1: two to four times as many as there may be classes, then half for each level. Default 14, 7.
    pub sizes: Vec<usize>,
    /// Lloyd iterations of a level at most; 10.
    pub iterations: usize,
    /// What is added to every variance, as a share of the mean variance of all instances; 10⁻².
    pub variance_floor: f64,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self { sizes: vec![14, 7], iterations: 10, variance_floor: 1e-2 }
    }
}

/// One level.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ClusterLevel {
    /// Centroids μ, `[K, D]`.
    pub centroids: Vec<f64>,
    /// Diagonal variances v, `[K, D]`, the floor included.
    pub variances: Vec<f64>,
    /// The share of the instances in each cluster, π.
    pub masses: Vec<f64>,
    /// The cluster of each point of the level below: of instances for the first level, of its clusters for others.
    pub parent_of: Vec<u32>,
}

/// Clusters on several levels, with their statistics. All numbers are f64 on the host; nothing here is on a tape.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use core_tensor::random::Rng;
/// use gnn::oepg::{ClusterConfig, HierarchicalClusters};
/// let z = Tensor::new(&[[0f64], [0.1], [1.0], [1.1], [9.0], [9.1]], &Device::Cpu)?;
/// let config = ClusterConfig { sizes: vec![3, 2], ..ClusterConfig::default() };
/// let clusters = HierarchicalClusters::fit(&z, &config, &mut Rng::new(0))?;
/// let coarse = clusters.assignments(1)?;
/// assert!(coarse[0] == coarse[3] && coarse[4] == coarse[5] && coarse[0] != coarse[4]);
/// # Ok::<(), gnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct HierarchicalClusters {
    width: usize,
    levels: Vec<ClusterLevel>,
    config: ClusterConfig,
}

/// Points with weights, `[n, width]`.
struct Points<'a> {
    values: &'a [f64],
    width: usize,
    weights: Vec<f64>,
}

impl Points<'_> {
    fn row(&self, at: usize) -> &[f64] {
        &self.values[at * self.width..(at + 1) * self.width]
    }

    fn len(&self) -> usize {
        self.weights.len()
    }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// The nearest centroid of a point, the first of equally near ones.
fn nearest(point: &[f64], centroids: &[f64]) -> u32 {
    let (mut best, mut least) = (0, f64::INFINITY);
    for (at, centroid) in centroids.chunks_exact(point.len()).enumerate() {
        let distance = distance(point, centroid);
        if distance < least {
            (best, least) = (at as u32, distance);
        }
    }
    best
}

fn assign(points: &Points<'_>, centroids: &[f64]) -> Vec<u32> {
    (0..points.len()).into_par_iter().with_min_len(64).map(|at| nearest(points.row(at), centroids)).collect()
}

/// Lloyd's iterations: centroids move to the weighted means of their points, empty ones stay. Ends early when nothing changes. Returns the assignment to the last centroids.
fn lloyd(points: &Points<'_>, centroids: &mut [f64], iterations: usize) -> Vec<u32> {
    let width = points.width;
    let mut assignment = assign(points, centroids);
    for _ in 0..iterations {
        let mut sums = vec![0.0; centroids.len()];
        let mut weights = vec![0.0; centroids.len() / width];
        for (at, &cluster) in assignment.iter().enumerate() {
            let (cluster, weight) = (cluster as usize, points.weights[at]);
            weights[cluster] += weight;
            let sum = &mut sums[cluster * width..(cluster + 1) * width];
            sum.iter_mut().zip(points.row(at)).for_each(|(sum, value)| *sum += weight * value);
        }
        let clusters = centroids.chunks_exact_mut(width).zip(sums.chunks_exact(width)).zip(&weights);
        for ((centroid, sum), &weight) in clusters {
            if weight > 0.0 {
                centroid.iter_mut().zip(sum).for_each(|(centroid, sum)| *centroid = sum / weight);
            }
        }
        let next = assign(points, centroids);
        if next == assignment {
            break;
        }
        assignment = next;
    }
    assignment
}

/// k-means++: each next centroid is a point drawn by weight times squared distance to the nearest one so far. Where all distances are 0, points are drawn by their weights.
fn plus_plus(points: &Points<'_>, count: usize, rng: &mut Rng) -> Vec<f64> {
    let mut draw = |chances: &[f64]| -> usize {
        let total: f64 = chances.iter().sum();
        if total.is_nan() || total <= 0.0 {
            return rng.below(chances.len());
        }
        let mut rest = rng.unit() * total;
        for (at, &chance) in chances.iter().enumerate() {
            rest -= chance;
            if rest < 0.0 && chance > 0.0 {
                return at;
            }
        }
        chances.iter().rposition(|&chance| chance > 0.0).unwrap_or(0)
    };
    let first = draw(&points.weights);
    let mut centroids = points.row(first).to_vec();
    let mut distances: Vec<f64> = (0..points.len()).map(|at| distance(points.row(at), points.row(first))).collect();
    while centroids.len() < count * points.width {
        let chances: Vec<f64> = distances.iter().zip(&points.weights).map(|(d, weight)| d * weight).collect();
        let next = draw(&chances);
        for (at, known) in distances.iter_mut().enumerate() {
            *known = known.min(distance(points.row(at), points.row(next)));
        }
        centroids.extend_from_slice(points.row(next));
    }
    centroids
}

/// Weights below this are lifted to it, so that empty clusters are points too.
const LEAST_MASS: f64 = 1e-12;

impl HierarchicalClusters {
    /// Clusters the rows of `z` `[instances, D]`, first themselves, then the centroids of each level, with k-means++ seeded by `rng` for each level.
    ///
    /// # Errors
    /// No level, levels that do not fall or have fewer than 2 clusters, more clusters than instances, or NaN or infinity in `z`.
    pub fn fit(z: &Tensor, config: &ClusterConfig, rng: &mut Rng) -> Result<Self> {
        let rng = rng.fork("clusters");
        Self::build(z, config, |level, points, count| {
            let mut of_level = rng.fork(&format!("level {level}"));
            Ok(plus_plus(points, count, &mut of_level))
        })
    }

    /// As [`HierarchicalClusters::fit`], from given first centroids: `first[l]` names instances for the first level, clusters of the level below for others.
    ///
    /// # Errors
    /// As [`HierarchicalClusters::fit`], and a list of another length than the level, or a point that does not exist.
    pub fn fit_from(z: &Tensor, config: &ClusterConfig, first: &[Vec<u32>]) -> Result<Self> {
        const OPERATION: &str = "HierarchicalClusters::fit_from";
        if first.len() != config.sizes.len() {
            let (got, expected) = (first.len(), config.sizes.len());
            return Err(Error::Length { operation: OPERATION, what: "first centroids", got, expected });
        }
        Self::build(z, config, |level, points, count| {
            let chosen = &first[level];
            if chosen.len() != count {
                let (what, got) = ("first centroids of a level", chosen.len());
                return Err(Error::Length { operation: OPERATION, what, got, expected: count });
            }
            if let Some(position) = chosen.iter().position(|&at| at as usize >= points.len()) {
                let (index, bound) = (u64::from(chosen[position]), points.len());
                let what = "first centroids of a level";
                return Err(Error::OutOfRange { operation: OPERATION, what, position, index, bound });
            }
            Ok(chosen.iter().flat_map(|&at| points.row(at as usize)).copied().collect())
        })
    }

    fn build(
        z: &Tensor,
        config: &ClusterConfig,
        first: impl Fn(usize, &Points<'_>, usize) -> Result<Vec<f64>>,
    ) -> Result<Self> {
        let (values, width) = rows("HierarchicalClusters::fit", z)?;
        let n = values.len() / width;
        check_sizes(&config.sizes, n)?;
        if !(config.variance_floor.is_finite() && config.variance_floor >= 0.0) {
            let (got, expected) = (config.variance_floor.to_string(), "a finite number of 0 or more");
            return Err(Error::InvalidConfig { what: "variance_floor", got, expected });
        }
        let empty = Self { width, levels: Vec::new(), config: config.clone() };
        empty.refit(&values, config.iterations, |level, points| first(level, points, config.sizes[level]))
    }

    /// The levels from first centroids, with statistics.
    fn refit(
        &self,
        values: &[f64],
        iterations: usize,
        first: impl Fn(usize, &Points<'_>) -> Result<Vec<f64>>,
    ) -> Result<Self> {
        let (width, n) = (self.width, values.len() / self.width);
        let mut levels: Vec<ClusterLevel> = Vec::new();
        let mut of_instances: Vec<u32> = Vec::new();
        for level in 0..self.config.sizes.len() {
            let points = match levels.last() {
                None => Points { values, width, weights: vec![1.0 / n as f64; n] },
                Some(below) => {
                    let weights = below.masses.iter().map(|mass| mass.max(LEAST_MASS)).collect();
                    Points { values: &below.centroids, width, weights }
                }
            };
            let mut centroids = first(level, &points)?;
            let parent_of = lloyd(&points, &mut centroids, iterations);
            of_instances = match level {
                0 => parent_of.clone(),
                _ => of_instances.iter().map(|&child| parent_of[child as usize]).collect(),
            };
            let mut masses = vec![0.0; centroids.len() / width];
            of_instances.iter().for_each(|&cluster| masses[cluster as usize] += 1.0);
            masses.iter_mut().for_each(|mass| *mass /= n as f64);
            levels.push(ClusterLevel { centroids, variances: Vec::new(), masses, parent_of });
        }
        let mut found = Self { width, levels, config: self.config.clone() };
        found.set_variances(values);
        Ok(found)
    }

    /// The mean squared deviation of the instances of each cluster from its centroid, or of all instances from their mean where there is none, and the floor.
    fn set_variances(&mut self, values: &[f64]) {
        let (width, n) = (self.width, values.len() / self.width);
        let mut mean = vec![0.0; width];
        for row in values.chunks_exact(width) {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / n as f64);
        }
        let mut global = vec![0.0; width];
        for row in values.chunks_exact(width) {
            let deviations = row.iter().zip(&mean).map(|(value, mean)| (value - mean).powi(2));
            global.iter_mut().zip(deviations).for_each(|(sum, square)| *sum += square / n as f64);
        }
        let floor = self.config.variance_floor * global.iter().sum::<f64>() / width as f64;
        for level in 0..self.levels.len() {
            let assignment = self.chain(level);
            let of_level = &mut self.levels[level];
            let mut sums = vec![0.0; of_level.centroids.len()];
            let mut counts = vec![0usize; of_level.masses.len()];
            for (row, &cluster) in values.chunks_exact(width).zip(&assignment) {
                let at = cluster as usize * width..(cluster as usize + 1) * width;
                counts[cluster as usize] += 1;
                let centroid = &of_level.centroids[at.clone()];
                let squares = row.iter().zip(centroid).map(|(value, centroid)| (value - centroid).powi(2));
                sums[at].iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
            }
            for (sums, &count) in sums.chunks_exact_mut(width).zip(&counts) {
                for (sum, global) in sums.iter_mut().zip(&global) {
                    let variance = if count == 0 { *global } else { *sum / count as f64 };
                    *sum = (variance + floor).max(LEAST_MASS);
                }
            }
            of_level.variances = sums;
        }
    }

    /// The cluster of each instance on a level, along the chain of parents.
    fn chain(&self, level: usize) -> Vec<u32> {
        let mut assignment = self.levels[0].parent_of.clone();
        for above in &self.levels[1..=level] {
            assignment.iter_mut().for_each(|cluster| *cluster = above.parent_of[*cluster as usize]);
        }
        assignment
    }

    /// The cluster of each instance that was clustered, on a level (counted from 0).
    ///
    /// # Errors
    /// A level that does not exist.
    pub fn assignments(&self, level: usize) -> Result<Vec<u32>> {
        self.check_level("HierarchicalClusters::assignments", level)?;
        Ok(self.chain(level))
    }

    /// The clusters of new instances on all levels: the nearest centroid of the first level, the first of equally near ones, and its parents.
    ///
    /// # Errors
    /// Rows of another width, or NaN or infinity in them.
    pub fn assign(&self, z: &Tensor) -> Result<Vec<Vec<u32>>> {
        let values = self.check_rows("HierarchicalClusters::assign", z)?;
        let n = values.len() / self.width;
        let points = Points { values: &values, width: self.width, weights: vec![1.0; n] };
        let mut all = vec![assign(&points, &self.levels[0].centroids)];
        for level in &self.levels[1..] {
            let below = &all[all.len() - 1];
            all.push(below.iter().map(|&child| level.parent_of[child as usize]).collect());
        }
        Ok(all)
    }

    /// Clusters anew from the centroids of each level, with this many Lloyd iterations: clusters keep their places, so that they can be [mixed](HierarchicalClusters::mix) with the old ones.
    ///
    /// # Errors
    /// Rows of another width, fewer instances than clusters, or NaN or infinity in them.
    pub fn warm_update(&self, z: &Tensor, iterations: usize) -> Result<Self> {
        let values = self.check_rows("HierarchicalClusters::warm_update", z)?;
        check_sizes(&self.config.sizes, values.len() / self.width)?;
        self.refit(&values, iterations, |level, _| Ok(self.levels[level].centroids.clone()))
    }

    /// `momentum · old + (1 − momentum) · new` of centroids and variances; masses and assignments are the new ones.
    ///
    /// # Errors
    /// Clusters of other sizes or width, or a momentum outside [0, 1].
    pub fn mix(&self, new: &Self, momentum: f64) -> Result<Self> {
        const OPERATION: &str = "HierarchicalClusters::mix";
        if self.width != new.width || self.config.sizes != new.config.sizes {
            return Err(Error::invalid_data(OPERATION, "clusters of other sizes or width"));
        }
        if !(0.0..=1.0).contains(&momentum) {
            let (got, expected) = (momentum.to_string(), "a number in [0, 1]");
            return Err(Error::InvalidConfig { what: "momentum", got, expected });
        }
        let blend = |old: &[f64], new: &[f64]| -> Vec<f64> {
            old.iter().zip(new).map(|(old, new)| momentum * old + (1.0 - momentum) * new).collect()
        };
        let levels = self.levels.iter().zip(&new.levels).map(|(old, new)| ClusterLevel {
            centroids: blend(&old.centroids, &new.centroids),
            variances: blend(&old.variances, &new.variances),
            ..new.clone()
        });
        Ok(Self { levels: levels.collect(), ..new.clone() })
    }

    /// D.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The levels, from the finest.
    pub fn levels(&self) -> &[ClusterLevel] {
        &self.levels
    }

    /// Clusters of all levels together.
    pub fn num_clusters(&self) -> usize {
        self.config.sizes.iter().sum()
    }

    /// Whether these are clusters of this width and these sizes, with numbers where numbers belong: what is read from a file need not be.
    pub(super) fn fits(&self, width: usize, sizes: &[usize]) -> bool {
        let mut below = None;
        let of_levels = self.levels.iter().zip(sizes).all(|(level, &size)| {
            let has_lengths = level.centroids.len() == size * width && level.variances.len() == size * width;
            let has_parents = below.is_none_or(|below| level.parent_of.len() == below)
                && level.parent_of.iter().all(|&parent| (parent as usize) < size);
            below = Some(size);
            let is_finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
            let is_positive = level.variances.iter().all(|&variance| variance > 0.0);
            has_lengths
                && has_parents
                && level.masses.len() == size
                && is_finite(&level.centroids)
                && is_finite(&level.variances)
                && is_positive
        });
        self.width == width && self.levels.len() == sizes.len() && of_levels
    }

    fn check_level(&self, operation: &'static str, level: usize) -> Result<()> {
        if level < self.levels.len() {
            return Ok(());
        }
        let (index, bound) = (level as u64, self.levels.len());
        Err(Error::OutOfRange { operation, what: "level", position: 0, index, bound })
    }

    fn check_rows(&self, operation: &'static str, z: &Tensor) -> Result<Vec<f64>> {
        let (values, width) = rows(operation, z)?;
        if width != self.width {
            let expected = format!("[instances, {}]", self.width);
            return Err(Error::Shape { operation, what: "z", got: z.dims().to_vec(), expected });
        }
        Ok(values)
    }
}

fn check_sizes(sizes: &[usize], n: usize) -> Result<()> {
    let falls = sizes.windows(2).all(|pair| pair[0] > pair[1]);
    if sizes.is_empty() || !falls || sizes.iter().any(|&size| size < 2) {
        let (got, expected) = (format!("{sizes:?}"), "one number or more, each at least 2 and below the one before");
        return Err(Error::InvalidConfig { what: "sizes of the cluster levels", got, expected });
    }
    if sizes[0] > n {
        let (got, expected) = (format!("{} for {n} instances", sizes[0]), "at most as many clusters as instances");
        return Err(Error::InvalidConfig { what: "clusters of the first level", got, expected });
    }
    Ok(())
}

fn rows(operation: &'static str, z: &Tensor) -> Result<(Vec<f64>, usize)> {
    match *z.dims() {
        [n, width] if n > 0 && width > 0 => {
            crate::features::check_finite(operation, "z", z)?;
            Ok((z.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1()?, width))
        }
        _ => {
            let (got, expected) = (z.dims().to_vec(), "[instances, width], at least one of each".into());
            Err(Error::Shape { operation, what: "z", got, expected })
        }
    }
}
