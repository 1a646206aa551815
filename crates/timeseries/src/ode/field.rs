//! What is solved: `dy/dt = f(t, y; θ, c)` on slices.

use crate::{Error, Result};
use core_tensor::kernel::Real;

/// Where a field is evaluated.
#[derive(Debug)]
pub struct At<'a, T> {
    /// The time, always in f64.
    pub t: f64,
    /// The state: all rows of a batch, one after the other.
    pub y: &'a [T],
    /// The packed parameters θ; empty unless the field names some.
    pub parameters: &'a [T],
    /// The context c, which does not change along the trajectory; empty unless there is one.
    pub context: &'a [T],
    /// The shapes of the state's tensors, one after the other in `y`: a single one, `[n]`, for states that are slices.
    pub shapes: &'a [Vec<usize>],
    /// The shape of the context.
    pub context_shape: &'a [usize],
}

impl<T> Clone for At<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for At<'_, T> {}

/// Where a field's [`vjp`](VectorField::vjp) writes.
#[derive(Debug)]
pub struct Pullback<'a, T> {
    /// `f` itself, where that is wanted: written.
    pub dy: Option<&'a mut [T]>,
    /// `aᵀ ∂f/∂y`: written.
    pub y: &'a mut [T],
    /// `aᵀ ∂f/∂θ`: added to what is there. Empty where it is not wanted.
    pub parameters: &'a mut [T],
    /// `aᵀ ∂f/∂c`: added to what is there. Empty where it is not wanted.
    pub context: &'a mut [T],
}

/// A field on slices of f32 or f64. Closures `|t: f64, y: &[f64], dy: &mut [f64]| …` are fields.
///
/// A batch `[rows, width]` is one slice; a field of single states is made one of batches by a loop over `y.chunks(width)`.
pub trait VectorField<T: Real> {
    /// Writes `f(t, y)` into `dy`, which has the length of `y`.
    ///
    /// # Errors
    ///
    /// Whatever cannot be computed. Values that are not finite are no error here: the solver shortens its step, or fails naming time and component.
    fn eval(&self, at: At<'_, T>, dy: &mut [T]) -> Result<()>;

    /// The products of `a` with the derivatives of `f`, for gradients; returns `aᵀ ∂f/∂t`, 0 for a field that does not depend on time or whose author does not know.
    ///
    /// # Errors
    ///
    /// The default: this field has no derivative. Otherwise as [`VectorField::eval`].
    fn vjp(&self, at: At<'_, T>, a: &[T], into: Pullback<'_, T>) -> Result<f64> {
        let _ = (at, a, into);
        Err(no_derivative())
    }
}

pub(crate) fn no_derivative() -> Error {
    Error::InvalidData {
        operation: "ode",
        what: "the field",
        reason: "has no derivative: implement `VectorField::vjp`, or use a `TensorField`".to_owned(),
    }
}

impl<T: Real, F: Fn(f64, &[T], &mut [T])> VectorField<T> for F {
    #[inline(always)]
    fn eval(&self, at: At<'_, T>, dy: &mut [T]) -> Result<()> {
        self(at.t, at.y, dy);
        Ok(())
    }
}
