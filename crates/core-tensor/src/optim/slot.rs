//! What all optimisers share: the tensors kept for each parameter, and how an update reaches the parameter's memory.

use super::OptimizerState;
use crate::kernel::{Real, dispatch_real, slice};
use crate::params::Parameters;
use crate::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Storage, Tensor, Var};
use rayon::prelude::*;
use std::cell::RefCell;

/// Larger parameters are updated in pieces of this many elements, over threads.
const PIECE: usize = 32 * 1024;

/// One step of an optimiser that keeps `N` values for each element of a parameter.
pub(super) trait Rule<const N: usize>: Sync {
    /// The names of the kept tensors, as PyTorch calls them.
    const KEPT: [&'static str; N];

    /// The update of a piece on the CPU.
    fn on_host<T: Real>(&self, parameter: &mut [T], gradient: &[T], kept: [&mut [T]; N]);

    /// The same update anywhere: the new parameter and the new kept values.
    fn on_device(&self, parameter: &Tensor, gradient: &Tensor, kept: [Tensor; N]) -> Result<(Tensor, [Tensor; N])>;

    /// The same update in place, where there is a kernel for it: returns whether there is.
    fn in_place(&self, _parameter: &Var, _gradient: &Tensor, _kept: &[Tensor; N]) -> Result<bool> {
        Ok(false)
    }
}

/// A parameter and what is kept for it.
pub(super) struct Slot<const N: usize> {
    name: String,
    var: Var,
    steps: u64,
    kept: Kept<N>,
}

/// Values kept for a parameter; nothing before the first step.
enum Kept<const N: usize> {
    Nothing,
    Host([CpuStorage; N]),
    Device([Tensor; N]),
}

impl<const N: usize> Slot<N> {
    pub(super) fn new((name, var): &(String, Var)) -> Self {
        Self { name: name.clone(), var: var.clone(), steps: 0, kept: Kept::Nothing }
    }

    /// The gradient of this parameter, in row-major order, or `None` when it took no part.
    fn gradient(&self, grads: &GradStore) -> Result<Option<Tensor>> {
        let Some(gradient) = grads.get(&self.var) else { return Ok(None) };
        let fits = gradient.shape() == self.var.shape() && gradient.dtype() == self.var.dtype();
        if !fits {
            let (got, expected) = ((gradient.dims(), gradient.dtype()), (self.var.dims(), self.var.dtype()));
            let reason = format!("its gradient has shape and dtype {got:?}, expected {expected:?}");
            return Err(Error::Parameter { name: self.name.clone(), reason });
        }
        // A gradient that is itself a variable could share the storage that is about to be locked.
        let gradient = if gradient.is_variable() { gradient.copy()? } else { gradient.clone() };
        Ok(Some(gradient.detach().contiguous()?))
    }

    /// Takes a step with the rule for the step number that `rule` is given, counted from 1.
    pub(super) fn step<R: Rule<N>>(&mut self, grads: &GradStore, rule: impl Fn(u64) -> R) -> Result<()> {
        let Some(gradient) = self.gradient(grads)? else { return Ok(()) };
        let rule = rule(self.steps + 1);
        let is_host = self.var.device().is_cpu()
            && self.var.is_contiguous()
            && matches!(self.var.dtype(), DType::F32 | DType::F64);
        if is_host {
            self.step_on_host(&gradient, &rule)?;
        } else {
            self.step_on_device(&gradient, &rule)?;
        }
        self.steps += 1;
        Ok(())
    }

    fn step_on_host<R: Rule<N>>(&mut self, gradient: &Tensor, rule: &R) -> Result<()> {
        if !matches!(self.kept, Kept::Host(_)) {
            let zeros = || match self.var.dtype() {
                DType::F64 => CpuStorage::F64(vec![0.; self.var.elem_count()]),
                _ => CpuStorage::F32(vec![0.; self.var.elem_count()]),
            };
            self.kept = Kept::Host(std::array::from_fn(|_| zeros()));
        }
        let Kept::Host(kept) = &mut self.kept else { return Ok(()) };
        self.var.inplace_op1(&InPlace { rule, gradient, kept: RefCell::new(kept) })?;
        Ok(())
    }

