//! The law of the loss of routed language models: its functional forms, predictions and consequences; see [`fit()`] for the fit.
//!
//! A point is a size (the dense parameter count `N`, or the compute `F`), a number of experts `E` (or the parameter utilisation `B`) and a loss
//! in nats per token. With `x = log10 size` and `z = log10 E`, or `log10 Ê` for the saturating form, every form is a case of
//!
//! ```text
//! log10 L = a x + b z + c x z + d + f z² + g x²
//! ```
//!
//! | form | terms | from |
//! |---|---|---|
//! | [`Form::Dense`] | a, d | the usual power law |
//! | [`Form::Separable`] | a, b, d | two power laws |
//! | [`Form::Bilinear`] | a, b, c, d | unbounded in E |
//! | [`Form::QuadraticInExperts`] | a, b, c, d, f | |
//! | [`Form::Quadratic`] | a, b, c, d, f, g | best inside the data, meaningless outside |
//! | [`Form::Saturating`] | a, b, c, d, E_start, E_max | the paper's law (Eq. 1) |
//!
//! The same forms in `(F, B)` cover models with other numbers of experts per token and of routed layers, which act through `F` and `B` only.

mod bootstrap;
mod fit;
mod levenberg;
mod points;
mod projection;
mod residuals;
mod saturation;

pub use bootstrap::{Bootstrap, Comparison, Interval, LeaveOneOut, bootstrap, compare, leave_one_out};
pub use fit::{Analysis, Fit, FitOptions, Loss, Starts, analyse, fit};
pub use points::{Columns, Point, Prediction, Row, Table, predictions, write_predictions};
pub use saturation::Saturation;

use serde::{Deserialize, Serialize};

/// The shape of a law; see the table in [the module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// `a x + d`.
    Dense,
    /// `a x + b z + d`.
    Separable,
    /// `a x + b z + c x z + d`.
    Bilinear,
    /// The bilinear form plus `f z²`.
    QuadraticInExperts,
    /// The bilinear form plus `f z² + g x²`.
    Quadratic,
    /// The bilinear form in the bounded `Ê`.
    Saturating,
}

impl Form {
    /// All forms, from the simplest on.
    pub const ALL: [Self; 6] =
        [Self::Dense, Self::Separable, Self::Bilinear, Self::QuadraticInExperts, Self::Quadratic, Self::Saturating];

    /// The coefficients of the form, without `E_start` and `E_max`.
    pub fn terms(self) -> &'static [Coefficient] {
        use Coefficient::{A, B, C, D, F, G};
        match self {
            Self::Dense => &[A, D],
            Self::Separable => &[A, B, D],
            Self::Bilinear | Self::Saturating => &[A, B, C, D],
            Self::QuadraticInExperts => &[A, B, C, D, F],
            Self::Quadratic => &[A, B, C, D, F, G],
        }
    }

    /// How many numbers are fitted.
    pub fn num_parameters(self) -> usize {
        self.terms().len() + if self == Self::Saturating { 2 } else { 0 }
    }
}

/// A number that a fit determines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coefficient {
    /// The factor of `x`.
    A,
    /// The factor of `z`.
    B,
    /// The factor of `x z`.
    C,
    /// The constant.
    D,
    /// The factor of `z²`.
    F,
    /// The factor of `x²`.
    G,
    /// `log2 E_start`.
    Log2Start,
    /// `log2 E_max`.
    Log2Max,
    /// The loss that no model gets below, in nats.
    Irreducible,
}

impl Coefficient {
    pub(crate) const COUNT: usize = 9;

    /// In the order of derivatives.
    #[cfg(test)]
    pub(crate) const ALL: [Self; Self::COUNT] =
        [Self::A, Self::B, Self::C, Self::D, Self::F, Self::G, Self::Log2Start, Self::Log2Max, Self::Irreducible];
}

