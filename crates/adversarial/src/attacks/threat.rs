//! What an attacker may change.

use super::projection::{onto_l1_ball, onto_l1_ball_in_box};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the size of a perturbation is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Norm {
    /// The sum of absolute values.
    L1,
    /// The root of the sum of squares.
    L2,
    /// The largest absolute value.
    Linf,
}

impl Norm {
    /// The norm of a vector.
    pub fn of(self, v: &[f64]) -> f64 {
        match self {
            Self::L1 => v.iter().map(|v| v.abs()).sum(),
            Self::L2 => v.iter().map(|v| v * v).sum::<f64>().sqrt(),
            Self::Linf => v.iter().fold(0., |largest, v| v.abs().max(largest)),
        }
    }

    /// `l_1`, `l_2`, `l_inf`.
    pub fn name(self) -> &'static str {
        match self {
            Self::L1 => "l_1",
            Self::L2 => "l_2",
            Self::Linf => "l_inf",
        }
    }
}

/// The perturbations that count: of norm at most `epsilon`, and such that every element of the input stays between `bounds`.
///
/// Budgets are exact: what an attack returns, evaluated in f64 without a tolerance, keeps both. Attacks see elements in the bounds alone; a normalisation belongs into the model
/// ([`Normalized`](super::Normalized)).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ThreatModel {
    /// How the size of a perturbation is measured.
    pub norm: Norm,
    /// The largest size, in units of the input.
    pub epsilon: f64,
    /// The least and the largest value of an element.
    pub bounds: (f64, f64),
}

impl ThreatModel {
    /// Elements between 0 and 1.
    pub fn new(norm: Norm, epsilon: f64) -> Self {
        Self { norm, epsilon, bounds: (0., 1.) }
    }

    /// Perturbations whose largest element is at most `epsilon`.
    pub fn linf(epsilon: f64) -> Self {
        Self::new(Norm::Linf, epsilon)
    }

    /// Perturbations of Euclidean norm at most `epsilon`.
    pub fn l2(epsilon: f64) -> Self {
        Self::new(Norm::L2, epsilon)
    }

    /// Perturbations whose absolute values add up to at most `epsilon`.
    pub fn l1(epsilon: f64) -> Self {
        Self::new(Norm::L1, epsilon)
    }

    /// The same with other bounds of an element.
    pub fn bounds(self, least: f64, largest: f64) -> Self {
        Self { bounds: (least, largest), ..self }
    }

    /// The same with another budget.
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let Self { epsilon, bounds: (least, largest), .. } = *self;
        if !(epsilon >= 0. && epsilon.is_finite()) {
            return Err(Error::value("ThreatModel", "epsilon", epsilon, "0 or more"));
        }
        if !(least < largest && least.is_finite() && largest.is_finite()) {
            let reason = format!("are {least} and {largest}, expected two numbers of which the first is smaller");
            return Err(Error::config("ThreatModel", "bounds", reason));
        }
        Ok(())
    }

    /// Whether a perturbed input keeps budget and bounds, without a tolerance.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn allows(&self, clean: &[f64], perturbed: &[f64]) -> bool {
        assert_eq!(clean.len(), perturbed.len(), "inputs of different lengths");
        let delta: Vec<f64> = clean.iter().zip(perturbed).map(|(x, y)| y - x).collect();
        self.norm.of(&delta) <= self.epsilon && perturbed.iter().all(|y| (self.bounds.0..=self.bounds.1).contains(y))
    }

    /// The budget with which every image of so many elements may become every other one.
    pub(crate) fn largest(&self, elements: usize) -> f64 {
        let (width, elements) = (self.bounds.1 - self.bounds.0, elements as f64);
        match self.norm {
            Norm::Linf => width,
            Norm::L2 => width * elements.sqrt(),
            Norm::L1 => width * elements,
        }
    }

    pub(crate) fn clip(&self, value: f64) -> f64 {
        value.clamp(self.bounds.0, self.bounds.1)
    }

    /// Puts `point` into the box and a ball around `clean`: the nearest point for l_inf and l_1, for l_2 the two one after the other, scaled first.
    pub(crate) fn project(&self, clean: &[f64], radius: f64, point: &mut [f64]) {
        match self.norm {
            Norm::Linf => {
                for (y, &x) in point.iter_mut().zip(clean) {
                    *y = self.clip(y.clamp(x - radius, x + radius));
                }
            }
            Norm::L2 => {
                let size = point.iter().zip(clean).map(|(y, x)| (y - x) * (y - x)).sum::<f64>().sqrt();
                let scale = size.min(radius) / (size + 1e-12);
                for (y, &x) in point.iter_mut().zip(clean) {
                    *y = self.clip(x + (*y - x) * scale);
                }
            }
            Norm::L1 => {
                let mut delta: Vec<f64> = point.iter().zip(clean).map(|(y, x)| y - x).collect();
                onto_l1_ball_in_box(&mut delta, clean, self.bounds, radius);
                point.iter_mut().zip(clean).zip(delta).for_each(|((y, x), delta)| *y = self.clip(x + delta));
            }
        }
    }

    /// A step of projected gradient ascent from `clean + delta`, as the specification of *Reverse engineering l_p attacks* has it: l_inf and l_1 are cut to the ball first, l_2 to the box first unless `ball_first`.
    pub(crate) fn ascend(
        &self,
        clean: &[f64],
        delta: &mut [f64],
        gradient: &[f64],
        step: f64,
        (l1_sparsity, ball_first): (f64, bool),
    ) {
        let into_box = |delta: &mut [f64]| {
            delta.iter_mut().zip(clean).for_each(|(delta, &x)| *delta = self.clip(x + *delta) - x);
        };
        match self.norm {
            Norm::Linf => {
                for (delta, &g) in delta.iter_mut().zip(gradient) {
                    *delta = (*delta + step * sign(g)).clamp(-self.epsilon, self.epsilon);
                }
                into_box(delta);
            }
            Norm::L2 => {
                let scale = step / Norm::L2.of(gradient).max(1e-6);
                delta.iter_mut().zip(gradient).for_each(|(delta, g)| *delta += scale * g);
                if !ball_first {
                    into_box(delta);
                }
                let size = Norm::L2.of(delta);
                if size > self.epsilon {
                    delta.iter_mut().for_each(|delta| *delta *= self.epsilon / size);
                }
                if ball_first {
                    into_box(delta);
                }
            }
            Norm::L1 => {
                let kept = ((1. - l1_sparsity) * delta.len() as f64).round().max(1.) as usize;
                sparse_step(delta, gradient, step, kept);
                onto_l1_ball(delta, self.epsilon);
                into_box(delta);
            }
        }
    }
}

/// Adds `step · sign(g) / count` at the `kept` largest elements of the gradient, the first ones where they tie.
pub(crate) fn sparse_step(point: &mut [f64], gradient: &[f64], step: f64, kept: usize) {
    let mut order: Vec<usize> = (0..gradient.len()).filter(|&at| gradient[at] != 0.).collect();
    let kept = kept.min(order.len());
    if kept == 0 {
        return;
    }
    let larger_first = |&a: &usize, &b: &usize| gradient[b].abs().total_cmp(&gradient[a].abs()).then(a.cmp(&b));
    order.select_nth_unstable_by(kept - 1, larger_first);
    for &at in &order[..kept] {
        point[at] += step * sign(gradient[at]) / kept as f64;
    }
}

/// -1, 0 or 1.
pub(crate) fn sign(value: f64) -> f64 {
    if value > 0. {
        1.
    } else if value < 0. {
        -1.
    } else {
        0.
    }
}
