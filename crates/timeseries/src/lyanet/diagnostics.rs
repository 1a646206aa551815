//! Whether trajectories do what the theorem promises, and what follows from it.

use crate::{Error, Result};

/// What holds of the condition `dV/dt ≤ −κ V` over pairs of examples and states.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Violation {
    /// The fraction of pairs that violate it.
    pub fraction: f64,
    /// The mean of `max(0, dV/dt + κ V)`.
    pub mean: f64,
    /// The largest.
    pub worst: f64,
}

/// [`Violation`] of these values of `max(0, dV/dt + κ V)`.
pub fn violation(values: &[f64]) -> Violation {
    let count = values.len().max(1) as f64;
    Violation {
        fraction: values.iter().filter(|x| **x > 0.).count() as f64 / count,
        mean: values.iter().sum::<f64>() / count,
        worst: values.iter().copied().fold(0., f64::max),
    }
}

/// The rate at which a potential falls along a trajectory: minus the least-squares slope of `ln V` over time. `None` for fewer than two times, or where V is not positive.
pub fn empirical_rate(times: &[f64], potential: &[f64]) -> Option<f64> {
    let count = times.len().min(potential.len());
    if count < 2 || potential.iter().any(|v| v.is_nan() || *v <= 0.) {
        return None;
    }
    let mean = times[..count].iter().sum::<f64>() / count as f64;
    let logs: Vec<f64> = potential[..count].iter().map(|v| v.ln()).collect();
    let (mut above, mut below) = (0., 0.);
    for (t, log) in times.iter().zip(&logs) {
        above += (t - mean) * log;
        below += (t - mean) * (t - mean);
    }
    (below > 0.).then_some(-above / below)
}

/// Whether `V(t) ≤ e^{−κ (t − t₀)} V(t₀) + slack` at all times of a trajectory.
pub fn satisfies_bound(times: &[f64], potential: &[f64], rate: f64, slack: f64) -> bool {
    let (Some(&t0), Some(&v0)) = (times.first(), potential.first()) else { return true };
    times.iter().zip(potential).all(|(t, v)| *v <= (-rate * (t - t0)).exp() * v0 + slack)
}

/// The numbers that a bound on the potential of a perturbed input needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExponentialBound {
    /// The rate κ, at which the condition holds.
    pub rate: f64,
    /// `V(0)`: `ln n` for the cross-entropy at 0.
    pub start: f64,
    /// The Lipschitz constant of V in the state; √2 for the cross-entropy.
    pub potential_lipschitz: f64,
    /// The Lipschitz constant of the dynamics in the input.
    pub dynamics_lipschitz: f64,
}

impl ExponentialBound {
    /// Checks the numbers.
    ///
    /// # Errors
    ///
    /// When the rate is not positive, or another number is negative or not finite.
    pub fn new(rate: f64, start: f64, potential_lipschitz: f64, dynamics_lipschitz: f64) -> Result<Self> {
        let check = |what, value: f64, is_right: bool, expected| match is_right && value.is_finite() {
            true => Ok(()),
            false => Err(Error::value("lyanet::ExponentialBound", what, value, expected)),
        };
        check("the rate", rate, rate > 0., "positive")?;
        check("V(0)", start, start >= 0., "not negative")?;
        check("the potential's Lipschitz constant", potential_lipschitz, potential_lipschitz > 0., "positive")?;
        check("the dynamics' Lipschitz constant", dynamics_lipschitz, dynamics_lipschitz > 0., "positive")?;
        Ok(Self { rate, start, potential_lipschitz, dynamics_lipschitz })
    }

    /// `V(t) ≤ e^{−κt} V(0) + L_V L_x ε / κ · (1 − e^{−κt})` for an input that is `ε` away from one that satisfies the condition. Derived here from the comparison lemma; the paper states a theorem of this kind.
    pub fn at(&self, t: f64, epsilon: f64) -> f64 {
        let decay = (-self.rate * t).exp();
        decay * self.start + self.potential_lipschitz * self.dynamics_lipschitz * epsilon / self.rate * (1. - decay)
    }

    /// The largest ε with `V(1) ≤ ln 2`, where the right class has more than half of the probability; 0 if there is none.
    fn radius(&self) -> f64 {
        let decay = (-self.rate).exp();
        let left = std::f64::consts::LN_2 - decay * self.start;
        (self.rate * left / (self.potential_lipschitz * self.dynamics_lipschitz * (1. - decay))).max(0.)
    }
}

/// An L2 radius within which the prediction cannot change, if the condition holds at every state and the Lipschitz constant is a proven bound (for example a product of layers' norms). *Derived here, not published.*
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct CertifiedRadius(f64);

impl CertifiedRadius {
    /// From a bound whose constants are proven.
    pub fn from_proven(bound: &ExponentialBound) -> Self {
        Self(bound.radius())
    }

    /// The radius.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// The same number from a Lipschitz constant that is a largest value among samples: no certificate, since a larger one may exist. *Derived here, not published.*
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct EstimatedRadius(f64);

impl EstimatedRadius {
    /// From a bound whose constant was observed.
    pub fn from_observed(bound: &ExponentialBound) -> Self {
        Self(bound.radius())
    }

    /// The radius.
    pub fn get(self) -> f64 {
        self.0
    }
}
