//! Batch normalisation by the statistics of all ranks.

use crate::communicator::Communicator;
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Shape, Tensor, Var};
use candle_nn::{Init, VarBuilder};
use core_tensor::Mode;
use core_tensor::nn::BatchNormConfig;
use core_tensor::params::buffer;
use std::sync::Arc;

/// Batch normalisation of `[n, channels]` or `[n, channels, …]` whose batch is that of all ranks together, as `torch.nn.SyncBatchNorm`: `y = (x − mean) / √(variance + eps) · weight + bias` with the mean and
/// the biased variance over all elements of a channel on all ranks. Gradients flow through these statistics to the inputs of all ranks. The names of parameters and buffers are those of
/// [`BatchNorm`](core_tensor::nn::BatchNorm), so that checkpoints of one can be loaded by the other; batches may have different sizes.
///
/// Every rank must call it in the same order, in training and in the backward pass. Since it communicates in both, gradients cannot be exchanged meanwhile: set
/// [`DataParallelConfig::overlap`](crate::DataParallelConfig) to false. The loss of each rank must be the mean over its own batch, as always with [`DataParallel`](crate::DataParallel).
#[derive(Clone)]
pub struct SyncBatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Var,
    running_var: Var,
    config: BatchNormConfig,
    communicator: Arc<dyn Communicator>,
}

impl std::fmt::Debug for SyncBatchNorm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncBatchNorm").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A layer with the parameters `weight` and `bias`, unless it is not affine, and the buffers `running_mean` and `running_var`.
///
/// # Errors
///
/// When the parameters exist with other shapes, or the momentum is not from 0 to 1, or eps is not above 0.
pub fn sync_batch_norm(
    channels: usize,
    config: BatchNormConfig,
    communicator: Arc<dyn Communicator>,
    vb: VarBuilder<'_>,
) -> Result<SyncBatchNorm> {
    let is_valid = (0. ..=1.).contains(&config.momentum) && config.eps > 0. && config.eps.is_finite();
    if !is_valid {
        return Err(Error::config("batch norm", format!("{config:?} is outside its range")));
    }
    let (weight, bias) = if config.is_affine {
        let weight = vb.get_with_hints(channels, "weight", Init::Const(1.))?;
        (weight, vb.get_with_hints(channels, "bias", Init::Const(0.))?)
    } else {
        let weight = Tensor::ones(channels, vb.dtype(), vb.device())?;
        (weight, Tensor::zeros(channels, vb.dtype(), vb.device())?)
    };
    let running_mean = Var::from_tensor(&buffer(&vb, channels, "running_mean", Init::Const(0.))?)?;
    let running_var = Var::from_tensor(&buffer(&vb, channels, "running_var", Init::Const(1.))?)?;
    Ok(SyncBatchNorm { weight, bias, running_mean, running_var, config, communicator })
}

impl SyncBatchNorm {
    /// The running mean, `[channels]`.
    pub fn running_mean(&self) -> &Tensor {
        self.running_mean.as_tensor()
    }

    /// The running unbiased variance, `[channels]`.
    pub fn running_var(&self) -> &Tensor {
        self.running_var.as_tensor()
    }

