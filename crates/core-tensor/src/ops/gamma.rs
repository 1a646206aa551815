//! Functions of the gamma function for positive arguments on devices without kernels of ours, of Candle's operations.

use candle_core::{Result, Tensor};

/// The argument of Stirling's series, at least 8, where it was moved, and `t = x (x + 7)` for the eight factors `t`, `t + 6`, `t + 10` and `t + 12`, two each.
fn moved(x: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    let is_small = x.lt(8.)?;
    let y = (x + (is_small.to_dtype(x.dtype())? * 8.)?)?;
    Ok((y, is_small, (x * (x + 7.)?)?))
}

/// `Σ c_i s^(n−1−i)`.
fn polynomial(s: &Tensor, coefficients: &[f64]) -> Result<Tensor> {
    let mut sum = s.zeros_like()?;
    for &c in coefficients {
        sum = ((sum * s)? + c)?;
    }
    Ok(sum)
}

/// `value` where the argument was moved, else 0.
fn where_moved(is_small: &Tensor, value: &Tensor) -> Result<Tensor> {
    is_small.where_cond(value, &value.zeros_like()?)
}

const LGAMMA: [f64; 5] = [1. / 1188., -1. / 1680., 1. / 1260., -1. / 360., 1. / 12.];
const DIGAMMA: [f64; 5] = [1. / 132., -1. / 240., 1. / 252., -1. / 120., 1. / 12.];
const TRIGAMMA: [f64; 5] = [5. / 66., -1. / 30., 1. / 42., -1. / 30., 1. / 6.];

pub(super) fn lgamma(x: &Tensor) -> Result<Tensor> {
    let (y, is_small, t) = moved(x)?;
    let inverse = y.recip()?;
    let series = (&inverse * polynomial(&inverse.sqr()?, &LGAMMA)?)?;
    let stirling = ((((&y - 0.5)? * y.log()?)? - &y)? + (series + 0.918_938_533_204_672_8)?)?;
    let logs = [0., 6., 10., 12.].iter().try_fold(x.zeros_like()?, |sum, &c| sum + (&t + c)?.log()?)?;
    stirling - where_moved(&is_small, &logs)?
}

pub(super) fn digamma(x: &Tensor) -> Result<Tensor> {
    let (y, is_small, t) = moved(x)?;
    let inverse = y.recip()?;
    let square = inverse.sqr()?;
    let value = ((y.log()? - (&inverse * 0.5)?)? - (&square * polynomial(&square, &DIGAMMA)?)?)?;
    let sum = [0., 6., 10., 12.].iter().try_fold(x.zeros_like()?, |sum, &c| sum + (&t + c)?.recip()?)?;
    value - where_moved(&is_small, &(sum * x.affine(2., 7.)?)?)?
}

pub(super) fn trigamma(x: &Tensor) -> Result<Tensor> {
    let (y, is_small, t) = moved(x)?;
    let inverse = y.recip()?;
    let square = inverse.sqr()?;
    let series = ((&inverse * &square)? * polynomial(&square, &TRIGAMMA)?)?;
    let value = ((&inverse + (&square * 0.5)?)? + series)?;
    let s = x.affine(2., 7.)?;
    let sum = [0., 6., 10., 12.].iter().try_fold(x.zeros_like()?, |sum, &c| {
        let r = (&t + c)?.recip()?;
        sum + ((&s * &r)?.sqr()? - (r * 2.)?)?
    })?;
    value + where_moved(&is_small, &sum)?
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    #[test]
    fn they_are_those_of_the_kernels() {
        let x: Vec<f64> = (0..200).map(|at| 10f64.powf(f64::from(at) / 33. - 3.)).collect();
        let x = Tensor::new(x, &Device::Cpu).unwrap();
        type Of = (fn(&Tensor) -> candle_core::Result<Tensor>, fn(&Tensor) -> crate::Result<Tensor>);
        let pairs: [Of; 3] = [
            (super::lgamma, crate::ops::lgamma),
            (super::digamma, crate::ops::digamma),
            (super::trigamma, crate::ops::trigamma),
        ];
        for (composed, kernel) in pairs {
            let (found, expected) = (composed(&x).unwrap(), kernel(&x).unwrap());
            let (found, expected) = (found.to_vec1::<f64>().unwrap(), expected.to_vec1::<f64>().unwrap());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.), "{found}, expected {expected}");
            }
        }
    }
}
