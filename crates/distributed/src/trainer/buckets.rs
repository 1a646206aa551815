//! Which parameters travel together.

use super::config::{DataParallelConfig, MakeHook};
use crate::hook::{Allreduce, Hook};
use crate::key::Key;
use crate::ratio::check_ratio;
use crate::selection::TensorSelection;
use crate::{Error, Result};
use candle_core::{DType, Var};
use std::collections::BTreeSet;
use std::ops::Range;

/// Parameters whose gradients travel together.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) id: u64,
    /// The parameters, and the range of each one's elements in the bucket.
    pub(super) parts: Vec<(usize, Range<usize>)>,
    pub(super) len: usize,
    /// Whether its parameters are of f64, so that they are averaged in double precision.
    pub(super) is_double: bool,
}

/// One hook for each bucket.
pub(super) type Hooks = Vec<Box<dyn Hook>>;

/// An error for settings outside their range, or parameters that cannot be averaged.
pub(super) fn check(vars: &[(String, Var)], config: &DataParallelConfig) -> Result<()> {
    let mut names = BTreeSet::new();
    for (name, var) in vars {
        if !names.insert(name) {
            return Err(Error::config("parameters", format!("duplicate name `{name}`")));
        }
        if !var.dtype().is_float() {
            return Err(Error::config("parameters", format!("`{name}` has dtype {:?}, expected floats", var.dtype())));
        }
    }
    if let TensorSelection::CostModel(model) = config.selection {
        model.check()?;
    }
    config.ratios.iter().try_for_each(|(_, ratio)| check_ratio("ratios", *ratio))?;
    if !config.ratios.is_sorted_by_key(|(step, _)| *step) {
        return Err(Error::config("ratios", "the steps do not ascend"));
    }
    Ok(())
}

/// The buckets, from the last parameter to the first, and their hooks.
pub(super) fn plan(
    vars: &[(String, Var)],
    config: &DataParallelConfig,
    ranks: usize,
    make: Option<MakeHook<'_>>,
) -> Result<(Vec<Bucket>, Hooks)> {
    let (mut buckets, mut hooks): (Vec<Bucket>, Hooks) = (Vec::new(), Vec::new());
    let mut open: Option<Bucket> = None;
    let mut number = 0;
    let ratio = config.ratios.last().map_or_else(|| config.compression.expected_ratio(), |(_, ratio)| *ratio);
    for (index, (name, var)) in vars.iter().enumerate().rev() {
        let len = var.elem_count();
        let is_double = var.dtype() == DType::F64;
        let most = (config.bucket_bytes / if is_double { 8 } else { 4 }).max(1);
        let is_selected = config.selection.is_compressed(len, len as f64 * ratio, ranks);
        if let Some(make) = make.filter(|_| is_selected && len > 0) {
            let (id, parts) = (Key::tensor_id(name), vec![(index, 0..len)]);
            buckets.push(Bucket { name: name.clone(), id, parts, len, is_double });
            hooks.push(make(name, var.dims())?);
            continue;
        }
        let is_full = |bucket: &Bucket| bucket.len > 0 && bucket.len + len > most;
        if open.as_ref().is_some_and(|bucket| is_full(bucket) || bucket.is_double != is_double) {
            buckets.extend(open.take());
            hooks.push(Box::new(Allreduce));
        }
        let bucket = open.get_or_insert_with(|| {
            let name = format!("bucket {number}");
            number += 1;
            Bucket { id: Key::tensor_id(&name), name, parts: Vec::new(), len: 0, is_double }
        });
        bucket.parts.push((index, bucket.len..bucket.len + len));
        bucket.len += len;
    }
    if let Some(bucket) = open {
        buckets.push(bucket);
        hooks.push(Box::new(Allreduce));
    }
    Ok((buckets, hooks))
}