    fn step_on_device<R: Rule<N>>(&mut self, gradient: &Tensor, rule: &R) -> Result<()> {
        let parameter = self.var.as_detached_tensor();
        let kept = match &self.kept {
            Kept::Device(kept) => kept.clone(),
            _ => {
                // of their own each, since they may be updated in place
                let zeros = (0..N).map(|_| parameter.zeros_like()).collect::<candle_core::Result<Vec<_>>>()?;
                let reason = |_| candle_core::Error::Msg(format!("{}: the number of kept tensors", self.name));
                zeros.try_into().map_err(reason)?
            }
        };
        if rule.in_place(&self.var, gradient, &kept)? {
            self.kept = Kept::Device(kept);
            return Ok(());
        }
        let (parameter, kept) = rule.on_device(&parameter, gradient, kept)?;
        self.var.set(&parameter)?;
        self.kept = Kept::Device(kept);
        Ok(())
    }

    /// What this slot would become, so that nothing changes when another slot does not fit.
    fn imported<R: Rule<N>>(&self, state: &OptimizerState) -> Result<(u64, Kept<N>), String> {
        let Some(&steps) = state.steps.get(&self.name) else { return Ok((0, Kept::Nothing)) };
        let mut tensors = Vec::with_capacity(N);
        for kind in R::KEPT {
            let key = format!("{kind}.{}", self.name);
            let tensor = state.tensors.get(&key).ok_or_else(|| format!("`{key}` is missing"))?;
            if tensor.shape() != self.var.shape() || tensor.dtype() != self.var.dtype() {
                let (got, expected) = ((tensor.dims(), tensor.dtype()), (self.var.dims(), self.var.dtype()));
                return Err(format!("`{key}` has shape and dtype {got:?}, expected {expected:?}"));
            }
            let tensor = tensor.to_device(self.var.device()).and_then(|t| t.detach().copy()?.contiguous());
            tensors.push(tensor.map_err(|e| format!("`{key}`: {e}"))?);
        }
        let tensors: [Tensor; N] = tensors.try_into().map_err(|_| "the number of tensors".to_string())?;
        let on_host = self.var.device().is_cpu() && matches!(self.var.dtype(), DType::F32 | DType::F64);
        if !on_host {
            return Ok((steps, Kept::Device(tensors)));
        }
        let mut storages = Vec::with_capacity(N);
        for tensor in &tensors {
            let (storage, _) = tensor.storage_and_layout();
            match &*storage {
                Storage::Cpu(values) => storages.push(values.clone()),
                _ => return Err(format!("the state of `{}` is not on the CPU", self.name)),
            }
        }
        let storages = storages.try_into().map_err(|_| "the number of tensors".to_string())?;
        Ok((steps, Kept::Host(storages)))
    }
}

/// Calls `step` for the slots at these ascending positions, over threads if there is enough to do on the CPU. An error may leave other parameters with or without their step.
pub(super) fn for_found<S: Send>(
    slots: &mut [S],
    found: &[usize],
    parameters: &Parameters,
    step: impl Fn(usize, &mut S) -> Result<()> + Sync,
) -> Result<()> {
    let mut chosen = Vec::with_capacity(found.len());
    let (mut rest, mut first) = (slots, 0);
    for &at in found {
        let Some((slot, others)) = rest.get_mut(at - first..).and_then(<[S]>::split_first_mut) else { break };
        chosen.push((at, slot));
        (rest, first) = (others, at + 1);
    }
    let vars = || found.iter().filter_map(|&at| parameters.get(at)).map(|(_, var)| var);
    let is_large = rayon::current_num_threads() > 1
        && found.len() > 1
        && vars().all(|var| var.device().is_cpu())
        && vars().map(|var| var.elem_count()).sum::<usize>() >= 2 * PIECE;
    if is_large {
        chosen.into_par_iter().try_for_each(|(at, slot)| step(at, slot))
    } else {
        chosen.into_iter().try_for_each(|(at, slot)| step(at, slot))
    }
}

/// Adds the state of a slot.
pub(super) fn export<const N: usize, R: Rule<N>>(slot: &Slot<N>, state: &mut OptimizerState) -> Result<()> {
    if slot.steps == 0 {
        return Ok(());
    }
    state.steps.insert(slot.name.clone(), slot.steps);
    for (index, kind) in R::KEPT.iter().enumerate() {
        let tensor = match &slot.kept {
            Kept::Nothing => continue,
            Kept::Host(kept) => {
                let values = Storage::Cpu(kept[index].clone());
                candle_core::Tensor::from_storage(
                    values,
                    slot.var.shape().clone(),
                    candle_core::op::BackpropOp::none(),
                    false,
                )
            }
            Kept::Device(kept) => kept[index].copy()?,
        };
        state.tensors.insert(format!("{kind}.{}", slot.name), tensor);
    }
    Ok(())
}

/// Sets slots from a state, all or none.
pub(super) fn import<'a, const N: usize, R: Rule<N>>(
    slots: impl Iterator<Item = &'a mut Slot<N>>,
    state: &OptimizerState,
) -> Result<()> {
    let (mut problems, mut imported) = (Vec::new(), Vec::new());
    for slot in slots {
        match slot.imported::<R>(state) {
            Ok(new) => imported.push((slot, new)),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(Error::Mismatch { source_name: "optimiser state".to_string(), problems });
    }
    for (slot, (steps, kept)) in imported {
        (slot.steps, slot.kept) = (steps, kept);
    }
    Ok(())
}

/// A part of a parameter with what belongs to it.
struct Piece<'a, T> {
    parameter: &'a mut [T],
    gradient: &'a [T],
    kept: Vec<&'a mut [T]>,
}

