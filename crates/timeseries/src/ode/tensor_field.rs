//! Any function of tensors as a field.

use super::field::{At, Pullback};
use super::tensors::Dynamics;
use crate::{Error, Result};
use candle_core::{Device, Tensor, Var};
use core_tensor::kernel::{Real, with_slice};
use core_tensor::ops;
use core_tensor::params::ParamStore;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

type Function = dyn Fn(f64, &[Tensor], Option<&Tensor>) -> Result<Vec<Tensor>> + Send + Sync;

/// A field that is any function of tensors, for example a model made by candle-nn: `dy/dt = f(t, y)`, with the context `f(t, y, c)`.
///
/// The variables that the function depends on are named ([`TensorField::variables`], [`TensorField::of_store`]): they get gradients. One that is used and not named is an error in a solve that shall have a gradient.
/// The solver's loop is that of slices on the CPU; each evaluation brings the state to the field's device and its result back, and the gradient builds the tape of one evaluation at a time. The derivative by
/// time is taken for 0 (it enters no gradient but the step control of the adjoint).
///
/// Batch norm with statistics of the batch makes no sense under adaptive steps: every trial step would move the running ones. Dropout needs one mask for the whole solve: draw it outside, and capture it.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use core_tensor::{ops, params::ParamStore};
/// use timeseries::ode::{Solve, TensorField, solve_tensors};
///
/// let store = ParamStore::new(1, DType::F64, &Device::Cpu);
/// let layer = core_tensor::nn::linear(2, 2, store.var_builder().pp("layer"))?;
/// let field = TensorField::new(move |_, y| Ok(ops::tanh(&candle_nn::Module::forward(&layer, y)?)?)).of_store(&store);
/// let y0 = Tensor::new(&[[1., 0.]], &Device::Cpu)?;
/// let end = solve_tensors(&field, &y0, (0., 1.), &Solve::default())?.last()?;
/// let gradients = core_tensor::backward(&core_tensor::ops::sum_all(&end)?)?;
/// assert!(store.vars().iter().all(|(_, var)| gradients.get(var).is_some()));
/// # Ok::<(), timeseries::Error>(())
/// ```
#[derive(Clone)]
pub struct TensorField {
    function: Arc<Function>,
    variables: Vec<Var>,
    context: Option<Tensor>,
    device: Device,
}

impl fmt::Debug for TensorField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let context = self.context.as_ref().map(Tensor::dims);
        f.debug_struct("TensorField")
            .field("variables", &self.variables.len())
            .field("context", &context)
            .finish_non_exhaustive()
    }
}

impl TensorField {
    /// A field `f(t, y)` of one tensor.
    pub fn new(function: impl Fn(f64, &Tensor) -> Result<Tensor> + Send + Sync + 'static) -> Self {
        Self::of_tuples(move |t, y, _| Ok(vec![function(t, &y[0])?]))
    }

    /// A field `f(t, y, c)` with a context: what the trajectory depends on and does not change along it. Its gradient reaches whatever made it.
    pub fn with_context(
        context: &Tensor,
        function: impl Fn(f64, &Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
    ) -> Self {
        let mut field = Self::of_tuples(move |t, y, context| match context {
            Some(context) => Ok(vec![function(t, &y[0], context)?]),
            None => Err(missing()),
        });
        field.context = Some(context.clone());
        field
    }

    /// A field of a state of several tensors, `f(t, y, c)`.
    pub fn of_tuples(
        function: impl Fn(f64, &[Tensor], Option<&Tensor>) -> Result<Vec<Tensor>> + Send + Sync + 'static,
    ) -> Self {
        Self { function: Arc::new(function), variables: Vec::new(), context: None, device: Device::Cpu }
    }

    /// Names variables that the function depends on.
    pub fn variables(mut self, variables: impl IntoIterator<Item = Var>) -> Self {
        self.variables.extend(variables);
        if let Some(first) = self.variables.first() {
            self.device = first.device().clone();
        }
        self
    }

    /// Names all variables of a store that train.
    pub fn of_store(self, store: &ParamStore) -> Self {
        let variables: Vec<Var> = store.trainable().iter().map(|(_, var)| var.clone()).collect();
        self.variables(variables)
    }

    /// Evaluates on this device. By default that of the first variable, else the CPU.
    pub fn on(mut self, device: &Device) -> Self {
        self.device = device.clone();
        self
    }

    fn tensor<T: Real>(&self, values: &[T], shape: &[usize]) -> Result<Tensor> {
        Ok(Tensor::from_slice(values, shape, &self.device)?)
    }

    fn state<T: Real>(&self, at: &At<'_, T>) -> Result<Vec<Tensor>> {
        let mut start = 0;
        let mut state = Vec::with_capacity(at.shapes.len());
        for shape in at.shapes {
            let len: usize = shape.iter().product();
            state.push(self.tensor(&at.y[start..start + len], shape)?);
            start += len;
        }
        Ok(state)
    }

    fn call<T: Real>(&self, at: &At<'_, T>, y: &[Tensor], context: Option<&Tensor>) -> Result<Vec<Tensor>> {
        let out = (self.function)(at.t, y, context)?;
        if out.len() != at.shapes.len() {
            return Err(Error::Length {
                operation: "TensorField",
                what: "the field's result",
                got: out.len(),
                expected: at.shapes.len(),
            });
        }
        for (out, shape) in out.iter().zip(at.shapes) {
            if out.dims() != shape.as_slice() {
                return Err(Error::shape(
                    "TensorField",
                    "the field's result",
                    out,
                    format!("{shape:?}, that of the state"),
                ));
            }
            if out.dtype() != T::DTYPE {
                let (got, expected) = (out.dtype(), "the dtype of the state");
                return Err(core_tensor::Error::DType {
                    operation: "TensorField",
                    what: "the field's result",
                    got,
                    expected,
                }
                .into());
            }
        }
        Ok(out)
    }

    fn context<T: Real>(&self, at: &At<'_, T>) -> Result<Option<Tensor>> {
        match self.context {
            Some(_) => Ok(Some(self.tensor(at.context, at.context_shape)?)),
            None => Ok(None),
        }
    }
}

fn missing() -> Error {
    Error::InvalidData { operation: "TensorField", what: "the context", reason: "is missing".to_owned() }
}

fn write<T: Real>(out: &[Tensor], dy: &mut [T]) -> Result<()> {
    let mut start = 0;
    for out in out {
        let out = out.to_device(&Device::Cpu)?.contiguous()?;
        let len = out.elem_count();
        let into = &mut dy[start..start + len];
        with_slice::<T, _>(&out, "TensorField", |out| {
            into.copy_from_slice(out);
            Ok(())
        })?;
        start += len;
    }
    Ok(())
}

impl Dynamics for TensorField {
    fn parameters(&self) -> Vec<Tensor> {
        self.variables.iter().map(|var| var.as_tensor().clone()).collect()
    }

