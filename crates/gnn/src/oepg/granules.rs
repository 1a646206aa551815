//! Descriptors of instances by clusters, weighed and summed, without the `[instances, granules, width]` tensor of all descriptors.
//!
//! With `S = 1/√v`, `V = 1/v` and `u^o = W_o W_k q` a score is linear in the descriptor, and a descriptor is a polynomial of second degree in `z`, so scores are products of `u`, `u·z`, `u·z²` with
//! matrices of the clusters, and sums of descriptors are products of attention weights with the same matrices. Rows are computed in tiles that stay in the cache.

use super::clusters::HierarchicalClusters;
use super::config::{DescriptorKind, DescriptorOrders, EgoDescriptor, OmniNorm};
use core_tensor::kernel::{Gradients, Kernel, Matrix, Real, for_slices, gemm_strided, multiversion};
use rayon::prelude::*;

/// The clusters of all levels, as matrices `[clusters, width]`.
#[derive(Debug, Clone)]
pub(crate) struct Granules {
    pub(super) width: usize,
    /// The level of each cluster.
    pub(super) level_of: Vec<usize>,
    pub(super) num_levels: usize,
    /// Subtracted from instances and centroids, so that squares do not cancel.
    centre: Vec<f64>,
    /// `S`, `μ S`, `V`, `μ V`, `μ² V`.
    matrices: [Vec<f64>; 5],
    pub(super) descriptor: EgoDescriptor,
    pub(super) norm: OmniNorm,
}

impl Granules {
    pub(super) fn new(clusters: &HierarchicalClusters, descriptor: EgoDescriptor, norm: OmniNorm) -> Self {
        let width = clusters.width();
        let first = &clusters.levels()[0];
        let mut centre = vec![0.0; width];
        for (centroid, mass) in first.centroids.chunks_exact(width).zip(&first.masses) {
            centre.iter_mut().zip(centroid).for_each(|(centre, value)| *centre += mass * value);
        }
        let mut matrices: [Vec<f64>; 5] = std::array::from_fn(|_| Vec::new());
        let mut level_of = Vec::new();
        for (at, level) in clusters.levels().iter().enumerate() {
            level_of.extend(std::iter::repeat_n(at, level.masses.len()));
            for (place, (&centroid, &variance)) in level.centroids.iter().zip(&level.variances).enumerate() {
                let mean = centroid - centre[place % width];
                let v = if descriptor.kind == DescriptorKind::Raw { 1.0 } else { 1.0 / variance };
                let s = v.sqrt();
                for (matrix, value) in matrices.iter_mut().zip([s, mean * s, v, mean * v, mean * mean * v]) {
                    matrix.push(value);
                }
            }
        }
        Self { width, level_of, num_levels: clusters.levels().len(), centre, matrices, descriptor, norm }
    }

    pub(super) fn num_clusters(&self) -> usize {
        self.level_of.len()
    }

    /// Descriptors of an instance: one or two of each cluster.
    pub(super) fn num_granules(&self) -> usize {
        self.num_clusters() * usize::from(self.has(0)) + self.num_clusters() * usize::from(self.has(1))
    }

    /// Whether descriptors of the first (0) or second order (1) take part.
    fn has(&self, order: usize) -> bool {
        match self.descriptor.orders {
            DescriptorOrders::Both => true,
            DescriptorOrders::First => order == 0,
            DescriptorOrders::Second => order == 1,
        }
    }

    /// What second-order descriptors are multiplied with, and what is subtracted from them before.
    fn second(&self) -> (f64, f64) {
        match self.descriptor.kind {
            DescriptorKind::Fisher => (std::f64::consts::FRAC_1_SQRT_2, 1.0),
            DescriptorKind::Raw => (1.0, 0.0),
        }
    }
}

/// `Σ_g α_g φ_g W_o` of each instance. Arguments: `z` `[n, width]`, `q` `[n, keys]`, and `W_1`, `W_2` `[width, values]`, `W_k` `[values, keys]`, `r` `[levels, keys]` one after the other.
pub(crate) struct EgoSum {
    pub(super) granules: std::sync::Arc<Granules>,
    pub(super) keys: usize,
    pub(super) values: usize,
}

