//! Backpropagation that hands the gradients of parameters over without a detour.

use crate::Result;
use candle_core::Tensor;
use candle_core::backprop::GradStore;
use std::cell::RefCell;

thread_local! {
    /// The [`backward`] that is under way on this thread.
    static PASS: RefCell<Option<Pass>> = const { RefCell::new(None) };
}

struct Pass {
    /// Gradients of variables found so far.
    found: Vec<(Tensor, Tensor)>,
    observer: Option<Observer>,
}

type Observer = Box<dyn FnMut(&Tensor, &Tensor)>;

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
    run(loss, None)
}

/// [`backward`] that calls `observer` with each variable and its gradient in the moment in which an operation of this crate finds it, while the pass goes on: what data-parallel
/// training needs to send gradients early. A variable that is used several times is reported several times, each time with a part of its gradient; one that is used
/// by operations of Candle alone is not reported. The result has the complete gradients. The observer must not start a backward pass.
///
/// ```
/// # use candle_core::{Device, Tensor, Var};
/// # use std::{cell::RefCell, rc::Rc};
/// let weight = Var::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu)?;
/// let x = Tensor::new(&[[1f32, -1.]], &Device::Cpu)?;
/// let y = core_tensor::ops::linear(&x, weight.as_tensor(), None)?;
/// let seen = Rc::new(RefCell::new(Vec::new()));
/// let reports = seen.clone();
/// let grads = core_tensor::backward_observed(&y.sum_all()?, move |variable, gradient| {
///     reports.borrow_mut().push((variable.id(), gradient.id()));
/// })?;
/// assert_eq!(*seen.borrow(), [(weight.id(), grads.get(&weight).unwrap().id())]);
/// # Ok::<(), core_tensor::Error>(())
/// ```
///
/// # Errors
///
/// As [`backward`].
pub fn backward_observed(loss: &Tensor, observer: impl FnMut(&Tensor, &Tensor) + 'static) -> Result<GradStore> {
    run(loss, Some(Box::new(observer)))
}

fn run(loss: &Tensor, observer: Option<Observer>) -> Result<GradStore> {
    let _guard = Guard(PASS.replace(Some(Pass { found: Vec::new(), observer })));
    let mut grads = loss.backward()?;
    for (variable, gradient) in PASS.take().map(|pass| pass.found).unwrap_or_default() {
        let gradient = match grads.remove(&variable) {
            Some(known) => (known + gradient)?,
            None => gradient,
        };
        grads.insert(&variable, gradient);
    }
    Ok(grads)
}

/// Restores what was there before, also after an error.
struct Guard(Option<Pass>);

impl Drop for Guard {
    fn drop(&mut self) {
        PASS.set(self.0.take());
    }
}

/// Takes the gradient of a variable if a [`backward`] is under way here, else gives it back for the tape.
pub(crate) fn hand_over(argument: &Tensor, gradient: Tensor) -> Option<Tensor> {
    if !argument.is_variable() {
        return Some(gradient);
    }
    PASS.with_borrow_mut(|pass| match pass {
        Some(pass) => {
            if let Some(observer) = &mut pass.observer {
                observer(argument, &gradient);
            }
            pass.found.push((argument.clone(), gradient));
            None
        }
        None => Some(gradient),
    })
}
