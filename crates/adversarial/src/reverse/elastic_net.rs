//! The group elastic net: least squares with weights on the norms of groups of coefficients.

use super::vector::{combine, correlate, dot, norm, solve_positive};
use crate::error::check_positive;
use crate::{Error, Result};
use nalgebra::{DMatrix, DMatrixView};
use serde::{Deserialize, Serialize};

/// How [`GroupElasticNet`] is solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Solver {
    /// Exact minimisation of one group after the other, with Newton steps on the groups that are not 0: few hundred thousand operations for each step, and a fast end.
    #[default]
    BlockDescent,
    /// Accelerated proximal gradient steps with restarts (Beck and Teboulle, 2009; O'Donoghue and Candès, 2015). Slower; for comparison.
    Fista,
}

/// Minimises ‖x − D c‖² + Σ_g (a_g ‖c_g‖ + b_g/2 ‖c_g‖²) over c: no factor 1/2 before the squares; a_g ≥ 0 is the weight of group g's norm, b_g ≥ 0 that of its ridge.
///
/// At the minimum, with r = x − D c: 2 D_gᵀ r = a_g c_g/‖c_g‖ + b_g c_g where c_g ≠ 0, and ‖2 D_gᵀ r‖ ≤ a_g elsewhere. Without a ridge (b_g = 0) the minimum is unique in D c only.
///
/// ```
/// use adversarial::reverse::GroupElasticNet;
/// // two orthonormal columns, each a group: soft thresholding by a/2
/// let net = GroupElasticNet::new(&[1, 1], vec![1., 1.], vec![0., 0.])?;
/// let found = net.solve(&[1., 0., 0., 1.], &[3., 0.25], None)?;
/// assert!((found.coefficients[0] - 2.5).abs() < 1e-9 && found.coefficients[1] == 0.);
/// # Ok::<(), adversarial::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GroupElasticNet {
    /// Where each group begins, and the number of coefficients.
    starts: Vec<usize>,
    l1: Vec<f64>,
    l2: Vec<f64>,
    /// Which algorithm.
    pub solver: Solver,
    /// The duality gap at which it stops, relative to the objective (or to 10⁻⁴ ‖x‖² where that is larger, since differences of numbers of the size of ‖x‖² cannot be told more finely).
    pub tolerance: f64,
    /// Sweeps over all groups, or steps of FISTA, after which it gives up.
    pub max_iterations: usize,
}

/// A minimum.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The coefficients.
    pub coefficients: Vec<f64>,
    /// The objective there.
    pub objective: f64,
    /// How much lower than that the minimum may be.
    pub gap: f64,
    /// Sweeps, or steps of FISTA.
    pub iterations: usize,
}

/// `DᵀD` of some columns, and the eigendecompositions of its diagonal blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    gram: Vec<f64>,
    spectra: Vec<Spectrum>,
    starts: Vec<usize>,
}

/// The quadratic part, `‖x − D c‖² = ‖x‖² − 2 bᵀc + cᵀGc`, of which solvers see nothing else.
pub(crate) struct Quadratic<'a> {
    /// `DᵀD`, `[n, n]`.
    pub(crate) gram: &'a [f64],
    /// `Dᵀx`.
    pub(crate) correlations: &'a [f64],
    /// `‖x‖²`.
    pub(crate) square: f64,
    /// Eigenvalues and eigenvectors (columns) of the groups' diagonal blocks.
    pub(crate) spectra: &'a [&'a Spectrum],
}

/// The eigendecomposition of a group's `DᵀD`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spectrum {
    values: Vec<f64>,
    /// `[size, size]` column by column.
    vectors: Vec<f64>,
}

impl Spectrum {
    /// Of a symmetric matrix `[size, size]`.
    pub(crate) fn of(gram: &[f64], size: usize) -> Self {
        let eigen = DMatrix::from_column_slice(size, size, gram).symmetric_eigen();
        let values = eigen.eigenvalues.iter().map(|value| value.max(0.)).collect();
        Self { values, vectors: eigen.eigenvectors.as_slice().to_vec() }
    }
}

