//! Huber's loss by variable projection: for fixed `E_start` and `E_max` it is a convex function of the other coefficients with one minimum, so the search
//! has two dimensions here too.

use super::formula::Law;
use super::levenberg::{Local, MAX};
use super::projection::{Decomposed, Dependent, Levels, Projection, TERMS, dot};
use super::saturation::Saturation;

/// The convex part of a robust fit, by Newton's method with an exact search along each step.
pub(super) struct Huber<'a> {
    projection: Projection<'a>,
    /// The largest error of `log10 L` that counts in full.
    delta: f64,
    /// Weighted errors at the last minimum, and scratch.
    errors: Vec<f64>,
    steps: Vec<f64>,
    /// The columns of the basis, row by row.
    rows: Vec<[f64; TERMS]>,
    count: usize,
    /// The last minimum, near which the next one often is.
    last: Option<Law>,
}

/// The step by which the gradient over the exponents is differenced.
const DIFFERENCE: f64 = 1e-5;

impl<'a> Huber<'a> {
    pub(super) fn new(projection: Projection<'a>, delta: f64) -> Self {
        let n = projection.samples().len();
        Self {
            projection,
            delta,
            errors: vec![0.; n],
            steps: vec![0.; n],
            rows: vec![[0.; TERMS]; n],
            count: 0,
            last: None,
        }
    }

    /// The best law for a given saturation, and its cost.
    pub(super) fn solve(&mut self, saturation: Option<Saturation>) -> Result<(Law, f64), Dependent> {
        let (law, cost, _) = self.minimum(saturation)?;
        Ok((law, cost))
    }

    fn minimum(&mut self, saturation: Option<Saturation>) -> Result<(Law, f64, Levels), Dependent> {
        let (_, _, Decomposed { levels, right }) = self.projection.decompose(saturation)?;
        self.errors.copy_from_slice(self.projection.residual());
        self.count = 0;
        for column in self.projection.basis() {
            self.rows.iter_mut().zip(column).for_each(|(row, &value)| row[self.count] = value);
            self.count += 1;
        }
        let mut solution = right;
        if let Some(last) = self.last {
            // from the last minimum instead of least squares where it is better
            let squared = self.cost();
            let known = self.projection.right_of(&last);
            let apart: [f64; TERMS] = std::array::from_fn(|k| known[k] - right[k]);
            self.move_by(&apart, 1.);
            if self.cost() < squared {
                solution = known;
            } else {
                self.errors.copy_from_slice(self.projection.residual());
            }
        }
        let moved = self.newton();
        solution.iter_mut().zip(moved).for_each(|(value, moved)| *value += moved);
        let law = self.projection.law_of(saturation, &solution);
        self.last = Some(law);
        Ok((law, self.cost(), levels))
    }

    fn move_by(&mut self, step: &[f64; TERMS], length: f64) {
        let n = self.count;
        for (error, row) in self.errors.iter_mut().zip(&self.rows) {
            *error -= length * (0..n).map(|k| step[k] * row[k]).sum::<f64>();
        }
    }

    fn cost(&self) -> f64 {
        let costs = self.errors.iter().zip(self.projection.root_weights()).map(|(error, root)| {
            let (size, limit) = (error.abs(), self.delta * root);
            if size <= limit { size * size / 2. } else { limit * (size - limit / 2.) }
        });
        costs.sum()
    }

    /// Moves `errors` to the minimum over the span of the basis; the coefficients by which it has moved.
    fn newton(&mut self) -> [f64; TERMS] {
        let mut moved = [0.; TERMS];
        let n = self.count;
        for _ in 0..200 {
            // gradient, and two curvatures: the true one, of the errors within the limit, and one that no error makes vanish
            let (mut gradient, mut true_curvature, mut upper) =
                ([0.; TERMS], [[0.; TERMS]; TERMS], [[0.; TERMS]; TERMS]);
            for ((error, root), row) in self.errors.iter().zip(self.projection.root_weights()).zip(&self.rows) {
                let limit = self.delta * root;
                let is_within = error.abs() <= limit;
                let (pull, weight) =
                    if is_within { (*error, 1.) } else { (limit.copysign(*error), limit / error.abs()) };
                for i in 0..n {
                    gradient[i] += pull * row[i];
                    for j in 0..=i {
                        let product = row[i] * row[j];
                        upper[i][j] += weight * product;
                        if is_within {
                            true_curvature[i][j] += product;
                        }
                    }
                }
            }
            let step = solved(&true_curvature, &gradient, n, 1e-6).or_else(|| solved(&upper, &gradient, n, 0.));
            let Some(step) = step else { break };
            let promised: f64 = step.iter().zip(&gradient).map(|(s, g)| s * g).sum();
            let size: f64 = self.errors.iter().map(|e| e * e).sum();
            if promised.is_nan() || promised <= 1e-16 * self.cost() || promised <= 1e-30 * size {
                break;
            }
            for (along, row) in self.steps.iter_mut().zip(&self.rows) {
                *along = (0..n).map(|k| step[k] * row[k]).sum();
            }
            let length = self.best_length();
            if length <= 0. {
                break;
            }
            self.move_by(&step, length);
            moved.iter_mut().zip(step).for_each(|(moved, step)| *moved += length * step);
        }
        moved
    }