/// Rows of a tile.
const TILE: usize = 128;
/// Tiles whose gradients of the parameters are kept until they are added, in order.
const TILES: usize = 16;

/// The parameters, and what follows from them alone.
struct Weights<'a, T> {
    first: &'a [T],
    second: &'a [T],
    keys: &'a [T],
    levels: &'a [T],
    /// `W_o W_k`, `[width, keys]`.
    mixed: [Vec<T>; 2],
    /// The level embedding of each cluster, `[clusters, keys]`.
    of_clusters: Vec<T>,
    centre: Vec<T>,
    matrices: [Vec<T>; 5],
}

/// A tile on its way.
struct Tile<T> {
    rows: usize,
    z: Vec<T>,
    /// `u^1`, `u^2`, `[rows, width]`.
    u: [Vec<T>; 2],
    /// Attention weights of both orders, `[rows, clusters]`.
    alpha: [Vec<T>; 2],
}

multiversion! {
    fn multiply<T>(a: &[T], b: &[T], out: &mut [T]) {
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *out = a * b;
        }
    }
}

multiversion! {
    fn add_product<T>(a: &[T], b: &[T], out: &mut [T]) {
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *out += a * b;
        }
    }
}

multiversion! {
    fn add_scaled<T>(a: &[T], factor: T, out: &mut [T]) {
        for (out, &a) in out.iter_mut().zip(a) {
            *out += a * factor;
        }
    }
}

/// `left · right`, added to `out`, on this thread.
fn add_gemm<T: Real>(left: Matrix<'_, T>, right: Matrix<'_, T>, out: &mut [T], cols: usize) {
    gemm_strided(left, right, out, cols, true, false);
}

fn times<T: Real>(left: Matrix<'_, T>, right: Matrix<'_, T>, rows: usize, cols: usize) -> Vec<T> {
    let mut out = vec![T::ZERO; rows * cols];
    gemm_strided(left, right, &mut out, cols, false, false);
    out
}

impl EgoSum {
    fn width(&self) -> usize {
        self.granules.width
    }

    fn clusters(&self) -> usize {
        self.granules.num_clusters()
    }

    /// Elements of all parameters.
    pub(super) fn num_parameters(&self) -> usize {
        2 * self.width() * self.values + self.values * self.keys + self.granules.num_levels * self.keys
    }