impl GroupElasticNet {
    /// `sizes` of the groups, whose coefficients follow each other, and their weights.
    ///
    /// # Errors
    /// No groups, an empty group, lists of other lengths, a weight that is negative or not finite, a group both of whose weights are 0.
    pub fn new(sizes: &[usize], l1: Vec<f64>, l2: Vec<f64>) -> Result<Self> {
        const OPERATION: &str = "GroupElasticNet::new";
        check_positive(OPERATION, &[("groups", sizes.len())])?;
        let mut starts = vec![0];
        for (group, &size) in sizes.iter().enumerate() {
            if size == 0 {
                return Err(Error::config(OPERATION, "sizes", format!("has an empty group, number {group}")));
            }
            starts.push(starts[group] + size);
        }
        for (what, weights) in [("weights of norms", &l1), ("weights of ridges", &l2)] {
            if weights.len() != sizes.len() {
                return Err(Error::length(OPERATION, what, weights.len(), sizes.len()));
            }
            if let Some(group) = weights.iter().position(|weight| !(*weight >= 0. && weight.is_finite())) {
                let what = format!("{what}[{group}]");
                return Err(Error::value(OPERATION, what, weights[group], "0 or more"));
            }
        }
        if let Some(group) = (0..sizes.len()).find(|&group| l1[group] == 0. && l2[group] == 0.) {
            return Err(Error::value(OPERATION, format!("both weights of group {group}"), 0., "one of them above 0"));
        }
        Ok(Self { starts, l1, l2, solver: Solver::BlockDescent, tolerance: 1e-10, max_iterations: 20_000 })
    }

    /// The same problem with another algorithm.
    pub fn solver(self, solver: Solver) -> Self {
        Self { solver, ..self }
    }