    /// The length at which the cost along `steps` is smallest. Its derivative rises, piece by piece linearly.
    fn best_length(&self) -> f64 {
        let slope = |length: f64| -> f64 {
            let parts = self.errors.iter().zip(&self.steps).zip(self.projection.root_weights());
            parts
                .map(|((error, along), root)| {
                    -along * (error - length * along).clamp(-self.delta * root, self.delta * root)
                })
                .sum()
        };
        let (mut low, mut high) = (0., 1.);
        let (mut at_low, mut at_high) = (slope(0.), slope(1.));
        let scale = at_low.abs();
        if at_high.abs() <= 1e-12 * scale {
            return 1.;
        }
        for _ in 0..60 {
            if at_high >= 0. {
                break;
            }
            (low, at_low) = (high, at_high);
            high *= 2.;
            at_high = slope(high);
        }
        // the false position in a shrinking bracket, halved where it is slow
        for round in 0..60 {
            let share = if round % 3 == 2 { 0.5 } else { at_low / (at_low - at_high) };
            let middle = low + share.clamp(0.01, 0.99) * (high - low);
            let at_middle = slope(middle);
            if at_middle.abs() <= 1e-10 * scale {
                return middle;
            }
            if at_middle < 0. { (low, at_low) = (middle, at_middle) } else { (high, at_high) = (middle, at_middle) }
        }
        low
    }

    /// The cost at the minimum for a saturation and its gradient with respect to the exponents.
    fn gradient(&mut self, saturation: Saturation) -> Option<(f64, [f64; 2])> {
        let (law, cost, levels) = self.minimum(Some(saturation)).ok()?;
        let samples = self.projection.samples();
        let mut gradient = [0.; 2];
        for (at, (error, root)) in self.errors.iter().zip(self.projection.root_weights()).enumerate() {
            let (x, (z, by_shape)) = (samples.x[at], levels[samples.level[at]]);
            let limit = self.delta * root;
            let pull = -error.clamp(-limit, limit) * root * (law.b + law.c * x + 2. * law.f * z);
            gradient[0] += pull * by_shape[0];
            gradient[1] += pull * by_shape[1];
        }
        (cost.is_finite() && gradient.iter().all(|g| g.is_finite())).then_some((cost, gradient))
    }

    /// The cost as a function of the saturation, with derivatives with respect to the exponents of `E_start` (0) and `E_max` (1) in `free`. The curvature
    /// is that of the cost, from differences of its gradient, made positive.
    ///
    /// None where the cost is above `limit`, before anything is differenced.
    pub(super) fn local(&mut self, saturation: Saturation, free: &[usize], limit: f64) -> Option<Local> {
        let (cost, gradient) = self.gradient(saturation)?;
        if cost > limit {
            return None;
        }
        let mut local = Local { cost, gradient: [0.; MAX], curvature: [[0.; MAX]; MAX] };
        let mut matrix = [[0.; 2]; 2];
        for (i, &p) in free.iter().enumerate() {
            local.gradient[i] = gradient[p];
            let moved = |step: f64| match p {
                0 => Saturation { log2_start: saturation.log2_start + step, ..saturation },
                _ => Saturation { log2_max: saturation.log2_max + step, ..saturation },
            };
            // away from the line on which both are equal
            let step = if p == 0 { -DIFFERENCE } else { DIFFERENCE };
            let (_, there) = self.gradient(moved(step))?;
            for (j, &q) in free.iter().enumerate() {
                matrix[i][j] = (there[q] - gradient[q]) / step;
            }
        }
        let floor = 1e-6 * cost;
        if free.len() == 2 {
            let positive = made_positive([matrix[0][0], (matrix[0][1] + matrix[1][0]) / 2., matrix[1][1]], floor);
            (local.curvature[0][0], local.curvature[1][1]) = (positive[0], positive[2]);
            (local.curvature[0][1], local.curvature[1][0]) = (positive[1], positive[1]);
        } else {
            local.curvature[0][0] = matrix[0][0].abs().max(floor);
        }
        Some(local)
    }
}

/// The symmetric matrix `[[a, b], [b, c]]` with its eigenvalues replaced by their sizes, and at least `floor`.
fn made_positive([a, b, c]: [f64; 3], floor: f64) -> [f64; 3] {
    let (mean, half) = ((a + c) / 2., (a - c) / 2.);
    let radius = half.hypot(b);
    let (first, second) = ((mean + radius).abs().max(floor), (mean - radius).abs().max(floor));
    if radius == 0. {
        return [first, 0., first];
    }
    let (cosine, sine) = (half / radius, b / radius);
    let (middle, spread) = ((first + second) / 2., (first - second) / 2.);
    [middle + spread * cosine, spread * sine, middle - spread * cosine]
}

/// `H⁻¹ g` by Cholesky's method for the lower half of `H + shift`; `None` where `H` alone is nearly singular.
fn solved(matrix: &[[f64; TERMS]; TERMS], right: &[f64; TERMS], n: usize, shift: f64) -> Option<[f64; TERMS]> {
    let mut lower = *matrix;
    let mut solution = *right;
    for i in 0..n {
        lower[i][i] += shift;
        for j in 0..=i {
            let value = lower[i][j] - dot(&lower[i][..j], &lower[j][..j]);
            if i == j {
                let least = if shift > 0. { 1e-4 } else { 0. };
                if value.is_nan() || value <= least {
                    return None;
                }
                lower[i][i] = value.sqrt();
            } else {
                lower[i][j] = value / lower[j][j];
            }
        }
        solution[i] = (solution[i] - dot(&lower[i][..i], &solution[..i])) / lower[i][i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| lower[k][i] * solution[k]).sum();
        solution[i] = (solution[i] - known) / lower[i][i];
    }
    solution.iter().all(|s| s.is_finite()).then_some(solution)
}