    fn weights<'a, T: Real>(&self, parameters: &'a [T]) -> Weights<'a, T> {
        let (width, values, keys) = (self.width(), self.values, self.keys);
        let (first, rest) = parameters.split_at(width * values);
        let (second, rest) = rest.split_at(width * values);
        let (of_keys, levels) = rest.split_at(values * keys);
        let mixed = [first, second]
            .map(|weight| times(Matrix::new(weight, width, values), Matrix::new(of_keys, values, keys), width, keys));
        let of_clusters = self
            .granules
            .level_of
            .iter()
            .flat_map(|&level| &levels[level * keys..(level + 1) * keys])
            .copied()
            .collect();
        let convert = |values: &Vec<f64>| values.iter().map(|&value| T::of(value)).collect();
        let matrices = std::array::from_fn(|at| convert(&self.granules.matrices[at]));
        let centre = convert(&self.granules.centre);
        Weights { first, second, keys: of_keys, levels, mixed, of_clusters, centre, matrices }
    }

    fn matrix<'a, T: Real>(&self, w: &'a Weights<'_, T>, at: usize) -> Matrix<'a, T> {
        Matrix::new(&w.matrices[at], self.clusters(), self.width())
    }

    /// For each cluster and order `⟨a^o, φ^o⟩`, `[rows, clusters]`.
    fn scores<T: Real>(&self, w: &Weights<'_, T>, z: &[T], a: &[Vec<T>; 2], rows: usize) -> [Vec<T>; 2] {
        let (width, clusters) = (self.width(), self.clusters());
        let mut scratch = vec![T::ZERO; rows * width];
        let tile = |values: &[T]| -> Vec<T> { values.to_vec() };
        let mut out = [vec![T::ZERO; rows * clusters], vec![T::ZERO; rows * clusters]];
        if self.granules.has(0) {
            multiply(&a[0], z, &mut scratch);
            add_gemm(Matrix::new(&scratch, rows, width), self.matrix(w, 0).t(), &mut out[0], clusters);
            let mut negative = tile(&a[0]);
            negative.iter_mut().for_each(|value| *value = -*value);
            add_gemm(Matrix::new(&negative, rows, width), self.matrix(w, 1).t(), &mut out[0], clusters);
        }
        if self.granules.has(1) {
            let (factor, one) = self.granules.second();
            multiply(&a[1], z, &mut scratch);
            let mut negative = tile(&scratch);
            negative.iter_mut().for_each(|value| *value *= T::of(-2.0));
            let mut squared = vec![T::ZERO; rows * width];
            multiply(&scratch, z, &mut squared);
            add_gemm(Matrix::new(&squared, rows, width), self.matrix(w, 2).t(), &mut out[1], clusters);
            add_gemm(Matrix::new(&negative, rows, width), self.matrix(w, 3).t(), &mut out[1], clusters);
            add_gemm(Matrix::new(&a[1], rows, width), self.matrix(w, 4).t(), &mut out[1], clusters);
            for (scores, a) in out[1].chunks_exact_mut(clusters).zip(a[1].chunks_exact(width)) {
                let sum = if one == 0.0 { 0.0 } else { a.iter().map(|value| value.to_f64()).sum::<f64>() * one };
                scores.iter_mut().for_each(|score| *score = (*score - T::of(sum)) * T::of(factor));
            }
        }
        out
    }

    /// `Σ_g c_g φ_g` of each order for coefficients `c`, `[rows, width]`.
    fn sums<T: Real>(&self, w: &Weights<'_, T>, z: &[T], c: &[Vec<T>; 2], rows: usize) -> [Vec<T>; 2] {
        let (width, clusters) = (self.width(), self.clusters());
        let coefficients = |order: usize| Matrix::new(&c[order][..], rows, clusters);
        let mut out = [vec![T::ZERO; rows * width], vec![T::ZERO; rows * width]];
        if self.granules.has(0) {
            let scale = times(coefficients(0), self.matrix(w, 0), rows, width);
            let shift = times(coefficients(0), self.matrix(w, 1), rows, width);
            multiply(z, &scale, &mut out[0]);
            add_scaled(&shift, -T::ONE, &mut out[0]);
        }
        if self.granules.has(1) {
            let (factor, one) = self.granules.second();
            let of_squares = times(coefficients(1), self.matrix(w, 2), rows, width);
            let linear = times(coefficients(1), self.matrix(w, 3), rows, width);
            let constant = times(coefficients(1), self.matrix(w, 4), rows, width);
            let totals = c[1].chunks_exact(clusters).map(|c| c.iter().map(|c| c.to_f64()).sum::<f64>() * one);
            for (row, total) in totals.enumerate() {
                for at in row * width..(row + 1) * width {
                    let value =
                        z[at] * (z[at] * of_squares[at] - linear[at] - linear[at]) + constant[at] - T::of(total);
                    out[1][at] = value * T::of(factor);
                }
            }
        }
        out
    }

    /// Adds to `out` the derivative of `Σ_o ⟨a^o, Σ_g c_g φ^o_g⟩` by `z`.
    fn slopes<T: Real>(
        &self,
        w: &Weights<'_, T>,
        z: &[T],
        a: &[Vec<T>; 2],
        c: &[Vec<T>; 2],
        rows: usize,
        out: &mut [T],
    ) {
        let (width, clusters) = (self.width(), self.clusters());
        if self.granules.has(0) {
            let scale = times(Matrix::new(&c[0], rows, clusters), self.matrix(w, 0), rows, width);
            add_product(&a[0], &scale, out);
        }
        if self.granules.has(1) {
            let factor = T::of(2.0 * self.granules.second().0);
            let of_squares = times(Matrix::new(&c[1], rows, clusters), self.matrix(w, 2), rows, width);
            let linear = times(Matrix::new(&c[1], rows, clusters), self.matrix(w, 3), rows, width);
            for (at, out) in out.iter_mut().enumerate() {
                *out += a[1][at] * factor * (z[at] * of_squares[at] - linear[at]);
            }
        }
    }

    fn tile<T: Real>(&self, w: &Weights<'_, T>, z: &[T], q: &[T]) -> Tile<T> {
        let (width, keys, clusters) = (self.width(), self.keys, self.clusters());
        let rows = z.len() / width;
        let mut z = z.to_vec();
        for row in z.chunks_exact_mut(width) {
            row.iter_mut().zip(&w.centre).for_each(|(value, &centre)| *value -= centre);
        }
        let queries = Matrix::new(q, rows, keys);
        let u: [Vec<T>; 2] =
            std::array::from_fn(|order| times(queries, Matrix::new(&w.mixed[order], width, keys).t(), rows, width));
        let mut scores = self.scores(w, &z, &u, rows);
        let of_levels = times(queries, Matrix::new(&w.of_clusters, clusters, keys).t(), rows, clusters);
        let scale = T::of(1.0 / (keys as f64).sqrt());
        for (order, scores) in scores.iter_mut().enumerate() {
            if self.granules.has(order) {
                for (score, &of_level) in scores.iter_mut().zip(&of_levels) {
                    *score = (*score + of_level) * scale;
                }
            }
        }
        self.normalise(&mut scores, rows);
        Tile { rows, z, u, alpha: scores }
    }

    /// Scores become attention weights.
    fn normalise<T: Real>(&self, scores: &mut [Vec<T>; 2], rows: usize) {
        let clusters = self.clusters();
        let orders: Vec<usize> = (0..2).filter(|&order| self.granules.has(order)).collect();
        if self.granules.norm == OmniNorm::Uniform {
            let share = T::of(1.0 / self.granules.num_granules() as f64);
            orders.iter().for_each(|&order| scores[order].fill(share));
            return;
        }
        for row in 0..rows {
            let at = row * clusters;
            let places = |level: Option<usize>| -> Vec<(usize, usize)> {
                let of_level = |&cluster: &usize| level.is_none_or(|level| self.granules.level_of[cluster] == level);
                let clusters = (0..clusters).filter(of_level);
                clusters.flat_map(|cluster| orders.iter().map(move |&order| (order, at + cluster))).collect()
            };
            match self.granules.norm {
                OmniNorm::Joint | OmniNorm::Uniform => softmax(scores, &places(None), 1.0),
                OmniNorm::PerLevel => {
                    let levels = self.granules.num_levels;
                    (0..levels).for_each(|level| softmax(scores, &places(Some(level)), levels as f64));
                }
                OmniNorm::TopM(count) => {
                    let mut all = places(None);
                    all.sort_by(|a, b| {
                        scores[b.0][b.1]
                            .to_f64()
                            .total_cmp(&scores[a.0][a.1].to_f64())
                            .then(a.1.cmp(&b.1))
                            .then(a.0.cmp(&b.0))
                    });
                    let dropped = all.split_off(count.clamp(1, all.len()));
                    softmax(scores, &all, 1.0);
                    dropped.iter().for_each(|&(order, place)| scores[order][place] = T::ZERO);
                }
            }
        }
    }

    /// The gradient of the scores from that of the weights, in place.
    fn denormalise<T: Real>(&self, alpha: &[Vec<T>; 2], grad: &mut [Vec<T>; 2], rows: usize) {
        let clusters = self.clusters();
        if self.granules.norm == OmniNorm::Uniform {
            grad.iter_mut().for_each(|grad| grad.fill(T::ZERO));
            return;
        }
        let is_per_level = self.granules.norm == OmniNorm::PerLevel;
        let groups = if is_per_level { self.granules.num_levels } else { 1 };
        for row in 0..rows {
            let mut means = vec![0f64; groups];
            let group = |cluster: usize| if is_per_level { self.granules.level_of[cluster] } else { 0 };
            for order in 0..2 {
                for cluster in 0..clusters {
                    let at = row * clusters + cluster;
                    // weights of a level add up to 1 / levels
                    means[group(cluster)] += alpha[order][at].to_f64() * grad[order][at].to_f64() * groups as f64;
                }
            }
            for order in 0..2 {
                for cluster in 0..clusters {
                    let at = row * clusters + cluster;
                    grad[order][at] = alpha[order][at] * (grad[order][at] - T::of(means[group(cluster)]));
                }
            }
        }
    }

    /// Attention weights of all granules, `[n, granules]` in the order level, order, cluster.
    pub(super) fn attention<T: Real>(&self, z: &[T], q: &[T], parameters: &[T]) -> Vec<f64> {
        let w = self.weights(parameters);
        let tile = self.tile(&w, z, q);
        let clusters = self.clusters();
        let mut out = Vec::with_capacity(tile.rows * self.granules.num_granules());
        for row in 0..tile.rows {
            for level in 0..self.granules.num_levels {
                for order in (0..2).filter(|&order| self.granules.has(order)) {
                    for cluster in (0..clusters).filter(|&cluster| self.granules.level_of[cluster] == level) {
                        out.push(tile.alpha[order][row * clusters + cluster].to_f64());
                    }
                }
            }
        }
        out
    }
}