    /// Normalises as `mode` says: by the statistics of the batches of all ranks or by the running ones, which move or stay. All ranks must call it in the same mode.
    ///
    /// # Errors
    ///
    /// When `x` is not `[n, channels, …]`, all ranks together have less than 2 elements a channel and their statistics are needed, or communication fails.
    pub fn forward(&self, x: &Tensor, mode: &Mode<'_>) -> Result<Tensor> {
        let channels = self.running_mean.elem_count();
        if x.rank() < 2 || x.dim(1)? != channels {
            let reason = format!("the input is {:?}, expected [n, {channels}, …]", x.dims());
            return Err(Error::config("batch norm", reason));
        }
        let mut statistics = None;
        if mode.uses_batch_statistics || mode.updates_statistics {
            let (mean, variance, count) = self.statistics(x)?;
            if mode.updates_statistics {
                let unbiased = (variance.detach() * (count / (count - 1.)))?;
                for (running, new) in [(&self.running_mean, mean.detach()), (&self.running_var, unbiased)] {
                    let momentum = self.config.momentum;
                    running.set(&((running.as_detached_tensor() * (1. - momentum))? + (new * momentum)?)?)?;
                }
            }
            statistics = mode.uses_batch_statistics.then_some((mean, variance));
        }
        let (mean, variance) = match statistics {
            Some(statistics) => statistics,
            None => (self.running_mean.as_detached_tensor(), self.running_var.as_detached_tensor()),
        };
        let shape = channel_shape(x, channels);
        let scale = (self.weight.broadcast_div(&(variance + self.config.eps)?.sqrt()?)?).reshape(shape.as_slice())?;
        let y = x.broadcast_sub(&mean.reshape(shape.as_slice())?)?.broadcast_mul(&scale)?;
        Ok(y.broadcast_add(&self.bias.reshape(shape.as_slice())?)?)
    }

    /// Mean and biased variance of each channel over all ranks, and the number of elements of a channel.
    fn statistics(&self, x: &Tensor) -> Result<(Tensor, Tensor, f64)> {
        let channels = self.running_mean.elem_count();
        let own = (x.elem_count() / channels.max(1)) as f64;
        let mut count = [own];
        self.communicator.allreduce_sum_f64(&mut count)?;
        let count = count[0];
        if count < 2. {
            let reason = format!("{count} elements a channel on all ranks, expected at least 2");
            return Err(Error::config("batch norm", reason));
        }
        let sum = |x: &Tensor| -> Result<Tensor> {
            let by_channel = x.transpose(0, 1)?.flatten_from(1)?.sum(1)?;
            Ok(by_channel.apply_op1(AllSum(self.communicator.clone()))?)
        };
        let mean = (sum(x)? / count)?;
        // the second pass is about the mean, so that nothing cancels
        let centred = x.broadcast_sub(&mean.reshape(channel_shape(x, channels).as_slice())?)?;
        let variance = (sum(&centred.sqr()?)? / count)?;
        Ok((mean, variance, count))
    }
}

/// `[1, channels, 1, …]`.
fn channel_shape(x: &Tensor, channels: usize) -> Vec<usize> {
    (0..x.rank()).map(|dim| if dim == 1 { channels } else { 1 }).collect()
}

/// The sum of a tensor over ranks; its gradient is the sum of the gradients over ranks.
struct AllSum(Arc<dyn Communicator>);

impl AllSum {
    fn sum(&self, values: &mut [f64]) -> candle_core::Result<()> {
        self.0.allreduce_sum_f64(values).map_err(candle_core::Error::wrap)
    }
}

impl CustomOp1 for AllSum {
    fn name(&self) -> &'static str {
        "sum-over-ranks"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            return Err(candle_core::Error::RequiresContiguous { op: "sum-over-ranks" });
        };
        let storage = match storage {
            CpuStorage::F32(values) => {
                let mut sums: Vec<f64> = values[start..end].iter().map(|&value| f64::from(value)).collect();
                self.sum(&mut sums)?;
                CpuStorage::F32(sums.into_iter().map(|sum| sum as f32).collect())
            }
            CpuStorage::F64(values) => {
                let mut sums = values[start..end].to_vec();
                self.sum(&mut sums)?;
                CpuStorage::F64(sums)
            }
            other => {
                let dtype = candle_core::backend::BackendStorage::dtype(other);
                return Err(candle_core::Error::UnsupportedDTypeForOp(dtype, "sum-over-ranks"));
            }
        };
        Ok((storage, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let own = gradient.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        let mut sums = own.flatten_all()?.to_vec1::<f64>()?;
        self.sum(&mut sums)?;
        let sum = Tensor::from_vec(sums, gradient.shape(), &Device::Cpu)?;
        Ok(Some(sum.to_dtype(gradient.dtype())?.to_device(gradient.device())?))
    }
}