    /// The same problem with another gap, relative to the objective.
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }

    fn num_groups(&self) -> usize {
        self.l1.len()
    }

    fn group(&self, group: usize) -> std::ops::Range<usize> {
        self.starts[group]..self.starts[group + 1]
    }

    fn num_coefficients(&self) -> usize {
        self.starts[self.num_groups()]
    }

    /// Minimises for one `x` of length d; `columns` is D, `[d, n]` column by column. `start` is where the search begins, 0 without it.
    ///
    /// # Errors
    /// Lengths that do not fit; values that are not finite; [`Error::NotConverged`] with the gap that was reached.
    pub fn solve(&self, columns: &[f64], x: &[f64], start: Option<&[f64]>) -> Result<Solution> {
        let mut all = self.solve_many(columns, x, x.len(), start)?;
        Ok(all.remove(0))
    }

    /// [`Self::solve`] for several right sides, one after the other in `xs`, each of length `d`, with one computation of `DᵀD`.
    ///
    /// # Errors
    /// As [`Self::solve`].
    pub fn solve_many(&self, columns: &[f64], xs: &[f64], d: usize, start: Option<&[f64]>) -> Result<Vec<Solution>> {
        const OPERATION: &str = "GroupElasticNet";
        let n = self.num_coefficients();
        check_positive(OPERATION, &[("elements of x", d), ("right sides", xs.len() / d.max(1))])?;
        if !xs.len().is_multiple_of(d) {
            return Err(Error::length(OPERATION, "elements of right sides", xs.len(), xs.len() / d * d));
        }
        if let Some(at) = xs.iter().position(|value| !value.is_finite()) {
            return Err(Error::value(OPERATION, format!("element {at} of x"), xs[at], "a finite number"));
        }
        let prepared = self.prepare(columns, d)?;
        let correlations = correlate(columns, xs, d);
        let rows = correlations.chunks(n).zip(xs.chunks(d));
        rows.map(|(correlations, x)| self.solve_prepared(&prepared, correlations, dot(x, x), start)).collect()
    }

    /// Prepares `DᵀD` (and what the solvers need of it) of columns `[d, n]`, for [`Self::solve_prepared`].
    ///
    /// # Errors
    /// As [`Self::solve`].
    pub fn prepare(&self, columns: &[f64], d: usize) -> Result<Prepared> {
        const OPERATION: &str = "GroupElasticNet";
        let n = self.num_coefficients();
        check_positive(OPERATION, &[("elements of x", d)])?;
        let expected =
            d.checked_mul(n).ok_or_else(|| Error::config(OPERATION, "the dictionary", "is larger than memory"))?;
        if columns.len() != expected {
            return Err(Error::length(OPERATION, "elements of the dictionary", columns.len(), expected));
        }
        if let Some(at) = columns.iter().position(|value| !value.is_finite()) {
            return Err(Error::value(
                OPERATION,
                format!("element {at} of the dictionary"),
                columns[at],
                "a finite number",
            ));
        }
        let gram = gram(columns, d, n);
        let spectra = (0..self.num_groups()).map(|group| self.spectrum(&gram, group)).collect();
        Ok(Prepared { gram, spectra, starts: self.starts.clone() })
    }

    /// Minimises from `Dᵀx` and `‖x‖²` alone, whatever d is.
    ///
    /// # Errors
    /// Products of other groups, lengths that do not fit, values that are not finite, [`Error::NotConverged`].
    pub fn solve_prepared(
        &self,
        prepared: &Prepared,
        correlations: &[f64],
        square: f64,
        start: Option<&[f64]>,
    ) -> Result<Solution> {
        const OPERATION: &str = "GroupElasticNet";
        let n = self.num_coefficients();
        if prepared.starts != self.starts {
            return Err(Error::config(OPERATION, "the products", "are of other groups"));
        }
        for (what, list) in
            [("correlations", correlations), ("coefficients of the start", start.unwrap_or(correlations))]
        {
            if list.len() != n {
                return Err(Error::length(OPERATION, what, list.len(), n));
            }
            if let Some(at) = list.iter().position(|value| !value.is_finite()) {
                return Err(Error::value(OPERATION, format!("element {at} of {what}"), list[at], "a finite number"));
            }
        }
        if !(square >= 0. && square.is_finite()) {
            return Err(Error::value(OPERATION, "the square of x", square, "0 or more"));
        }
        let spectra: Vec<&Spectrum> = prepared.spectra.iter().collect();
        self.minimise(&Quadratic { gram: &prepared.gram, correlations, square, spectra: &spectra }, start)
    }

    /// Minimises along a path: all weights are multiplied by each of `scales` in turn, and each search begins at the last minimum.
    ///
    /// # Errors
    /// As [`Self::solve`]; a scale that is not above 0.
    pub fn path(&self, columns: &[f64], x: &[f64], scales: &[f64]) -> Result<Vec<Solution>> {
        let mut solutions: Vec<Solution> = Vec::new();
        for &scale in scales {
            let sizes: Vec<usize> = self.starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let scaled = |weights: &[f64]| weights.iter().map(|weight| weight * scale).collect();
            let net = Self::new(&sizes, scaled(&self.l1), scaled(&self.l2))?;
            let net =
                Self { solver: self.solver, tolerance: self.tolerance, max_iterations: self.max_iterations, ..net };
            let start = solutions.last().map(|solution| solution.coefficients.as_slice());
            solutions.push(net.solve(columns, x, start)?);
        }
        Ok(solutions)
    }

    fn spectrum(&self, gram: &[f64], group: usize) -> Spectrum {
        let n = self.num_coefficients();
        let range = self.group(group);
        let block: Vec<f64> = range
            .clone()
            .flat_map(|column| gram[column * n..(column + 1) * n][range.clone()].iter().copied())
            .collect();
        Spectrum::of(&block, range.len())
    }

    pub(crate) fn minimise(&self, quadratic: &Quadratic<'_>, start: Option<&[f64]>) -> Result<Solution> {
        let coefficients = start.map_or_else(|| vec![0.; self.num_coefficients()], <[f64]>::to_vec);
        let mut state = State::new(self, quadratic, coefficients);
        let found = match self.solver {
            Solver::BlockDescent => state.descend(),
            Solver::Fista => state.accelerate(),
        };
        let (objective, gap) = state.gap();
        match found {
            Some(iterations) => Ok(Solution { coefficients: state.c, objective, gap, iterations }),
            None => Err(Error::NotConverged {
                operation: "GroupElasticNet",
                gap,
                tolerance: self.tolerance * state.scale(objective),
                iterations: self.max_iterations,
            }),
        }
    }
}

/// `DᵀD` of columns `[d, n]`.
pub(crate) fn gram(columns: &[f64], d: usize, n: usize) -> Vec<f64> {
    let matrix = DMatrixView::from_slice(columns, d, n);
    let product = matrix.transpose() * matrix;
    product.as_slice().to_vec()
}

