//! The points as a least-squares problem, and its residuals with closed-form derivatives.

use super::form::{Coefficient, Form};
use super::formula::Law;
use super::levenberg::{Local, MAX};
use super::points::Point;
use super::saturation::Saturation;

/// The points with a weight above 0, in the variables of the law.
#[derive(Clone)]
pub(super) struct Samples {
    /// `log10 size`
    pub(super) x: Vec<f64>,
    /// `log10 loss`
    pub(super) y: Vec<f64>,
    pub(super) loss: Vec<f64>,
    pub(super) weight: Vec<f64>,
    /// The index of the point's number of experts in `experts`: grids repeat few numbers, and logarithms are expensive.
    pub(super) level: Vec<usize>,
    pub(super) experts: Vec<f64>,
}

impl Samples {
    pub(super) fn new(points: &[Point]) -> Self {
        let mut samples = Self {
            x: Vec::with_capacity(points.len()),
            y: Vec::with_capacity(points.len()),
            loss: Vec::with_capacity(points.len()),
            weight: Vec::with_capacity(points.len()),
            level: Vec::with_capacity(points.len()),
            experts: Vec::new(),
        };
        for point in points.iter().filter(|point| point.weight > 0.) {
            let known = samples.experts.iter().position(|&experts| experts == point.experts);
            samples.level.push(known.unwrap_or_else(|| {
                samples.experts.push(point.experts);
                samples.experts.len() - 1
            }));
            samples.x.push(point.size.log10());
            samples.y.push(point.loss.log10());
            samples.loss.push(point.loss);
            samples.weight.push(point.weight);
        }
        samples
    }

    pub(super) fn len(&self) -> usize {
        self.x.len()
    }

    /// The same points with other weights; 0 leaves a point out.
    pub(super) fn with_weights(&self, weights: &[f64]) -> Self {
        let mut samples = Self { experts: self.experts.clone(), ..Self::new(&[]) };
        for (at, &weight) in weights.iter().enumerate().filter(|&(_, &weight)| weight > 0.) {
            samples.x.push(self.x[at]);
            samples.y.push(self.y[at]);
            samples.loss.push(self.loss[at]);
            samples.weight.push(weight);
            samples.level.push(self.level[at]);
        }
        samples
    }

    pub(super) fn total_weight(&self) -> f64 {
        self.weight.iter().sum()
    }

    /// The range of `log10 Ê` over the points; NaN if `E_start ≥ E_max`.
    pub(super) fn spread(&self, saturation: Saturation) -> f64 {
        // with few points some of `experts` belong to none of them
        let levels = self.level.iter().map(|&level| self.experts[level]);
        let (fewest, most) = levels.fold((f64::INFINITY, 1.), |(low, high): (f64, f64), e| (low.min(e), high.max(e)));
        saturation.effective_experts(most).log10() - saturation.effective_experts(fewest).log10()
    }

    /// For each number of experts `z` and its derivatives with respect to the exponents of `E_start` and `E_max`.
    pub(super) fn levels(&self, saturation: Option<Saturation>) -> Vec<(f64, [f64; 2])> {
        let level = |&experts: &f64| match saturation {
            Some(saturation) => saturation.log10_with_gradient(experts),
            None => (experts.log10(), [0.; 2]),
        };
        self.experts.iter().map(level).collect()
    }
}

/// The factor of a coefficient in `log10 L`.
pub(super) fn regressor(term: Coefficient, x: f64, z: f64) -> f64 {
    match term {
        Coefficient::A => x,
        Coefficient::B => z,
        Coefficient::C => x * z,
        Coefficient::F => z * z,
        Coefficient::G => x * x,
        _ => 1.,
    }
}

