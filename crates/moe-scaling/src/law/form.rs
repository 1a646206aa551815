//! The functional forms and their coefficients.

use serde::{Deserialize, Serialize};

/// A functional form; see the table in [`law`](crate::law).
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
    /// The bilinear form in the bounded `Ê`: the paper's law (Eq. 1).
    Saturating,
}

impl Form {
    /// All forms, the simplest first.
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

    /// The number of fitted parameters.
    pub fn num_parameters(self) -> usize {
        self.terms().len() + if self == Self::Saturating { 2 } else { 0 }
    }
}

/// A coefficient of a law.
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
    /// The irreducible loss, in nats.
    Irreducible,
}

impl Coefficient {
    pub(super) const COUNT: usize = 9;

    /// In the order of the derivatives.
    #[cfg(test)]
    pub(super) const ALL: [Self; Self::COUNT] =
        [Self::A, Self::B, Self::C, Self::D, Self::F, Self::G, Self::Log2Start, Self::Log2Max, Self::Irreducible];
}