struct State<'a> {
    net: &'a GroupElasticNet,
    quadratic: &'a Quadratic<'a>,
    c: Vec<f64>,
    /// `Dᵀ(x − D c)`.
    q: Vec<f64>,
    all: Vec<usize>,
}

impl<'a> State<'a> {
    fn new(net: &'a GroupElasticNet, quadratic: &'a Quadratic<'a>, c: Vec<f64>) -> Self {
        let all = (0..c.len()).collect();
        let mut state = Self { net, quadratic, c, q: Vec::new(), all };
        state.refresh();
        state
    }

    fn n(&self) -> usize {
        self.c.len()
    }

    /// Computes the correlations anew.
    fn refresh(&mut self) {
        self.q = self.quadratic.correlations.to_vec();
        let support: Vec<usize> = self.all.iter().copied().filter(|&at| self.c[at] != 0.).collect();
        let weights: Vec<f64> = support.iter().map(|&at| -self.c[at]).collect();
        combine(self.quadratic.gram, self.n(), 0, &support, &weights, &mut self.q);
    }

    /// Changes a group and the correlations.
    fn change(&mut self, group: usize, values: &[f64]) {
        let range = self.net.group(group);
        let weights: Vec<f64> = self.c[range.clone()].iter().zip(values).map(|(old, new)| old - new).collect();
        self.c[range.clone()].copy_from_slice(values);
        combine(self.quadratic.gram, self.c.len(), 0, &self.all[range], &weights, &mut self.q);
    }

    fn penalty(&self, c: &[f64]) -> f64 {
        let net = self.net;
        let of = |group: usize| {
            let square = dot(&c[net.group(group)], &c[net.group(group)]);
            net.l1[group] * square.sqrt() + 0.5 * net.l2[group] * square
        };
        (0..net.num_groups()).map(of).sum()
    }

    fn scale(&self, objective: f64) -> f64 {
        objective.max(1e-4 * self.quadratic.square)
    }

    /// The objective and the duality gap. A dual point is θ = 2 s r: its value is 2s rᵀx − s²‖r‖² − Σ (2s‖D_gᵀr‖ − a_g)₊²/(2 b_g), and without a ridge 2s‖D_gᵀr‖ ≤ a_g must hold.
    fn gap(&self) -> (f64, f64) {
        let (net, square) = (self.net, self.quadratic.square);
        let bc = dot(self.quadratic.correlations, &self.c);
        let qc = dot(&self.q, &self.c);
        // ‖r‖² = ‖x‖² − 2bᵀc + cᵀGc, and Gc = b − q
        let rr = (square - bc - qc).max(0.);
        let rx = square - bc;
        let norms: Vec<f64> = (0..net.num_groups()).map(|group| 2. * norm(&self.q[net.group(group)])).collect();
        let mut largest = f64::INFINITY;
        for ((&size, &l1), &l2) in norms.iter().zip(&net.l1).zip(&net.l2) {
            if l2 == 0. && size > 0. {
                largest = f64::min(largest, l1 / size);
            }
        }
        let dual = |s: f64| {
            let excess = norms.iter().zip(&net.l1).zip(&net.l2).map(|((size, l1), l2)| {
                let beyond = (s * size - l1).max(0.);
                if *l2 > 0. { beyond * beyond / (2. * l2) } else { 0. }
            });
            2. * s * rx - s * s * rr - excess.sum::<f64>()
        };
        let best = if rr > 0. { rx / rr } else { 1. };
        let value = [1., best].into_iter().map(|s| dual(s.min(largest).max(0.))).fold(0., f64::max);
        let objective = rr + self.penalty(&self.c);
        (objective, (objective - value).max(0.))
    }

    fn is_done(&self) -> bool {
        let (objective, gap) = self.gap();
        gap <= self.net.tolerance * self.scale(objective)
    }

    /// Sweeps with exact updates, and Newton steps on the support. The number of sweeps, if they were enough.
    fn descend(&mut self) -> Option<usize> {
        let mut values = Vec::new();
        for sweep in 0..self.net.max_iterations {
            if self.is_done() {
                return Some(sweep);
            }
            for group in 0..self.net.num_groups() {
                if self.best_of_group(group, &mut values) {
                    self.change(group, &values);
                }
            }
            // the support is about right after a few sweeps; a step that does not lower the objective is not taken
            if sweep >= 1 {
                self.newton();
            }
            if sweep % 16 == 15 {
                self.refresh();
            }
        }
        self.is_done().then_some(self.net.max_iterations)
    }

