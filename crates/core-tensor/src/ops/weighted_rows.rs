//! Weighted sums of rows by place: how the results of experts come together.

use crate::cpu::weighted_rows::WeightedRows;
use crate::kernel::apply;
use crate::{Error, Result};
use candle_core::Tensor;

/// `out[t] = Σ_j weights[t, j] · y[places[t, j]]`: `y` is `[n, d]`, `weights` `[rows, k]` (all ones if `None`), `places` has `rows · k` entries, of which
/// `None` adds nothing; the result is `[rows, d]`. No place may be used twice.
///
/// # Errors
///
/// When the shapes do not fit, a place is not below `n` or used twice, or dtypes differ.
pub fn weighted_rows(y: &Tensor, weights: Option<&Tensor>, places: &[Option<u32>], k: usize) -> Result<Tensor> {
    const OP: &str = "weighted_rows";
    let &[n, width] = y.dims() else { return Err(Error::shape(OP, "y", y.shape(), "[n, d]")) };
    if k == 0 || !places.len().is_multiple_of(k) {
        let got = places.len() as f64;
        return Err(Error::Value {
            operation: OP,
            what: "the number of places",
            got,
            expected: "a multiple of k, which is at least 1",
        });
    }
    let rows = places.len() / k;
    let mut is_used = vec![false; n];
    for (position, &place) in places.iter().enumerate() {
        let Some(place) = place else { continue };
        match is_used.get_mut(place as usize) {
            Some(is_used) if !*is_used => *is_used = true,
            Some(_) => {
                return Err(Error::Value {
                    operation: OP,
                    what: "a place",
                    got: f64::from(place),
                    expected: "each at most once",
                });
            }
            None => {
                let index = u64::from(place);
                return Err(Error::OutOfRange { operation: OP, what: "places", position, index, bound: n });
            }
        }
    }
    if let Some(weights) = weights {
        if weights.dims() != [rows, k] {
            return Err(Error::shape(OP, "weights", weights.shape(), format!("[{rows}, {k}]")));
        }
        if weights.dtype() != y.dtype() {
            return Err(Error::DType {
                operation: OP,
                what: "weights",
                got: weights.dtype(),
                expected: "the dtype of y",
            });
        }
    }
    if y.device().is_cpu() {
        let op = WeightedRows { places: places.to_vec(), rows, k, width };
        return match weights {
            Some(weights) => apply(op, &[y, weights], (rows, width)),
            None => apply(op, &[y], (rows, width)),
        };
    }
    let device = y.device();
    let used: Vec<usize> = (0..places.len()).filter(|&at| places[at].is_some()).collect();
    let zeros = Tensor::zeros((rows, width), y.dtype(), device)?;
    if used.is_empty() {
        return Ok(zeros);
    }
    let from: Vec<u32> = used.iter().filter_map(|&at| places[at]).collect();
    let to: Vec<u32> = used.iter().map(|&at| (at / k) as u32).collect();
    let mut taken = y.index_select(&Tensor::new(from, device)?, 0)?;
    if let Some(weights) = weights {
        let at: Vec<u32> = used.iter().map(|&at| at as u32).collect();
        let weights = weights.flatten_all()?.index_select(&Tensor::new(at, device)?, 0)?;
        taken = taken.broadcast_mul(&weights.unsqueeze(1)?)?;
    }
    Ok(zeros.index_add(&Tensor::new(to, device)?, &taken, 0)?)
}
