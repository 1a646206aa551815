//! Averaging over ranks as a stage of a [`Trainer`](core_tensor::train::Trainer).

use super::DataParallel;
use crate::Error;
use core_tensor::train::{GradientHook, Gradients, Observer};

/// ```
/// use core_tensor::optim::{Sgd, SgdConfig};
/// use core_tensor::params::ParamStore;
/// use core_tensor::train::Trainer;
/// use distributed::{Communicator, DataParallel, DataParallelConfig, Launch, Result, launch};
/// use std::sync::Arc;
/// # use candle_core::{DType, Device, Module, Tensor};
/// let losses = launch(Launch::threads(2), |ranks: Arc<dyn Communicator>| -> Result<Option<f64>> {
///     let store = ParamStore::new(0, DType::F32, &Device::Cpu);
///     let layer = core_tensor::nn::linear(3, 1, store.var_builder())?;
///     let average = DataParallel::new(&store, ranks.clone(), DataParallelConfig::default())?;
///     let mut trainer = Trainer::new(Sgd::new(&store, SgdConfig::default())?).hook(average).clip_norm(1.)?;
///     // every rank has data of its own
///     let x = (Tensor::ones((4, 3), DType::F32, &Device::Cpu)? * (1. + ranks.rank() as f64))?;
///     let step = trainer.step(&layer.forward(&x)?.sqr()?.mean_all()?)?;
///     Ok(step.gradient_norm)
/// })?;
/// assert_eq!(losses[0], losses[1]);
/// # Ok::<(), distributed::Error>(())
/// ```
///
/// Its errors arrive as [`core_tensor::Error::Hook`], which `?` turns into [`Error`] again where a function returns that. Accumulated gradients
/// ([`Trainer::accumulate`](core_tensor::train::Trainer::accumulate)) are averaged with the step's own, at its end.
impl GradientHook for DataParallel {
    fn observer(&mut self) -> core_tensor::Result<Option<Observer>> {
        if !self.config.overlap {
            return Ok(None);
        }
        let observer = self.start().map_err(|error| core_tensor::Error::Hook(Box::new(error)))?;
        Ok(Some(Box::new(observer)))
    }

    fn apply(&mut self, gradients: &mut Gradients<'_>) -> core_tensor::Result<()> {
        self.complete(gradients.store_mut()).map_err(|error| core_tensor::Error::Hook(Box::new(error)))
    }

    fn abandon(&mut self, error: &core_tensor::Error) {
        self.give_up(error);
    }
}

impl From<core_tensor::Error> for Error {
    fn from(error: core_tensor::Error) -> Self {
        match error {
            core_tensor::Error::Hook(source) => match source.downcast::<Self>() {
                Ok(own) => *own,
                Err(source) => Self::Core(std::sync::Arc::new(core_tensor::Error::Hook(source))),
            },
            other => Self::Core(std::sync::Arc::new(other)),
        }
    }
}
