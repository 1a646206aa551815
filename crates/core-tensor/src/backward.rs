//! Backpropagation that hands the gradients of parameters over without a detour.

use crate::Result;
use candle_core::Tensor;
use candle_core::backprop::GradStore;
use std::cell::RefCell;

thread_local! {
    /// Gradients of variables found during a [`backward`] on this thread; `None` outside of one.
    static FOUND: RefCell<Option<Vec<(Tensor, Tensor)>>> = const { RefCell::new(None) };
}

/// The gradients of `loss` like `loss.backward()`, faster where parameters are large.
///
/// Candle's own pass makes zeros for every gradient and adds to them, which for a weight means to write it twice and read it three times more than
/// needed. During this call the operations of this crate hand the gradient of a variable (not of a tensor computed from one) over directly. The
/// optimisers' [`backward_step`](crate::optim::Optimizer::backward_step) uses it.
///
/// ```
/// # use candle_core::{Device, Tensor, Var};
/// let weight = Var::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
/// let x = Tensor::new(&[[1f32, -1.]], &Device::Cpu)?;
/// let y = core_tensor::ops::linear(&x, weight.as_tensor(), None)?;
/// let grads = core_tensor::backward(&y.sum_all()?)?;
/// assert_eq!(grads.get(&weight).unwrap().to_vec2::<f32>()?, [[1., -1.], [1., -1.]]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
///
/// # Errors
///
/// When an operation on the tape has no gradient.
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    let _guard = Guard(FOUND.replace(Some(Vec::new())));
    let mut grads = loss.backward()?;
    for (variable, gradient) in FOUND.take().unwrap_or_default() {
        let gradient = match grads.remove(&variable) {
            Some(known) => (known + gradient)?,
            None => gradient,
        };
        grads.insert(&variable, gradient);
    }
    Ok(grads)
}

/// Restores what was there before, also after an error.
struct Guard(Option<Vec<(Tensor, Tensor)>>);

impl Drop for Guard {
    fn drop(&mut self) {
        FOUND.set(self.0.take());
    }
}

/// Takes the gradient of a variable if a [`backward`] is under way here, else gives it back for the tape.
pub(crate) fn hand_over(argument: &Tensor, gradient: Tensor) -> Option<Tensor> {
    if !argument.is_variable() {
        return Some(gradient);
    }
    FOUND.with_borrow_mut(|found| match found {
        Some(found) => {
            found.push((argument.clone(), gradient));
            None
        }
        None => Some(gradient),
    })
}