fn softmax<T: Real>(scores: &mut [Vec<T>; 2], places: &[(usize, usize)], divisor: f64) {
    let largest = places.iter().map(|&(order, at)| scores[order][at].to_f64()).fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for &(order, at) in places {
        let power = (scores[order][at].to_f64() - largest).exp();
        scores[order][at] = T::of(power);
        sum += power;
    }
    let factor = T::of(1.0 / (sum * divisor));
    places.iter().for_each(|&(order, at)| scores[order][at] *= factor);
}

/// What a tile adds to the gradients of the parameters.
struct Parts<T> {
    of_weights: [Vec<T>; 2],
    of_mixed: [Vec<T>; 2],
    of_levels: Vec<T>,
}

impl Kernel for EgoSum {
    const NAME: &'static str = "ego-semantic sum";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        let (width, values) = (self.width(), self.values);
        let n = x[0].len() / width;
        let w = self.weights(x[2]);
        let mut out = vec![T::ZERO; n * values];
        let work = width * self.clusters() * 12;
        // whole tiles, so that where tasks are cut changes nothing
        for_slices(&mut out, TILE * values, TILE * work, &|first, out| {
            for (at, out) in out.chunks_mut(TILE * values).enumerate() {
                self.forward_tile(&w, x, (first + at) * TILE, out);
            }
        });
        Ok(out)
    }

    fn backward<T: Real>(&self, x: &[&[T]], _: &[T], grad: &[T], _: [bool; 3]) -> candle_core::Result<Gradients<T>> {
        let (width, keys, values) = (self.width(), self.keys, self.values);
        let n = x[0].len() / width;
        let w = self.weights(x[2]);
        let (mut of_z, mut of_q) = (vec![T::ZERO; n * width], vec![T::ZERO; n * keys]);
        let (mut of_weights, mut of_mixed) = (
            [vec![T::ZERO; width * values], vec![T::ZERO; width * values]],
            [vec![T::ZERO; width * keys], vec![T::ZERO; width * keys]],
        );
        let mut of_levels = vec![T::ZERO; w.levels.len()];
        let outputs = of_z.chunks_mut(TILES * TILE * width).zip(of_q.chunks_mut(TILES * TILE * keys)).enumerate();
        for (group, (of_z, of_q)) in outputs {
            let start = group * TILES * TILE;
            let tiles: Vec<_> = of_z.chunks_mut(TILE * width).zip(of_q.chunks_mut(TILE * keys)).enumerate().collect();
            let run = |(tile, (of_z, of_q)): (usize, (&mut [T], &mut [T]))| {
                self.backward_tile(&w, x, grad, start + tile * TILE, of_z, of_q)
            };
            let parts: Vec<Parts<T>> = if rayon::current_num_threads() == 1 {
                tiles.into_iter().map(run).collect()
            } else {
                tiles.into_par_iter().map(run).collect()
            };
            for part in parts {
                for order in 0..2 {
                    add_scaled(&part.of_weights[order], T::ONE, &mut of_weights[order]);
                    add_scaled(&part.of_mixed[order], T::ONE, &mut of_mixed[order]);
                }
                for (cluster, &level) in self.granules.level_of.iter().enumerate() {
                    let of_level = &mut of_levels[level * keys..(level + 1) * keys];
                    add_scaled(&part.of_levels[cluster * keys..(cluster + 1) * keys], T::ONE, of_level);
                }
            }
        }
        // M_o = W_o W_k
        let mut of_keys = vec![T::ZERO; values * keys];
        for (order, weight) in [w.first, w.second].into_iter().enumerate() {
            let mixed = Matrix::new(&of_mixed[order][..], width, keys);
            add_gemm(mixed, Matrix::new(w.keys, values, keys).t(), &mut of_weights[order], values);
            add_gemm(Matrix::new(weight, width, values).t(), mixed, &mut of_keys, keys);
        }
        let [mut of_parameters, second] = of_weights;
        of_parameters.extend(second);
        of_parameters.extend(of_keys);
        of_parameters.extend(of_levels);
        Ok([Some(of_z), Some(of_q), Some(of_parameters)])
    }
}

