//! Functions whose vector forms have limits.

use super::Function;
use crate::kernel::{Real, gamma_beyond};

#[derive(Clone, Copy)]
pub(crate) struct Sine;

impl Function for Sine {
    const NAME: &'static str = "sin";
    const WORK: usize = 32;
    const HAS_LIMITS: bool = true;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::sin(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        Real::cos(x)
    }

    #[inline]
    fn beyond(self, x: f64) -> Option<[f64; 2]> {
        (x.abs() >= LARGEST_ANGLE).then(|| [x.sin(), x.cos()])
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Cosine;

impl Function for Cosine {
    const NAME: &'static str = "cos";
    const WORK: usize = 32;
    const HAS_LIMITS: bool = true;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::cos(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        -Real::sin(x)
    }

    #[inline]
    fn beyond(self, x: f64) -> Option<[f64; 2]> {
        (x.abs() >= LARGEST_ANGLE).then(|| [x.cos(), -x.sin()])
    }
}

/// Where the vector forms of sine and cosine end: 2⁵⁰.
const LARGEST_ANGLE: f64 = 1_125_899_906_842_624.;

macro_rules! gamma {
    ($(#[$meta:meta])* $Name:ident, $text:literal, $value:ident, $derivative:ident, $at:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy)]
        pub(crate) struct $Name;

        impl Function for $Name {
            const NAME: &'static str = $text;
            const WORK: usize = 64;
            const HAS_LIMITS: bool = true;

            #[inline(always)]
            fn value<T: Real>(self, x: T) -> T {
                x.$value()
            }

            #[inline(always)]
            fn derivative<T: Real>(self, x: T, _y: T) -> T {
                x.$derivative()
            }

            #[inline]
            fn beyond(self, x: f64) -> Option<[f64; 2]> {
                (x <= 0.).then(|| {
                    let all = gamma_beyond(x);
                    [all[$at], all[$at + 1]]
                })
            }
        }
    };
}
gamma!(
    /// `log |Γ(x)|`.
    LogGamma, "lgamma", lgamma, digamma, 0
);
gamma!(
    /// `ψ(x)`.
    Digamma, "digamma", digamma, trigamma, 1
);
gamma!(
    /// `ψ₁(x)`.
    Trigamma, "trigamma", trigamma, tetragamma, 2
);
