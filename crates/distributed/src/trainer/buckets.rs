//! Which parameters travel together.

use super::{DataParallelConfig, MakeHook};
use crate::compress::{Compression, Key, check_ratio};
use crate::hook::{Allreduce, Hook};
use crate::selection::TensorSelection;
use crate::{Error, Result};
use candle_core::Var;
use std::collections::BTreeSet;
use std::ops::Range;

/// Parameters whose gradients travel together.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) id: u64,
    /// Which parameters, and where in the bucket each one's elements are.
    pub(super) parts: Vec<(usize, Range<usize>)>,
    pub(super) len: usize,
}

/// The hooks of a bucket: the one of ordinary steps and, for dense first steps, the plain sum.
pub(super) type Hooks = Vec<Box<dyn Hook>>;

pub(super) fn check(vars: &[(String, Var)], config: &DataParallelConfig) -> Result<()> {
    let mut names = BTreeSet::new();
    for (name, var) in vars {
        if !names.insert(name) {
            return Err(Error::options("parameters", format!("`{name}` is there twice")));
        }
        if !var.dtype().is_float() {
            return Err(Error::options("parameters", format!("`{name}` is {:?}, expected floats", var.dtype())));
        }
    }
    if let TensorSelection::CostModel(model) = config.selection {
        model.check()?;
    }
    config.ratios.iter().try_for_each(|(_, ratio)| check_ratio("ratios", *ratio))?;
    if !config.ratios.is_sorted_by_key(|(step, _)| *step) {
        return Err(Error::options("ratios", "the steps do not ascend"));
    }
    Ok(())
}

/// The fraction of its elements that a compressor sends, for the cost model.
fn expected_ratio(config: &DataParallelConfig) -> f64 {
    let by_compression = match config.compression {
        Compression::Dragonn(config) => config.ratio,
        Compression::Dgc(config) => config.ratio,
        Compression::SidCo(config) => config.ratio,
        Compression::TopK(ratio) | Compression::RandomK(ratio) => ratio,
        Compression::GaussianK(ratio) | Compression::RedSync(ratio) => ratio,
        Compression::Threshold(_) => 0.01,
        // in entries of 8 bytes
        Compression::None => 0.5,
        Compression::Qsgd(_) => 0.125,
        Compression::HalfPrecision => 0.25,
        Compression::SignScale => 1. / 64.,
    };
    config.ratios.last().map_or(by_compression, |(_, ratio)| *ratio)
}

pub(super) fn plan(
    vars: &[(String, Var)],
    config: &DataParallelConfig,
    ranks: usize,
    make: Option<MakeHook<'_>>,
) -> Result<(Vec<Bucket>, Hooks)> {
    let (mut buckets, mut hooks): (Vec<Bucket>, Hooks) = (Vec::new(), Vec::new());
    let mut open: Option<Bucket> = None;
    let mut number = 0;
    let most = (config.bucket_bytes / 4).max(1);
    for (index, (name, var)) in vars.iter().enumerate().rev() {
        let len = var.elem_count();
        let is_selected = config.selection.is_compressed(len, len as f64 * expected_ratio(config), ranks);
        if let Some(make) = make.filter(|_| is_selected && len > 0) {
            let (id, parts) = (Key::tensor_id(name), vec![(index, 0..len)]);
            buckets.push(Bucket { name: name.clone(), id, parts, len });
            hooks.push(make(name, var.dims())?);
            continue;
        }
        if open.as_ref().is_some_and(|bucket| bucket.len > 0 && bucket.len + len > most) {
            buckets.extend(open.take());
            hooks.push(Box::new(Allreduce));
        }
        let bucket = open.get_or_insert_with(|| {
            let name = format!("bucket {number}");
            number += 1;
            Bucket { id: Key::tensor_id(&name), name, parts: Vec::new(), len: 0 }
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