impl EgoSum {
    fn forward_tile<T: Real>(&self, w: &Weights<'_, T>, x: &[&[T]], start: usize, out: &mut [T]) {
        let (width, keys, values) = (self.width(), self.keys, self.values);
        let rows = out.len() / values;
        let (z, q) = (&x[0][start * width..(start + rows) * width], &x[1][start * keys..(start + rows) * keys]);
        let tile = self.tile(w, z, q);
        let sums = self.sums(w, &tile.z, &tile.alpha, rows);
        for (order, weight) in [w.first, w.second].into_iter().enumerate() {
            if self.granules.has(order) {
                add_gemm(Matrix::new(&sums[order], rows, width), Matrix::new(weight, width, values), out, values);
            }
        }
    }

    fn backward_tile<T: Real>(
        &self,
        w: &Weights<'_, T>,
        x: &[&[T]],
        grad: &[T],
        start: usize,
        of_z: &mut [T],
        of_q: &mut [T],
    ) -> Parts<T> {
        let (width, keys, values, clusters) = (self.width(), self.keys, self.values, self.clusters());
        let rows = of_z.len() / width;
        let (z, q) = (&x[0][start * width..(start + rows) * width], &x[1][start * keys..(start + rows) * keys]);
        let grad = Matrix::new(&grad[start * values..(start + rows) * values], rows, values);
        let tile = self.tile(w, z, q);
        let sums = self.sums(w, &tile.z, &tile.alpha, rows);
        let empty = |len: usize| vec![T::ZERO; len];
        let mut of_weights = [empty(width * values), empty(width * values)];
        let mut of_sums = [empty(rows * width), empty(rows * width)];
        for (order, weight) in [w.first, w.second].into_iter().enumerate() {
            if self.granules.has(order) {
                add_gemm(Matrix::new(&sums[order], rows, width).t(), grad, &mut of_weights[order], values);
                add_gemm(grad, Matrix::new(weight, width, values).t(), &mut of_sums[order], width);
            }
        }
        self.slopes(w, &tile.z, &of_sums, &tile.alpha, rows, of_z);
        let mut of_scores = self.scores(w, &tile.z, &of_sums, rows);
        self.denormalise(&tile.alpha, &mut of_scores, rows);
        let scale = T::of(1.0 / (keys as f64).sqrt());
        of_scores.iter_mut().flatten().for_each(|value| *value *= scale);
        for order in (0..2).filter(|&order| !self.granules.has(order)) {
            of_scores[order].fill(T::ZERO);
        }
        self.slopes(w, &tile.z, &tile.u, &of_scores, rows, of_z);
        let of_u = self.sums(w, &tile.z, &of_scores, rows);
        let queries = Matrix::new(q, rows, keys);
        let mut of_mixed = [empty(width * keys), empty(width * keys)];
        for order in 0..2 {
            if self.granules.has(order) {
                let of_u = Matrix::new(&of_u[order], rows, width);
                add_gemm(of_u, Matrix::new(&w.mixed[order], width, keys), of_q, keys);
                add_gemm(of_u.t(), queries, &mut of_mixed[order], keys);
            }
        }
        let mut both = of_scores[0].clone();
        add_scaled(&of_scores[1], T::ONE, &mut both);
        let both = Matrix::new(&both, rows, clusters);
        add_gemm(both, Matrix::new(&w.of_clusters, clusters, keys), of_q, keys);
        let mut of_levels = empty(clusters * keys);
        add_gemm(both.t(), queries, &mut of_levels, keys);
        Parts { of_weights, of_mixed, of_levels }
    }
}