/// A law with its coefficients: what [`fit()`] finds, or what you write down yourself.
///
/// ```
/// use moe_scaling::law::Law;
/// // published for S-BASE (recalled, see the reproduction's report)
/// let law = Law::saturating(-0.082, -0.108, 0.009, 1.104, 1.847, 314.478);
/// let (n, e) = (370e6, 64.);
/// assert!(law.predict(n, e) < law.predict(n, 1.));
/// // a dense model as good as 370M parameters with 64 experts
/// let equivalent = law.effective_parameter_count(n, e);
/// assert!((law.predict(equivalent, 1.) - law.predict(n, e)).abs() < 1e-9);
/// assert!(law.cutoff().unwrap() > 1e11);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// The form, which says what the coefficients mean.
    pub form: Form,
    /// The slope in `log10 size` at `z = 0`.
    pub a: f64,
    /// The slope in `z` at `log10 size = 0`.
    pub b: f64,
    /// The interaction.
    pub c: f64,
    /// The constant.
    pub d: f64,
    /// The factor of `z²`.
    pub f: f64,
    /// The factor of `x²`.
    pub g: f64,
    /// `E_start` and `E_max`, for the saturating form.
    pub saturation: Option<Saturation>,
    /// What is added to the power law, nats; 0 in the paper.
    pub irreducible: f64,
}

impl Law {
    /// A law of this form whose coefficients are all zero (and `E_start = 1`, unbounded).
    pub fn zero(form: Form) -> Self {
        let saturation = (form == Form::Saturating).then_some(Saturation { log2_start: 0., log2_max: f64::INFINITY });
        Self { form, a: 0., b: 0., c: 0., d: 0., f: 0., g: 0., saturation, irreducible: 0. }
    }

    /// The paper's law with these coefficients.
    pub fn saturating(a: f64, b: f64, c: f64, d: f64, start: f64, max: f64) -> Self {
        let saturation = Some(Saturation { log2_start: start.log2(), log2_max: max.log2() });
        Self { a, b, c, d, saturation, ..Self::zero(Form::Saturating) }
    }

    /// One of the coefficients; `None` for `E_start` and `E_max` of a form without them.
    pub fn coefficient(&self, which: Coefficient) -> Option<f64> {
        Some(match which {
            Coefficient::A => self.a,
            Coefficient::B => self.b,
            Coefficient::C => self.c,
            Coefficient::D => self.d,
            Coefficient::F => self.f,
            Coefficient::G => self.g,
            Coefficient::Log2Start => self.saturation?.log2_start,
            Coefficient::Log2Max => self.saturation?.log2_max,
            Coefficient::Irreducible => self.irreducible,
        })
    }

    pub(crate) fn set(&mut self, which: Coefficient, value: f64) {
        match (which, &mut self.saturation) {
            (Coefficient::A, _) => self.a = value,
            (Coefficient::B, _) => self.b = value,
            (Coefficient::C, _) => self.c = value,
            (Coefficient::D, _) => self.d = value,
            (Coefficient::F, _) => self.f = value,
            (Coefficient::G, _) => self.g = value,
            (Coefficient::Log2Start, Some(saturation)) => saturation.log2_start = value,
            (Coefficient::Log2Max, Some(saturation)) => saturation.log2_max = value,
            (Coefficient::Log2Start | Coefficient::Log2Max, None) => {}
            (Coefficient::Irreducible, _) => self.irreducible = value,
        }
    }

    /// `Ê` of the saturating form, `E` itself for the others.
    pub fn effective_experts(&self, experts: f64) -> f64 {
        self.saturation.map_or(experts, |saturation| saturation.effective_experts(experts))
    }

    /// `log10` of the predicted loss.
    pub fn log10_loss(&self, size: f64, experts: f64) -> f64 {
        let power = self.log10_reducible(size, experts);
        if self.irreducible == 0. { power } else { (self.irreducible + 10f64.powf(power)).log10() }
    }

    fn log10_reducible(&self, size: f64, experts: f64) -> f64 {
        let (x, z) = (size.log10(), self.effective_experts(experts).log10());
        self.a * x + self.b * z + self.c * x * z + self.d + self.f * z * z + self.g * x * x
    }