/// The update of a whole parameter, as Candle wants it.
struct InPlace<'a, R, const N: usize> {
    rule: &'a R,
    gradient: &'a Tensor,
    kept: RefCell<&'a mut [CpuStorage; N]>,
}

impl<R: Rule<N>, const N: usize> InPlace<'_, R, N> {
    fn run<T: Real>(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let mismatch = || candle_core::Error::Msg(format!("{}: dtype of the kept values", self.name()));
        let (start, end) =
            layout.contiguous_offsets().ok_or(candle_core::Error::RequiresContiguous { op: self.name() })?;
        let parameter = &mut T::slice_mut(storage).ok_or_else(mismatch)?[start..end];
        let (gradient, gradient_layout) = self.gradient.storage_and_layout();
        let Storage::Cpu(gradient) = &*gradient else { return Err(mismatch()) };
        let gradient = slice::<T>(gradient, gradient_layout, self.name())?;
        let mut kept = self.kept.borrow_mut();
        let mut slices = Vec::with_capacity(N);
        for storage in kept.iter_mut() {
            slices.push(T::slice_mut(storage).ok_or_else(mismatch)?);
        }
        let Ok(kept) = <[&mut [T]; N]>::try_from(slices) else { return Err(mismatch()) };
        self.update(parameter, gradient, kept);
        Ok(())
    }

    fn update<T: Real>(&self, parameter: &mut [T], gradient: &[T], kept: [&mut [T]; N]) {
        if parameter.len() < 2 * PIECE || rayon::current_num_threads() == 1 {
            return self.rule.on_host(parameter, gradient, kept);
        }
        let mut pieces: Vec<Piece<'_, T>> = parameter
            .chunks_mut(PIECE)
            .zip(gradient.chunks(PIECE))
            .map(|(parameter, gradient)| Piece { parameter, gradient, kept: Vec::with_capacity(N) })
            .collect();
        for values in kept {
            for (piece, values) in pieces.iter_mut().zip(values.chunks_mut(PIECE)) {
                piece.kept.push(values);
            }
        }
        pieces.into_par_iter().for_each(|piece| {
            if let Ok(kept) = <[&mut [T]; N]>::try_from(piece.kept) {
                self.rule.on_host(piece.parameter, piece.gradient, kept);
            }
        });
    }
}

impl<R: Rule<N>, const N: usize> InplaceOp1 for InPlace<'_, R, N> {
    fn name(&self) -> &'static str {
        "optimiser-step"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        dispatch_real!(storage, self.name(), T => self.run::<T>(storage, layout))
    }
}