    /// The minimum over one group; whether it differs from the present value.
    fn best_of_group(&self, group: usize, values: &mut Vec<f64>) -> bool {
        let range = self.net.group(group);
        let (l1, l2) = (self.net.l1[group], self.net.l2[group]);
        let (c, q) = (&self.c[range.clone()], &self.q[range.clone()]);
        let spectrum = self.quadratic.spectra[group];
        let size = range.len();
        values.clear();
        // in the basis of eigenvectors: 2 (q + G_gg c)
        let mut a: Vec<f64> = Vec::with_capacity(size);
        for k in 0..size {
            let vector = &spectrum.vectors[k * size..(k + 1) * size];
            a.push(2. * (dot(vector, q) + spectrum.values[k] * dot(vector, c)));
        }
        if norm(&a) <= l1 {
            values.resize(size, 0.);
            return c.iter().any(|&c| c != 0.);
        }
        let curvature = |k: usize| 2. * spectrum.values[k] + l2;
        let largest = (0..size).map(curvature).fold(0., f64::max);
        // where there is no curvature there is no correlation either, but for rounding
        let is_flat = |k: usize| curvature(k) <= 1e-14 * largest;
        let t =
            if l1 == 0. { 1. } else { secular(l1, (0..size).filter(|&k| !is_flat(k)).map(|k| (a[k], curvature(k)))) };
        values.resize(size, 0.);
        if t > 0. {
            for k in (0..size).filter(|&k| !is_flat(k)) {
                let weight = a[k] / (curvature(k) + l1 / t);
                let vector = &spectrum.vectors[k * size..(k + 1) * size];
                values.iter_mut().zip(vector).for_each(|(value, v)| *value += weight * v);
            }
        }
        true
    }

    /// A Newton step for the groups that are not 0, halved until the objective falls.
    fn newton(&mut self) -> bool {
        let net = self.net;
        let support: Vec<usize> =
            (0..net.num_groups()).filter(|&group| self.c[net.group(group)].iter().any(|&c| c != 0.)).collect();
        let places: Vec<usize> = support.iter().flat_map(|&group| net.group(group)).collect();
        let n = places.len();
        if n == 0 {
            return false;
        }
        let mut hessian = vec![0.; n * n];
        for (column, &from) in places.iter().enumerate() {
            let source = &self.quadratic.gram[from * self.c.len()..(from + 1) * self.c.len()];
            // the lower triangle
            for (row, &at) in places.iter().enumerate().skip(column) {
                hessian[column * n + row] = 2. * source[at];
            }
        }
        let mut step = vec![0.; n];
        let mut first = 0;
        for &group in &support {
            let c = &self.c[net.group(group)];
            let (size, l1, l2) = (norm(c), net.l1[group], net.l2[group]);
            for i in 0..c.len() {
                step[first + i] = 2. * self.q[net.group(group)][i] - (l1 / size + l2) * c[i];
                hessian[(first + i) * n + first + i] += l2 + l1 / size;
                for j in 0..=i {
                    hessian[(first + j) * n + first + i] -= l1 * c[i] * c[j] / (size * size * size);
                }
            }
            first += c.len();
        }
        let gradient: Vec<f64> = step.iter().map(|step| -step).collect();
        if !solve_positive(&mut hessian, &mut step) {
            return false;
        }
        // G·step at all places
        let mut moved = vec![0.; self.c.len()];
        combine(self.quadratic.gram, self.c.len(), 0, &places, &step, &mut moved);
        let curvature: f64 = places.iter().zip(&step).map(|(&at, step)| moved[at] * step).sum();
        let slope: f64 = places.iter().zip(&step).map(|(&at, step)| -2. * self.q[at] * step).sum();
        let predicted = dot(&gradient, &step);
        let before = self.penalty(&self.c);
        let mut candidate = self.c.clone();
        let mut t = 1.;
        for _ in 0..12 {
            for (&at, step) in places.iter().zip(&step) {
                candidate[at] = self.c[at] + t * step;
            }
            let change = t * slope + t * t * curvature + self.penalty(&candidate) - before;
            if change <= 1e-4 * t * predicted {
                self.c = candidate;
                self.q.iter_mut().zip(&moved).for_each(|(q, moved)| *q -= t * moved);
                return true;
            }
            t /= 2.;
        }
        false
    }

