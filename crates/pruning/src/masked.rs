//! An optimiser under which what was pruned stays zero.

use crate::mask::Masks;
use crate::{Error, Result};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use core_tensor::optim::{Optimizer, OptimizerState};
use core_tensor::params::Parameters;
use std::collections::BTreeMap;

/// An optimiser with masks: gradients are masked before each step and weights after it, so that pruned entries stay exactly 0 whatever momentum and weight decay do, also those of AdamW.
///
/// ```
/// use candle_core::{DType, Device};
/// use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
/// use core_tensor::{nn, ops, params::ParamStore};
/// use candle_nn::Module;
/// use pruning::{MaskedOptimizer, Scope, Masks, iterative_round, scores};
/// let store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// let layer = nn::linear(8, 4, store.var_builder())?;
/// let prunable = Scope::matching("*").select(&store)?;
/// let masks = Masks::full(prunable.iter().map(|(name, var)| (name.as_str(), var.dims())));
/// let masks = iterative_round(&scores::magnitude(&prunable)?, &masks, 0.5, true)?;
/// let config = SgdConfig { learning_rate: 0.1, momentum: 0.9, weight_decay: 1e-4, ..SgdConfig::default() };
/// let mut optimizer = MaskedOptimizer::new(Sgd::new(store.trainable(), config)?, masks)?;
/// let x = candle_core::Tensor::ones((3, 8), DType::F32, &Device::Cpu)?;
/// for _ in 0..10 {
///     optimizer.backward_step(&ops::sum_all(&ops::sqr(&layer.forward(&x)?)?)?)?;
/// }
/// let zeros = layer.weight().flatten_all()?.to_vec1::<f32>()?.into_iter().filter(|w| *w == 0.0).count();
/// assert_eq!(zeros, 16);
/// # Ok::<(), pruning::Error>(())
/// ```
pub struct MaskedOptimizer<O> {
    optimizer: O,
    masks: Masks,
    /// Each masked parameter with its mask as a tensor.
    masked: Vec<(Var, Tensor)>,
}

impl<O> std::fmt::Debug for MaskedOptimizer<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MaskedOptimizer").field("masks", &self.masks).finish_non_exhaustive()
    }
}

impl<O: Optimizer> MaskedOptimizer<O> {
    /// Masks the optimiser's parameters, and sets what is not kept to zero.
    ///
    /// # Errors
    /// Masks of parameters that the optimiser does not have, or of other shapes.
    pub fn new(optimizer: O, masks: Masks) -> Result<Self> {
        let masked = Self::matched(&optimizer, &masks)?;
        let own = Self { optimizer, masks, masked };
        own.mask_weights()?;
        Ok(own)
    }

    fn matched(optimizer: &O, masks: &Masks) -> Result<Vec<(Var, Tensor)>> {
        const OPERATION: &str = "MaskedOptimizer";
        let by_name: BTreeMap<&String, &Var> = optimizer.parameters().iter().map(|(name, var)| (name, var)).collect();
        let of = |(name, mask): (&str, &crate::Mask)| -> Result<(Var, Tensor)> {
            let Some(&var) = by_name.get(&name.to_owned()) else {
                return Err(crate::mask::unknown(OPERATION, name, by_name.keys().copied()));
            };
            if var.dims() != mask.shape() {
                let (got, expected) = (mask.shape().to_vec(), var.dims().to_vec());
                return Err(Error::Shape {
                    operation: OPERATION,
                    what: format!("the mask of `{name}`"),
                    got,
                    expected,
                });
            }
            Ok((var.clone(), mask.to_tensor()?.to_device(var.device())?))
        };
        masks.iter().map(of).collect()
    }

    /// The masks.
    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    /// The optimiser.
    pub fn inner(&self) -> &O {
        &self.optimizer
    }

