//! The law: predicted losses, slopes, equivalent sizes and the cut-off.

use super::form::{Coefficient, Form};
use super::saturation::Saturation;
use serde::{Deserialize, Serialize};

/// A form with its coefficients, found by [`fit()`](super::fit()) or given.
///
/// ```
/// use moe_scaling::law::Law;
/// // S-BASE in the paper (quoted from memory)
/// let law = Law::saturating(-0.082, -0.108, 0.009, 1.104, 1.847, 314.478);
/// let (n, e) = (370e6, 64.);
/// assert!(law.predict(n, e) < law.predict(n, 1.));
/// // the dense model with the loss of 370M parameters and 64 experts
/// let equivalent = law.effective_parameter_count(n, e);
/// assert!((law.predict(equivalent, 1.) - law.predict(n, e)).abs() < 1e-9);
/// assert!(law.cutoff().unwrap() > 1e11);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// The functional form.
    pub form: Form,
    /// The slope in `log10 size` at `z = 0`.
    pub a: f64,
    /// The slope in `z` at `log10 size = 0`.
    pub b: f64,
    /// The interaction: the factor of `x z`.
    pub c: f64,
    /// The constant.
    pub d: f64,
    /// The factor of `z²`.
    pub f: f64,
    /// The factor of `x²`.
    pub g: f64,
    /// `E_start` and `E_max` of the saturating form.
    pub saturation: Option<Saturation>,
    /// Irreducible loss, added to the power law, in nats; 0 in the paper.
    pub irreducible: f64,
}

impl Law {
    /// A law with all coefficients 0 (`E_start = 1` and `E_max = ∞`).
    pub fn zero(form: Form) -> Self {
        let saturation = (form == Form::Saturating).then_some(Saturation { log2_start: 0., log2_max: f64::INFINITY });
        Self { form, a: 0., b: 0., c: 0., d: 0., f: 0., g: 0., saturation, irreducible: 0. }
    }

    /// The paper's law (Eq. 1) with `E_start = start` and `E_max = max`.
    pub fn saturating(a: f64, b: f64, c: f64, d: f64, start: f64, max: f64) -> Self {
        let saturation = Some(Saturation { log2_start: start.log2(), log2_max: max.log2() });
        Self { a, b, c, d, saturation, ..Self::zero(Form::Saturating) }
    }

    /// The value of a coefficient; `None` for `E_start` and `E_max` of a form that has neither.
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

    pub(super) fn set(&mut self, which: Coefficient, value: f64) {
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

    /// `Ê` for the saturating form, `E` for the others.
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

    /// The predicted loss, in nats per token.
    pub fn predict(&self, size: f64, experts: f64) -> f64 {
        10f64.powf(self.log10_loss(size, experts))
    }

    /// The local exponent of the size, `∂ log L / ∂ log N = a + c z + 2 g x`, of the reducible loss.
    pub fn size_slope(&self, size: f64, experts: f64) -> f64 {
        self.a + self.c * self.effective_experts(experts).log10() + 2. * self.g * size.log10()
    }

    /// The local exponent of the (effective) number of experts, `∂ log L / ∂ log Ê = b + c x + 2 f z`, of the reducible loss. Negative where more
    /// experts lower the loss.
    pub fn expert_slope(&self, size: f64, experts: f64) -> f64 {
        self.b + self.c * size.log10() + 2. * self.f * self.effective_experts(experts).log10()
    }

    /// The effective parameter count: the size of the dense model (`E = 1`) with the same loss. For the paper's law, with `α(Ê) = a + c log10 Ê`,
    /// `N̄ = N^(α(Ê)/α(E_start)) · (Ê/E_start)^(b/α(E_start))`.
    ///
    /// NaN if no dense model has that loss, which happens only with [`Form::Quadratic`].
    pub fn effective_parameter_count(&self, size: f64, experts: f64) -> f64 {
        if experts == 1. { size } else { self.size_at(self.log10_reducible(size, experts), 1., size) }
    }

    /// The size at which a model with this number of experts has the given loss. NaN if no size has it, for example because the loss is not above
    /// the irreducible loss.
    pub fn size_for(&self, loss: f64, experts: f64) -> f64 {
        // 1e9 only selects a root of the quadratic form
        self.size_at((loss - self.irreducible).log10(), experts, 1e9)
    }

    /// The level curve of a loss: [`Self::size_for`] for each number of experts.
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
        // g x² + slope x + constant = 0, the root nearer to `near`. The root of larger magnitude has no cancellation; the other one follows from
        // the product of both.
        let root = (slope * slope - 4. * self.g * constant).sqrt();
        let far = -(slope + root.copysign(slope)) / 2.;
        let roots = [far / self.g, constant / far];
        let near = near.log10();
        let nearest = roots.into_iter().min_by(|p, q| (p - near).abs().total_cmp(&(q - near).abs()));
        10f64.powf(nearest.unwrap_or(f64::NAN))
    }

    /// `N_cutoff = 10^(−b/c)`: the size above which more experts no longer lower the loss. `None` where the law has no such size: with `c ≤ 0`, or
    /// with a quadratic term in `z`, which makes it depend on `E`.
    ///
    /// All models of the paper saw the same number of tokens, so this value does not separate "routing stops helping" from "large models are under-trained".
    pub fn cutoff(&self) -> Option<f64> {
        (self.c > 0. && self.f == 0.).then(|| 10f64.powf(-self.b / self.c)).filter(|size| size.is_finite())
    }
}
