//! The settings of a fit.

use super::form::{Coefficient, Form};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The objective, a function of the errors of `log10 L`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Squared errors, as in the paper.
    Squared,
    /// Huber's loss: quadratic up to `delta`, linear beyond, which limits the influence of outliers.
    Huber {
        /// In units of the natural logarithm: 0.01 is about 1 % of the loss. At least 1e-9.
        delta: f64,
    },
}

/// The starting points of the search for `E_start` and `E_max`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Starts {
    /// The local minima of a grid, at most `keep` of them.
    Grid {
        /// Grid points along `log2 E_start`.
        start: usize,
        /// Grid points along `log2 E_max`.
        max: usize,
        /// The largest number of local minima to start from.
        keep: usize,
    },
    /// Pairs `[log2 E_start, log2 E_max]`; each is clamped to the bounds.
    Given(Vec<[f64; 2]>),
}

/// The largest number of points of a grid of starts.
const MAX_GRID: usize = 1_000_000;

/// Errors below it are rounding.
const LEAST_DELTA: f64 = 1e-9;

/// The settings of [`fit()`](super::fit()).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitConfig {
    /// The objective. Default: squared errors.
    pub loss: Loss,
    /// The starting points. Default: up to 6 local minima of a 12 × 14 grid.
    pub starts: Starts,
    /// Coefficients held at a given value. Default: none.
    pub fixed: Vec<(Coefficient, f64)>,
    /// Ranges of coefficients. Default: `log2 E_start` and `log2 E_max` in `[0, 20]`. `E_start` stays below `E_max` whatever the bounds are.
    pub bounds: Vec<(Coefficient, (f64, f64))>,
    /// Whether to fit an irreducible loss as well. Default: no, as in the paper.
    pub fits_irreducible: bool,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            loss: Loss::Squared,
            starts: Starts::Grid { start: 12, max: 14, keep: 6 },
            fixed: Vec::new(),
            bounds: vec![(Coefficient::Log2Start, (0., 20.)), (Coefficient::Log2Max, (0., 20.))],
            fits_irreducible: false,
        }
    }
}

impl FitConfig {
    /// For points in compute `F` and parameter utilisation `B`, where the start of the transform may be below 1: both exponents are in `[−10, 20]`.
    pub fn flops_and_utilisation() -> Self {
        let bounds = vec![(Coefficient::Log2Start, (-10., 20.)), (Coefficient::Log2Max, (-10., 20.))];
        Self { bounds, ..Self::default() }
    }

    pub(super) fn bounds_of(&self, which: Coefficient) -> (f64, f64) {
        let unbounded = match which {
            Coefficient::Irreducible => (0., f64::INFINITY),
            Coefficient::Log2Start | Coefficient::Log2Max => (-20., 40.),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        };
        self.bounds.iter().rev().find(|(name, _)| *name == which).map_or(unbounded, |(_, range)| *range)
    }

    pub(super) fn fixed_value(&self, which: Coefficient) -> Option<f64> {
        self.fixed.iter().find(|(name, _)| *name == which).map(|(_, value)| *value)
    }

    pub(super) fn check(&self, form: Form) -> Result<()> {
        if let Loss::Huber { delta } = self.loss
            && !(delta.is_finite() && delta >= LEAST_DELTA)
        {
            let reason = format!("{delta} is not a finite number of at least {LEAST_DELTA:e}");
            return Err(Error::config("delta of Huber's loss", reason));
        }
        let is_of_form = |which: Coefficient| {
            form.terms().contains(&which)
                || which == Coefficient::Irreducible
                || (form == Form::Saturating && which >= Coefficient::Log2Start)
        };
        for &(which, value) in &self.fixed {
            if !is_of_form(which) {
                return Err(Error::config(
                    "fixed coefficient",
                    format!("the form {form:?} has no coefficient {which:?}"),
                ));
            }
            if !value.is_finite() || (which == Coefficient::Irreducible && value < 0.) {
                return Err(Error::config("fixed coefficient", format!("{which:?} cannot be {value}")));
            }
        }
        for &(which, (low, high)) in &self.bounds {
            if low.is_nan() || high.is_nan() || low > high {
                return Err(Error::config("bounds", format!("the range [{low}, {high}] of {which:?} is empty")));
            }
            if which == Coefficient::Irreducible && high < 0. {
                return Err(Error::config("bounds", format!("an irreducible loss cannot be in [{low}, {high}]")));
            }
        }
        if let Starts::Grid { start, max, keep } = self.starts
            && (start == 0 || max == 0 || keep == 0)
        {
            return Err(Error::config("starts", "the grid needs at least one point per axis and one minimum"));
        }
        if let Starts::Grid { start, max, .. } = self.starts
            && start.checked_mul(max).is_none_or(|points| points > MAX_GRID)
        {
            return Err(Error::config("starts", format!("a grid of {start} × {max} points has more than {MAX_GRID}")));
        }
        match &self.starts {
            Starts::Given(starts) if starts.is_empty() => Err(Error::config("starts", "the list is empty")),
            Starts::Given(starts) if starts.iter().flatten().any(|s| !s.is_finite()) => {
                Err(Error::config("starts", "a value is not finite"))
            }
            _ => Ok(()),
        }
    }

    /// Whether `E_start` and `E_max` alone need a search: given them, the other coefficients solve a least-squares problem, or a convex one.
    pub(super) fn is_projected(&self, form: Form) -> bool {
        let is_bounded = |&term: &Coefficient| self.bounds.iter().any(|(name, _)| *name == term);
        let irreducible = self.fixed_value(Coefficient::Irreducible).unwrap_or(0.);
        !self.fits_irreducible && irreducible == 0. && !form.terms().iter().any(is_bounded)
    }
}