    fn context(&self) -> Option<Tensor> {
        self.context.clone()
    }

    fn eval<T: Real>(&self, at: At<'_, T>, dy: &mut [T]) -> Result<()> {
        let (y, context) = (self.state(&at)?, Self::context(self, &at)?);
        write(&self.call(&at, &y, context.as_ref())?, dy)
    }

    fn vjp<T: Real>(&self, at: At<'_, T>, a: &[T], into: Pullback<'_, T>) -> Result<f64> {
        let leaf = |x: Tensor| -> Result<Var> { Ok(Var::from_tensor(&x)?) };
        let y = self.state(&at)?.into_iter().map(leaf).collect::<Result<Vec<_>>>()?;
        let context = Self::context(self, &at)?.map(leaf).transpose()?;
        let leaves: Vec<Tensor> = y.iter().map(|var| var.as_tensor().clone()).collect();
        let out = self.call(&at, &leaves, context.as_ref().map(|var| var.as_tensor()))?;
        let mut loss: Option<Tensor> = None;
        let mut start = 0;
        for out in &out {
            let len = out.elem_count();
            let a = self.tensor(&a[start..start + len], out.dims())?;
            start += len;
            let term = ops::sum_all(&ops::mul(out, &a)?)?;
            loss = Some(match loss {
                Some(loss) => ops::add(&loss, &term)?,
                None => term,
            });
        }
        if let Some(dy) = into.dy {
            write(&out, dy)?;
        }
        let Some(loss) = loss else { return Ok(0.) };
        let gradients = core_tensor::backward(&loss)?;
        let mut start = 0;
        for var in &y {
            let len = var.elem_count();
            match gradients.get(var) {
                Some(gradient) => write(std::slice::from_ref(gradient), &mut into.y[start..start + len])?,
                None => into.y[start..start + len].fill(T::ZERO),
            }
            start += len;
        }
        let collect = |var: &Tensor, into: &mut [T]| -> Result<()> {
            if let Some(gradient) = gradients.get(var) {
                let mut own = vec![T::ZERO; into.len()];
                write(std::slice::from_ref(gradient), &mut own)?;
                super::combine::add(&own, into);
            }
            Ok(())
        };
        if !into.parameters.is_empty() {
            let mut start = 0;
            for var in &self.variables {
                let len = var.elem_count();
                collect(var.as_tensor(), &mut into.parameters[start..start + len])?;
                start += len;
            }
        }
        if let (Some(context), false) = (&context, into.context.is_empty()) {
            collect(context.as_tensor(), into.context)?;
        }
        Ok(0.)
    }

    fn check_gradient<T: Real>(&self, at: At<'_, T>) -> Result<()> {
        let (y, context) = (self.state(&at)?, Self::context(self, &at)?);
        let named: HashSet<_> = self.variables.iter().map(|var| var.as_tensor().id()).collect();
        for out in self.call(&at, &y, context.as_ref())? {
            let foreign = out.sorted_nodes().into_iter().find(|node| node.is_variable() && !named.contains(&node.id()));
            if let Some(foreign) = foreign {
                let reason = format!(
                    "of shape {:?} is used by the field and would get no gradient: name it with `variables` or `of_store`, or detach it",
                    foreign.dims()
                );
                return Err(Error::InvalidData { operation: "TensorField", what: "a variable", reason });
            }
        }
        Ok(())
    }
}
