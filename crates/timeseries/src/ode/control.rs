//! How long steps are.

use crate::{Error, Result};
use std::fmt;
use std::sync::Arc;

/// How the length of a step is chosen.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Control {
    /// Steps of this length, on the grid `t₀ + i · step`; the last one ends the interval. Positive also backwards in time.
    Fixed(f64),
    /// Steps whose estimated error is within a tolerance.
    Adaptive(Adaptive),
}

impl Default for Control {
    fn default() -> Self {
        Self::Adaptive(Adaptive::default())
    }
}

impl Control {
    /// Adaptive steps with one tolerance for both parts: the error may be `tolerance · (1 + max(|y₀|, |y₁|))`.
    pub fn tolerance(tolerance: f64) -> Self {
        Self::Adaptive(Adaptive::new(tolerance, tolerance))
    }
}

/// What the estimated error is compared with: `atol + rtol · max(|y₀|, |y₁|)`, element by element.
#[derive(Debug, Clone, PartialEq)]
pub enum Tolerance {
    /// One `atol` for all.
    Scalar(f64),
    /// One for each component of a state: as many as a row of the batch has, or as the whole state.
    PerComponent(Vec<f64>),
}

impl From<f64> for Tolerance {
    fn from(tolerance: f64) -> Self {
        Self::Scalar(tolerance)
    }
}

/// A norm of the ratios of all errors to their tolerances.
pub type RatioNorm = Arc<dyn Fn(&[f64]) -> f64 + Send + Sync>;

/// What becomes one number `E` of the errors' ratios to their tolerances; a step is accepted if `E ≤ 1`.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum ErrorNorm {
    /// The root mean square over the whole batch; of a tuple of states the largest of the parts. All samples share their steps, and a sample's result depends on what is batched with it.
    #[default]
    Batch,
    /// Each sample is solved by itself, with its own steps, and done when it is done; its result does not depend on the batch.
    PerSample,
    /// One's own, of all ratios. Not for gradients by the adjoint.
    Given(RatioNorm),
}

impl fmt::Debug for ErrorNorm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Batch => "Batch",
            Self::PerSample => "PerSample",
            Self::Given(_) => "Given",
        })
    }
}

/// The exponents of a controller: with the method's order `k` (that of the estimate, plus 1), the next step is longer by `safety · Eₙ^(−(P+I+D)/k) · Eₙ₋₁^((P+2D)/k) · Eₙ₋₂^(−D/k)`. The default is
/// I = 1 alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pid {
    /// P, 0.
    pub proportional: f64,
    /// I, 1.
    pub integral: f64,
    /// D, 0.
    pub derivative: f64,
}

impl Default for Pid {
    fn default() -> Self {
        Self { proportional: 0., integral: 1., derivative: 0. }
    }
}

impl Pid {
    /// P = 0.4, I = 0.3: smoother steps, `Eₙ^(−0.7/k) Eₙ₋₁^(0.4/k)`.
    pub fn pi() -> Self {
        Self { proportional: 0.4, integral: 0.3, derivative: 0. }
    }
}

/// Settings of adaptive steps.
#[derive(Debug, Clone)]
pub struct Adaptive {
    /// Relative tolerance, 1e-6. For states in f32 nothing below about 1e-6 is reached.
    pub rtol: f64,
    /// Absolute tolerance, 1e-6.
    pub atol: Tolerance,
    /// The first step; by default Hairer's rule (*Solving ODEs I*, II.4), which costs two evaluations, one of them needed anyway.
    pub first_step: Option<f64>,
    /// The smallest step. By default only what time can represent: 16 units in the last place of `t`.
    pub min_step: f64,
    /// The largest step, without limit by default. What is shorter than a step and lies between two of them may be missed: a pulse, for example. Set this, or name the times as jumps.
    pub max_step: f64,
    /// Factor of the step that would just be accepted, 0.9.
    pub safety: f64,
    /// The smallest factor between steps, 0.2.
    pub min_factor: f64,
    /// The largest factor, 10.
    pub max_factor: f64,
    /// The smallest factor after an accepted step, 1 as in torchdiffeq; 0.2 is diffrax's.
    pub min_factor_accepted: f64,
    /// The controller.
    pub pid: Pid,
    /// The error's norm.
    pub norm: ErrorNorm,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self::new(1e-6, 1e-6)
    }
}

impl Adaptive {
    /// With these tolerances.
    pub fn new(rtol: f64, atol: impl Into<Tolerance>) -> Self {
        Self {
            rtol,
            atol: atol.into(),
            first_step: None,
            min_step: 0.,
            max_step: f64::INFINITY,
            safety: 0.9,
            min_factor: 0.2,
            max_factor: 10.,
            min_factor_accepted: 1.,
            pid: Pid::default(),
            norm: ErrorNorm::default(),
        }
    }