    /// The predicted loss, nats per token.
    pub fn predict(&self, size: f64, experts: f64) -> f64 {
        10f64.powf(self.log10_loss(size, experts))
    }

    /// The local exponent of the size, `∂ log L / ∂ log N = a + c z + 2 g x` (of the reducible part).
    pub fn size_slope(&self, size: f64, experts: f64) -> f64 {
        self.a + self.c * self.effective_experts(experts).log10() + 2. * self.g * size.log10()
    }

    /// The local exponent of the (effective) number of experts, `b + c x + 2 f z`: how much routing still helps at this size.
    pub fn expert_slope(&self, size: f64, experts: f64) -> f64 {
        self.b + self.c * size.log10() + 2. * self.f * self.effective_experts(experts).log10()
    }

    /// The size of the dense model (`E = 1`) with the loss of this one; with `α(Ê) = a + c log10 Ê`,
    /// `N̄ = N^(α(Ê)/α(E_start)) · (Ê/E_start)^(b/α(E_start))`.
    ///
    /// NaN if no dense model has that loss, which only the full quadratic form can say.
    pub fn effective_parameter_count(&self, size: f64, experts: f64) -> f64 {
        if experts == 1. { size } else { self.size_at(self.log10_reducible(size, experts), 1., size) }
    }

    /// The size at which this number of experts reaches a loss: one point of a level curve. NaN if the loss is not above the irreducible one,
    /// or no size reaches it.
    pub fn size_for(&self, loss: f64, experts: f64) -> f64 {
        // 1e9 only picks the branch of the quadratic form
        self.size_at((loss - self.irreducible).log10(), experts, 1e9)
    }

    /// The level curve of a loss: the size for each number of experts.
    pub fn level_curve(&self, loss: f64, experts: &[f64]) -> Vec<f64> {
        experts.iter().map(|&experts| self.size_for(loss, experts)).collect()
    }

    fn size_at(&self, log10_reducible: f64, experts: f64, near: f64) -> f64 {
        let z = self.effective_experts(experts).log10();
        let constant = self.d + self.b * z + self.f * z * z - log10_reducible;
        let slope = self.a + self.c * z;
        if self.g == 0. {
            return 10f64.powf(-constant / slope);
        }
        // g x² + slope x + constant = 0, the root nearer to `near`; the larger in size first, the other by the product of both
        let root = (slope * slope - 4. * self.g * constant).sqrt();
        let far = -(slope + root.copysign(slope)) / 2.;
        let roots = [far / self.g, constant / far];
        let near = near.log10();
        let nearest = roots.into_iter().min_by(|p, q| (p - near).abs().total_cmp(&(q - near).abs()));
        10f64.powf(nearest.unwrap_or(f64::NAN))
    }

    /// `N_cutoff = 10^(−b/c)`: the size from which on more experts no longer lower the loss. `None` where the law has no such size: without
    /// interaction, with `c ≤ 0`, or with a quadratic term in `z`, where it depends on `E`.
    ///
    /// All the paper's models saw the same number of tokens, so this mixes "routing stops to help" with "large models are under-trained".
    pub fn cutoff(&self) -> Option<f64> {
        (self.c > 0. && self.f == 0.).then(|| 10f64.powf(-self.b / self.c)).filter(|size| size.is_finite())
    }

    /// The candidate of the lowest predicted loss among `(size, experts, cost)` whose cost is within the budget; the first of equals.
    /// The cost is yours: parameters in memory ([`crate::architecture::Architecture::total_parameters`]), money, time.
    pub fn best_under(&self, budget: f64, candidates: impl IntoIterator<Item = (f64, f64, f64)>) -> Option<Prediction> {
        candidates
            .into_iter()
            .filter(|&(_, _, cost)| cost <= budget)
            .map(|(size, experts, _)| Prediction {
                size,
                experts,
                loss: None,
                predicted: self.predict(size, experts),
                effective_parameter_count: self.effective_parameter_count(size, experts),
            })
            .filter(|prediction| prediction.predicted.is_finite())
            .min_by(|p, q| p.predicted.total_cmp(&q.predicted))
    }
}
