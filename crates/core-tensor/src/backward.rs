//! Backpropagation over our tape, and over Candle's where that is needed.

use crate::Result;
use crate::kernel::keeps_tapes;
use crate::tape::{self, Outcome};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
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

/// The gradients of `loss` like `loss.backward()`, faster.
///
/// Candle's own pass makes zeros for every gradient and adds to them, each time in new memory. This one walks what the operations of this crate have recorded: a gradient is a buffer that is moved on,
/// further contributions are added in place, and buffers are freed as soon as they are used. Views (reshaped, transposed, permuted, narrowed, broadcast tensors of Candle) are part of the walk; where it meets
/// results of other operations of Candle, listed by [`tape::foreign`], one pass of Candle does what lies behind them, and the sum of both is the gradient. On other devices than the CPU, for dtypes other
/// than f32 and f64, and where Candle keeps the tapes of gradients (`CANDLE_GRAD_DO_NOT_DETACH`), it is Candle's pass alone. The store has the gradients of variables. The optimisers'
/// [`backward_step`](crate::optim::Optimizer::backward_step) uses it.
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

/// [`backward`] that calls `observer` with each variable and its gradient the moment it is complete, while the pass goes on: what data-parallel training needs to send gradients early. Each variable is
/// reported once; those that lie behind operations of Candle at the end. Where the pass is Candle's alone (on other devices, see [`backward`]), a variable is reported each time an operation of this crate
/// finds a part of its gradient, and not at all if only operations of Candle use it. The observer must not start a backward pass.
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

fn run(loss: &Tensor, mut observer: Option<Observer>) -> Result<GradStore> {
    if keeps_tapes() {
        return candle(loss, observer);
    }
    match tape::walk(loss, observer.as_deref_mut())? {
        Some(outcome) => finish(outcome, observer),
        None => candle(loss, observer),
    }
}

/// Adds what Candle's pass finds, and reports the variables that had to wait for it.
fn finish(Outcome { found, rest }: Outcome, mut observer: Option<Observer>) -> Result<GradStore> {
    let mut grads = match &rest {
        Some(rest) => candle(rest, None)?,
        None => empty()?,
    };
    for (variable, gradient) in found {
        let gradient = match grads.remove(&variable) {
            Some(other) => (gradient + other)?,
            None => gradient,
        };
        grads.insert(&variable, gradient);
    }
    if let (Some(observer), Some(rest)) = (&mut observer, &rest) {
        for variable in rest.sorted_nodes().into_iter().filter(|node| node.is_variable()) {
            if let Some(gradient) = grads.get(variable) {
                observer(variable, gradient);
            }
        }
    }
    Ok(grads)
}

/// A store without gradients, which Candle makes in no other way.
fn empty() -> Result<GradStore> {
    let one = Tensor::zeros((), DType::F32, &Device::Cpu)?;
    let mut grads = one.backward()?;
    grads.remove(&one);
    Ok(grads)
}

/// Candle's pass, during which operations of ours hand the gradients of variables over.
fn candle(loss: &Tensor, observer: Option<Observer>) -> Result<GradStore> {
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