    /// Each sample with its own steps: [`ErrorNorm::PerSample`].
    pub fn per_sample(mut self) -> Self {
        self.norm = ErrorNorm::PerSample;
        self
    }

    /// With another controller.
    pub fn pid(mut self, pid: Pid) -> Self {
        self.pid = pid;
        self
    }

    /// With this first step.
    pub fn first_step(mut self, step: f64) -> Self {
        self.first_step = Some(step);
        self
    }

    /// No step longer than this.
    pub fn max_step(mut self, step: f64) -> Self {
        self.max_step = step;
        self
    }

    /// The factor of the step after an error `e`, with those of the two accepted steps before.
    pub(crate) fn factor(&self, k: f64, e: f64, before: [f64; 2], is_accepted: bool) -> f64 {
        if e == 0. {
            return self.max_factor;
        }
        let Pid { proportional: p, integral: i, derivative: d } = self.pid;
        // half as long as a power
        let mut factor = self.safety * (-(p + i + d) / k * e.ln()).exp();
        if p != 0. || d != 0. {
            factor *= before[0].powf((p + 2. * d) / k) * before[1].powf(-d / k);
        }
        match is_accepted {
            true => factor.clamp(self.min_factor_accepted.min(self.max_factor), self.max_factor),
            // after a rejection a step may not grow; what is not a number shrinks by the most
            false if factor.is_finite() => factor.clamp(self.min_factor, 0.9_f64.max(self.min_factor)),
            false => self.min_factor,
        }
    }
}

impl Control {
    pub(crate) fn check(&self) -> Result<()> {
        const OPERATION: &str = "ode::Control";
        let check = |what: &str, value: f64, expected: &str, is_right: bool| match is_right {
            true => Ok(()),
            false => Err(Error::config(OPERATION, what, value, expected)),
        };
        let positive =
            |what, value: f64| check(what, value, "a positive finite number", value > 0. && value.is_finite());
        let adaptive = match self {
            Self::Fixed(step) => return positive("step", *step),
            Self::Adaptive(adaptive) => adaptive,
        };
        let tolerances: &[f64] = match &adaptive.atol {
            Tolerance::Scalar(atol) => std::slice::from_ref(atol),
            Tolerance::PerComponent(atol) => atol,
        };
        check(
            "rtol",
            adaptive.rtol,
            "a finite number, not negative",
            adaptive.rtol >= 0. && adaptive.rtol.is_finite(),
        )?;
        for &atol in tolerances {
            check("atol", atol, "a finite number, not negative", atol >= 0. && atol.is_finite())?;
            check("rtol and atol", atol, "not both 0", atol > 0. || adaptive.rtol > 0.)?;
        }
        if let Some(step) = adaptive.first_step {
            positive("first_step", step)?;
        }
        check(
            "min_step",
            adaptive.min_step,
            "a finite number, not negative",
            adaptive.min_step >= 0. && adaptive.min_step.is_finite(),
        )?;
        check(
            "max_step",
            adaptive.max_step,
            "positive, at least min_step",
            adaptive.max_step > 0. && adaptive.max_step >= adaptive.min_step,
        )?;
        check("safety", adaptive.safety, "in (0, 1]", adaptive.safety > 0. && adaptive.safety <= 1.)?;
        check("min_factor", adaptive.min_factor, "in (0, 1)", adaptive.min_factor > 0. && adaptive.min_factor < 1.)?;
        check(
            "max_factor",
            adaptive.max_factor,
            "at least 1, finite",
            adaptive.max_factor >= 1. && adaptive.max_factor.is_finite(),
        )?;
        check(
            "min_factor_accepted",
            adaptive.min_factor_accepted,
            "in (0, 1]",
            adaptive.min_factor_accepted > 0. && adaptive.min_factor_accepted <= 1.,
        )?;
        let Pid { proportional, integral, derivative } = adaptive.pid;
        let sum = proportional + integral + derivative;
        check("the sum of P, I and D", sum, "a positive finite number", sum > 0. && sum.is_finite())?;
        check("P, I or D", sum, "not negative", proportional >= 0. && integral >= 0. && derivative >= 0.)
    }

    /// Whether samples have their own steps.
    pub(crate) fn is_per_sample(&self) -> bool {
        matches!(self, Self::Adaptive(Adaptive { norm: ErrorNorm::PerSample, .. }))
    }
}