/// The predicted `log10 L` of one point and its derivatives with respect to all coefficients, in the order of [`Coefficient::ALL`].
pub(super) fn log10_loss_with_gradient(law: &Law, x: f64, level: (f64, [f64; 2])) -> (f64, [f64; MAX]) {
    let (z, by_shape) = level;
    let power = law.a * x + law.b * z + law.c * x * z + law.d + law.f * z * z + law.g * x * x;
    let slope = law.b + law.c * x + 2. * law.f * z;
    let mut gradient = [x, z, x * z, 1., z * z, x * x, slope * by_shape[0], slope * by_shape[1], 0.];
    if law.irreducible == 0. {
        gradient[MAX - 1] = 1. / (10f64.powf(power) * std::f64::consts::LN_10);
        return (power, gradient);
    }
    let reducible = 10f64.powf(power);
    let loss = law.irreducible + reducible;
    gradient.iter_mut().for_each(|g| *g *= reducible / loss);
    gradient[MAX - 1] = 1. / (loss * std::f64::consts::LN_10);
    (loss.log10(), gradient)
}

/// Half the weighted sum of squared errors of `log10 L` (or Huber's loss of them), with its derivatives with respect to the coefficients `free`.
pub(super) fn local(samples: &Samples, law: &Law, free: &[Coefficient], huber_log10: Option<f64>) -> Option<Local> {
    let levels = samples.levels(law.saturation);
    let mut local = Local { cost: 0., gradient: [0.; MAX], curvature: [[0.; MAX]; MAX] };
    for at in 0..samples.len() {
        let (value, all) = log10_loss_with_gradient(law, samples.x[at], levels[samples.level[at]]);
        let error = value - samples.y[at];
        let mut weight = samples.weight[at];
        match huber_log10 {
            Some(limit) if error.abs() > limit => {
                local.cost += weight * limit * (error.abs() - limit / 2.);
                weight *= limit / error.abs();
            }
            _ => local.cost += weight * error * error / 2.,
        }
        for (i, &p) in free.iter().enumerate() {
            let by_p = all[p as usize];
            local.gradient[i] += weight * error * by_p;
            for (j, &q) in free.iter().enumerate().take(i + 1) {
                local.curvature[i][j] += weight * by_p * all[q as usize];
            }
        }
    }
    for i in 0..free.len() {
        for j in 0..i {
            local.curvature[j][i] = local.curvature[i][j];
        }
    }
    let is_finite = local.cost.is_finite() && local.gradient.iter().all(|g| g.is_finite());
    is_finite.then_some(local)
}

/// The coefficients of a form that are not fixed.
pub(super) fn free_coefficients(form: Form, fixed: &[(Coefficient, f64)], fits_irreducible: bool) -> Vec<Coefficient> {
    let shape: &[Coefficient] =
        if form == Form::Saturating { &[Coefficient::Log2Start, Coefficient::Log2Max] } else { &[] };
    let irreducible: &[Coefficient] = if fits_irreducible { &[Coefficient::Irreducible] } else { &[] };
    let all = form.terms().iter().chain(shape).chain(irreducible);
    all.copied().filter(|which| fixed.iter().all(|(name, _)| name != which)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    /// For every form, with and without an irreducible loss, squared and Huber.
    #[test]
    fn derivatives_are_those_of_the_formula() {
        let points: Vec<Point> = (0..12)
            .map(|i| {
                Point::new(10f64.powf(7. + 0.2 * f64::from(i)), f64::from(1 << (i % 5)), 2. + 0.1 * f64::from(i % 3))
            })
            .collect();
        let samples = Samples::new(&points);
        for form in Form::ALL {
            for (irreducible, huber) in [(0., None), (0.7, None), (0.7, Some(0.02))] {
                let mut law = Law::zero(form);
                for (which, value) in
                    Coefficient::ALL.into_iter().zip([-0.08, -0.1, 0.01, 1.1, 0.002, 0.004, 1.1, 7., 0.])
                {
                    if form.terms().contains(&which) || which >= Coefficient::Log2Start {
                        law.set(which, value);
                    }
                }
                law.irreducible = irreducible;
                let free = free_coefficients(form, &[], irreducible != 0.);
                let here = local(&samples, &law, &free, huber).unwrap();
                for (i, &which) in free.iter().enumerate() {
                    let cost = |h: f64| {
                        let mut law = law;
                        law.set(which, law.coefficient(which).unwrap() + h);
                        local(&samples, &law, &free, huber).unwrap().cost
                    };
                    let step = 1e-6;
                    let numeric = (cost(step) - cost(-step)) / (2. * step);
                    assert_relative_eq!(here.gradient[i], numeric, epsilon = 1e-8, max_relative = 1e-6);
                }
            }
        }
    }
}
