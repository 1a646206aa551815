//! Functions that are right everywhere.

use super::Function;
use crate::kernel::Real;

#[derive(Clone, Copy)]
pub(crate) struct Gelu;

impl Function for Gelu {
    const NAME: &'static str = "gelu";
    const WORK: usize = 24;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x * x.near_normal().0
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        let (distribution, density) = x.near_normal();
        x.mul_add(density, distribution)
    }
}

/// The distribution function of the standard normal.
#[derive(Clone, Copy)]
pub(crate) struct NormalDistribution;

impl Function for NormalDistribution {
    const NAME: &'static str = "normal-distribution";
    const WORK: usize = 24;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x.normal().0
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        x.normal().1
    }
}

#[derive(Clone, Copy)]
pub(crate) struct GeluTanh;

impl Function for GeluTanh {
    const NAME: &'static str = "gelu-tanh";
    const WORK: usize = 20;

    // With ½ (1 + tanh u) = σ(2u), where no digits cancel.
    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        let twice = T::of(2. * 0.797_884_560_802_865_4) * x * T::of(0.044_715).mul_add(x * x, T::ONE);
        x * twice.sigmoid()
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        let twice = T::of(2. * 0.797_884_560_802_865_4) * x * T::of(0.044_715).mul_add(x * x, T::ONE);
        let slope = T::of(2. * 0.797_884_560_802_865_4) * T::of(3. * 0.044_715).mul_add(x * x, T::ONE);
        let power = Real::exp(-Real::abs(twice));
        let larger = T::ONE / (T::ONE + power);
        let (sigmoid, rest) = if twice > T::ZERO { (larger, larger * power) } else { (larger * power, larger) };
        // Far from 0 the slope is large and one of the factors 0.
        let bend = if power > T::ZERO { x * rest * slope } else { T::ZERO };
        sigmoid * (T::ONE + bend)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Silu;

impl Function for Silu {
    const NAME: &'static str = "silu";
    const WORK: usize = 16;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x * x.sigmoid()
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        let sigmoid = x.sigmoid();
        sigmoid * x.mul_add(T::ONE - sigmoid, T::ONE)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Softplus;

impl Function for Softplus {
    const NAME: &'static str = "softplus";
    const WORK: usize = 40;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x.softplus()
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        x.sigmoid()
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Exp;

impl Function for Exp {
    const NAME: &'static str = "exp";
    const WORK: usize = 12;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::exp(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, _x: T, y: T) -> T {
        y
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Relu;

impl Function for Relu {
    const NAME: &'static str = "relu";
    const WORK: usize = 1;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        // A NaN stays one, and −∞ gives 0.
        if x <= T::ZERO { T::ZERO } else { x }
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        if x > T::ZERO { T::ONE } else { T::ZERO }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct LeakyRelu {
    pub(crate) negative_slope: f64,
}

impl Function for LeakyRelu {
    const NAME: &'static str = "leaky-relu";
    const WORK: usize = 1;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        // A NaN takes the second branch and stays one.
        if x > T::ZERO { x } else { T::of(self.negative_slope) * x }
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        if x > T::ZERO { T::ONE } else { T::of(self.negative_slope) }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Elu {
    pub(crate) alpha: f64,
}

impl Function for Elu {
    const NAME: &'static str = "elu";
    const WORK: usize = 16;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        if x > T::ZERO { x } else { T::of(self.alpha) * Real::exp_m1(x) }
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, y: T) -> T {
        if x > T::ZERO { T::ONE } else { y + T::of(self.alpha) }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Sigmoid;

impl Function for Sigmoid {
    const NAME: &'static str = "sigmoid";
    const WORK: usize = 16;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x.sigmoid()
    }

    #[inline(always)]
    fn derivative<T: Real>(self, _x: T, y: T) -> T {
        y * (T::ONE - y)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Tanh;

impl Function for Tanh {
    const NAME: &'static str = "tanh";
    const WORK: usize = 16;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::tanh(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, _x: T, y: T) -> T {
        (-y).mul_add(y, T::ONE)
    }
}

/// `mul · x + add`.
#[derive(Clone, Copy)]
pub(crate) struct Affine {
    pub(crate) mul: f64,
    pub(crate) add: f64,
}

impl Function for Affine {
    const NAME: &'static str = "affine";
    const WORK: usize = 1;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x.mul_add(T::of(self.mul), T::of(self.add))
    }

    #[inline(always)]
    fn derivative<T: Real>(self, _x: T, _y: T) -> T {
        T::of(self.mul)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Square;

impl Function for Square {
    const NAME: &'static str = "sqr";
    const WORK: usize = 1;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        x * x
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        x + x
    }
}

#[derive(Clone, Copy)]
pub(crate) struct SquareRoot;

impl Function for SquareRoot {
    const NAME: &'static str = "sqrt";
    const WORK: usize = 8;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::sqrt(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, _x: T, y: T) -> T {
        T::of(0.5) / y
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Logarithm;

impl Function for Logarithm {
    const NAME: &'static str = "ln";
    const WORK: usize = 40;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::ln(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        T::ONE / x
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Absolute;

impl Function for Absolute {
    const NAME: &'static str = "abs";
    const WORK: usize = 1;

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        Real::abs(x)
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T, _y: T) -> T {
        if x > T::ZERO {
            T::ONE
        } else if x < T::ZERO {
            -T::ONE
        } else {
            T::ZERO
        }
    }
}
