//! The elements of a bucket.

use crate::Result;
use crate::communicator::Communicator;
use crate::error::same_length;
use crate::hook::{Hook, Statistics};
use crate::key::Key;
use candle_core::{CpuStorage, DType, Device, Shape, Storage, Tensor};
use std::ops::Range;

/// Gradients of a bucket: those of f64 parameters in double precision, all others in single precision.
#[derive(Debug)]
pub(super) enum Elements {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl Elements {
    pub(super) fn zeros(len: usize, is_double: bool) -> Self {
        if is_double { Self::Double(vec![0.; len]) } else { Self::Single(vec![0.; len]) }
    }

    /// Writes a gradient into the elements of this range, or adds it to them.
    pub(super) fn put(&mut self, range: Range<usize>, gradient: &Tensor, is_sum: bool) -> Result<()> {
        fn each<T: Copy + std::ops::Add<Output = T>>(elements: &mut [T], values: &[T], is_sum: bool) {
            let pairs = elements.iter_mut().zip(values);
            if is_sum {
                pairs.for_each(|(to, &value)| *to = *to + value)
            } else {
                pairs.for_each(|(to, &value)| *to = value)
            }
        }
        same_length("backward", "a gradient", gradient.elem_count(), range.len())?;
        let dtype = match self {
            Self::Single(_) => DType::F32,
            Self::Double(_) => DType::F64,
        };
        let gradient = gradient.to_device(&Device::Cpu)?.to_dtype(dtype)?.contiguous()?;
        let (storage, layout) = gradient.storage_and_layout();
        let start = layout.start_offset();
        match (&*storage, self) {
            (Storage::Cpu(CpuStorage::F32(values)), Self::Single(elements)) => {
                each(&mut elements[range], &values[start..], is_sum);
            }
            (Storage::Cpu(CpuStorage::F64(values)), Self::Double(elements)) => {
                each(&mut elements[range], &values[start..], is_sum);
            }
            _ => {
                let (operation, what, got) = ("backward", "a gradient", gradient.dtype());
                return Err(core_tensor::Error::DType { operation, what, got, expected: "floats on the CPU" }.into());
            }
        }
        Ok(())
    }

    /// Whether all elements of this range are zero.
    pub(super) fn is_zero(&self, range: Range<usize>) -> bool {
        match self {
            Self::Single(elements) => elements[range].iter().all(|&element| element == 0.),
            Self::Double(elements) => elements[range].iter().all(|&element| element == 0.),
        }
    }

    /// The elements of this range as a tensor; all of them without a copy.
    pub(super) fn take(&mut self, range: Range<usize>, shape: &Shape) -> Result<Tensor> {
        fn part<T: Clone>(elements: &mut Vec<T>, range: Range<usize>) -> Vec<T> {
            if range.len() == elements.len() { std::mem::take(elements) } else { elements[range].to_vec() }
        }
        Ok(match self {
            Self::Single(elements) => Tensor::from_vec(part(elements, range), shape, &Device::Cpu)?,
            Self::Double(elements) => Tensor::from_vec(part(elements, range), shape, &Device::Cpu)?,
        })
    }

    pub(super) fn reduce(
        &mut self,
        hook: &mut dyn Hook,
        key: &Key,
        communicator: &dyn Communicator,
    ) -> Result<Statistics> {
        match self {
            Self::Single(elements) => hook.reduce(elements, key, communicator),
            Self::Double(elements) => hook.reduce_f64(elements, key, communicator),
        }
    }
}