    /// FISTA. The number of steps, if they were enough.
    fn accelerate(&mut self) -> Option<usize> {
        let n = self.n();
        let mut limit = 2. * self.largest_eigenvalue();
        let mut previous = self.c.clone();
        let mut momentum = 1.;
        for step in 0..self.net.max_iterations {
            if self.is_done() {
                return Some(step);
            }
            let next = 0.5 * (1. + f64::sqrt(1. + 4. * momentum * momentum));
            let weight = (momentum - 1.) / next;
            let ahead: Vec<f64> = self.c.iter().zip(&previous).map(|(c, p)| c + weight * (c - p)).collect();
            let mut product = vec![0.; n];
            combine(self.quadratic.gram, n, 0, &self.all, &ahead, &mut product);
            let gradient: Vec<f64> =
                product.iter().zip(self.quadratic.correlations).map(|(product, b)| 2. * (product - b)).collect();
            let (candidate, delta) = loop {
                let candidate = self.proximal(&ahead, &gradient, limit);
                let delta: Vec<f64> = candidate.iter().zip(&ahead).map(|(new, old)| new - old).collect();
                let mut moved = vec![0.; n];
                combine(self.quadratic.gram, n, 0, &self.all, &delta, &mut moved);
                if dot(&delta, &moved) <= 0.5 * limit * dot(&delta, &delta) * (1. + 1e-12) {
                    break (candidate, delta);
                }
                limit *= 1.5;
            };
            previous = std::mem::replace(&mut self.c, candidate);
            // a step that goes against the momentum starts it anew
            let turns: f64 =
                delta.iter().zip(self.c.iter().zip(&previous)).map(|(delta, (new, old))| -delta * (new - old)).sum();
            momentum = if turns > 0. { 1. } else { next };
            if turns > 0. {
                previous.copy_from_slice(&self.c);
            }
            self.refresh();
        }
        self.is_done().then_some(self.net.max_iterations)
    }

    fn proximal(&self, at: &[f64], gradient: &[f64], limit: f64) -> Vec<f64> {
        let mut out: Vec<f64> = at.iter().zip(gradient).map(|(c, g)| c - g / limit).collect();
        for group in 0..self.net.num_groups() {
            let values = &mut out[self.net.group(group)];
            let size = norm(values);
            let kept = if size > 0. { (1. - self.net.l1[group] / limit / size).max(0.) } else { 0. };
            let scale = kept / (1. + self.net.l2[group] / limit);
            values.iter_mut().for_each(|value| *value *= scale);
        }
        out
    }

    /// An estimate from below, which the step's own check corrects.
    fn largest_eigenvalue(&self) -> f64 {
        let n = self.n();
        let mut v: Vec<f64> = (0..n).map(|at| 1. + (at % 7) as f64 / 7.).collect();
        let mut value = 0.;
        for _ in 0..30 {
            let size = norm(&v);
            if size == 0. {
                break;
            }
            v.iter_mut().for_each(|v| *v /= size);
            let mut next = vec![0.; n];
            combine(self.quadratic.gram, n, 0, &self.all, &v, &mut next);
            value = dot(&v, &next);
            v = next;
        }
        value.max(f64::MIN_POSITIVE)
    }
}

/// The t > 0 with Σ a_k² / (w_k t + l)² = 1, by Newton steps on 1/√Σ − 1, which is close to a line and is approached from the left.
fn secular(l: f64, terms: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let sums = |t: f64| {
        let (mut sum, mut slope) = (0., 0.);
        for (a, w) in terms.clone() {
            let scale = w * t + l;
            let part = a * a / (scale * scale);
            sum += part;
            slope -= 2. * part * w / scale;
        }
        (sum, slope)
    };
    let mut t = 0.;
    for _ in 0..100 {
        let (sum, slope) = sums(t);
        if sum <= 1. || slope >= 0. {
            break;
        }
        // g(t) = sum^(-1/2) − 1, g' = −slope sum^(-3/2) / 2
        let next = t + (1. / sum.sqrt() - 1.) / (0.5 * slope * sum.powf(-1.5));
        if next - t <= 1e-16 * t {
            break;
        }
        t = next;
    }
    t
}