    /// Other masks from now on. Momentum and moments of entries that are not kept are cleared, so that an entry that comes back starts anew.
    ///
    /// # Errors
    /// As [`MaskedOptimizer::new`]. Nothing is changed then.
    pub fn set_masks(&mut self, masks: Masks) -> Result<()> {
        let masked = Self::matched(&self.optimizer, &masks)?;
        let mut state = self.optimizer.state()?;
        for (name, values) in &mut state.tensors {
            // `exp_avg.<parameter>` and the like
            let Some((_, parameter)) = name.split_once('.') else { continue };
            if let Some(mask) = masks.get(parameter) {
                let mask = mask.to_tensor()?.to_device(values.device())?;
                *values = mask.where_cond(values, &values.zeros_like()?)?;
            }
        }
        self.optimizer.load_state(&state)?;
        (self.masks, self.masked) = (masks, masked);
        self.mask_weights()
    }

    fn mask_weights(&self) -> Result<()> {
        for (var, mask) in &self.masked {
            let values = var.as_detached_tensor();
            var.set(&mask.where_cond(&values, &values.zeros_like()?)?)?;
        }
        Ok(())
    }

    fn mask_gradients(&self, grads: &mut GradStore) -> Result<()> {
        for (var, mask) in &self.masked {
            if let Some(gradient) = grads.remove(var) {
                grads.insert(var, mask.where_cond(&gradient, &gradient.zeros_like()?)?);
            }
        }
        Ok(())
    }
}

impl<O: Optimizer> Optimizer for MaskedOptimizer<O> {
    fn parameters(&self) -> &Parameters {
        self.optimizer.parameters()
    }

    fn step(&mut self, grads: &GradStore) -> core_tensor::Result<()> {
        // a store of one's own: those of Candle are made by a backward pass alone
        let none = Var::zeros((), DType::F32, &candle_core::Device::Cpu)?;
        let mut own = core_tensor::backward(&none)?;
        for (_, var) in self.optimizer.parameters() {
            if let Some(gradient) = grads.get(var) {
                own.insert(var, gradient.clone());
            }
        }
        self.mask_gradients(&mut own).map_err(candle_core::Error::from)?;
        self.optimizer.step(&own)?;
        Ok(self.mask_weights().map_err(candle_core::Error::from)?)
    }

    fn backward_step(&mut self, loss: &Tensor) -> core_tensor::Result<()> {
        let mut grads = core_tensor::backward(loss)?;
        self.mask_gradients(&mut grads).map_err(candle_core::Error::from)?;
        self.optimizer.step(&grads)?;
        Ok(self.mask_weights().map_err(candle_core::Error::from)?)
    }

    fn learning_rate(&self) -> f64 {
        self.optimizer.learning_rate()
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.optimizer.set_learning_rate(learning_rate);
    }

    /// The inner optimiser's state with the masks in it, as `mask.<parameter>`.
    fn state(&self) -> core_tensor::Result<OptimizerState> {
        let mut state = self.optimizer.state()?;
        for (name, mask) in self.masks.iter() {
            let mask = mask.to_tensor().map_err(candle_core::Error::from)?;
            state.tensors.insert(format!("mask.{name}"), mask);
        }
        Ok(state)
    }

    /// Continues with the masks that the state holds.
    ///
    /// # Errors
    /// Also a state without masks, where this optimiser has some: a resumed training would fill what was pruned.
    fn load_state(&mut self, state: &OptimizerState) -> core_tensor::Result<()> {
        let mut state = state.clone();
        let mut masks = Masks::default();
        for (name, tensor) in std::mem::take(&mut state.tensors) {
            match name.strip_prefix("mask.") {
                Some(parameter) => {
                    masks.insert(parameter, crate::Mask::from_tensor(&tensor).map_err(candle_core::Error::from)?)
                }
                None => {
                    state.tensors.insert(name, tensor);
                }
            }
        }
        if masks.is_empty() && !self.masks.is_empty() {
            let reason = Error::invalid("MaskedOptimizer::load_state", "the state has no masks, this optimiser has");
            return Err(candle_core::Error::from(reason).into());
        }
        let masked = Self::matched(&self.optimizer, &masks).map_err(candle_core::Error::from)?;
        self.optimizer.load_state(&state)?;
        (self.masks, self.masked) = (masks, masked);
        Ok(self.mask_weights().map_err(candle_core::Error::from)?)
    }
}
