//! Views: tensors of Candle that share the storage of another one.
//!
//! Reshaped (if contiguous), transposed, permuted, narrowed, broadcast and unfolded tensors share the storage of what they come from, and nothing else does but aliases made off the tape. So a
//! tensor on the tape that no operation of ours gave, and whose storage belongs to exactly one variable or recorded result of the same graph, is a view of that one, perhaps through other views;
//! its shape, strides and offset say how its gradient gets there.

use super::Gradient;
use super::gradient::filled;
use crate::kernel::{Dims, Real, gather, scatter_add, simplified};
use candle_core::{DType, Layout, Result, Tensor};

/// The address of the storage, which views have in common.
pub(super) fn storage_of(tensor: &Tensor) -> usize {
    let (storage, _) = tensor.storage_and_layout();
    std::ptr::from_ref(&*storage) as usize
}

/// The number in an id. Ids count up, so that the larger one is the younger tensor.
pub(super) fn age(tensor: &Tensor) -> Option<u64> {
    let text = format!("{:?}", tensor.id());
    text.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_end_matches(')').parse().ok()
}

/// Adds the gradient of `view` to that of `root`, which is contiguous and has the same storage.
pub(super) fn accumulate(view: &Tensor, gradient: Gradient, root: &Tensor, slot: &mut Option<Gradient>) -> Result<()> {
    let (view_layout, root_layout) = (view.layout(), root.layout());
    let offset = view_layout.start_offset().checked_sub(root_layout.start_offset());
    let Some(offset) = offset else { candle_core::bail!("backward: a view begins before what it is a view of") };
    let is_whole = offset == 0 && view.elem_count() == root.elem_count();
    if is_whole && view_layout.is_contiguous() {
        let gradient = match gradient {
            Gradient::Shared(tensor) => Gradient::Shared(tensor.reshape(root.shape())?),
            other => other,
        };
        return gradient.accumulate(slot, root);
    }
    match root.dtype() {
        DType::F32 => strided::<f32>(view_layout, view, gradient, offset, root, slot),
        _ => strided::<f64>(view_layout, view, gradient, offset, root, slot),
    }
}

fn strided<T: Real>(
    layout: &Layout,
    view: &Tensor,
    gradient: Gradient,
    offset: usize,
    root: &Tensor,
    slot: &mut Option<Gradient>,
) -> Result<()> {
    let len = root.elem_count();
    if view.elem_count() == 0 {
        return Ok(());
    }
    let order = permutation(layout, len);
    if let (Some(_), Gradient::Number(_)) = (&order, &gradient) {
        return gradient.accumulate(slot, root);
    }
    if let Some(order) = order {
        let gathered = gradient.with_slice::<T, _>(view, |gradient| Ok(gather(gradient, &order)))?;
        return Gradient::Owned(T::to_cpu_storage_owned(gathered)).accumulate(slot, root);
    }
    let mut sum: Vec<T> = match slot.take() {
        None => filled(0., len),
        Some(known) => known.into_vec(root)?,
    };
    gradient.with_slice::<T, _>(view, |gradient| {
        scatter_add(gradient, &by_place(layout), &mut sum[offset..]);
        Ok(())
    })?;
    *slot = Some(Gradient::Owned(T::to_cpu_storage_owned(sum)));
    Ok(())
}

/// The dimensions in their order, sizes with strides.
fn by_place(layout: &Layout) -> Dims {
    simplified(layout.dims().iter().copied().zip(layout.stride().iter().copied()))
}

/// If the view has each of `len` elements once: sizes and strides, in the view, of its dimensions in the order in which they lie in memory.
fn permutation(layout: &Layout, len: usize) -> Option<Dims> {
    if layout.shape().elem_count() != len {
        return None;
    }
    let mut stride_in_view = 1;
    let mut dims: Vec<(usize, usize, usize)> = Vec::new();
    for (&size, &stride) in layout.dims().iter().zip(layout.stride()).rev() {
        if size != 1 {
            dims.push((stride, size, stride_in_view));
        }
        stride_in_view *= size;
    }
    dims.sort_unstable_by(|a, b| b.cmp(a));
    let mut expected = len;
    for &(stride, size, _) in &dims {
        if stride.checked_mul(size)? != expected {
            return None;
        }
        expected = stride;
    }
    (expected == 1).then(|| simplified(dims.into_iter().map(|(_, size, stride)| (size, stride))))
}
