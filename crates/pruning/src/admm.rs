//! Pruning by the alternating direction method of multipliers.

use crate::{Error, Mask, Masks, Result};
use candle_core::{Tensor, Var};
use core_tensor::ops;
use std::collections::BTreeMap;

const OPERATION: &str = "Admm";

/// A structure: the mask of a parameter from its name, shape and magnitudes.
pub type AdmmStructure<'a> = dyn Fn(&str, &[usize], &[f64]) -> Result<Mask> + 'a;

/// Weights are drawn towards a structure while they are trained (Zhang et al., "A Systematic DNN Weight Pruning Framework using Alternating Direction Method of Multipliers", ECCV 2018): with `Z` the nearest weights
/// that have the structure and `U` the sum of what is left over, train the loss plus [`penalty`](Self::penalty) `ρ/2 Σ ‖W − Z + U‖²`, and every few epochs [`update`](Self::update) `Z ← Π(W + U)`,
/// `U ← U + W − Z`. At the end [`masks`](Self::masks) are those of the last `Z`; train on with them.
pub struct Admm {
    parameters: Vec<(String, Var)>,
    rho: f64,
    nearest: BTreeMap<String, Tensor>,
    left_over: BTreeMap<String, Tensor>,
    masks: Masks,
}

impl std::fmt::Debug for Admm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admm").field("rho", &self.rho).field("masks", &self.masks).finish_non_exhaustive()
    }
}

impl Admm {
    /// From weights as they are, with `U = 0`. `structure` is the mask of a parameter, from its name, shape and the magnitudes of `W + U`: those entries that are kept in the nearest weights with the structure.
    ///
    /// # Errors
    /// A ρ that is not above 0, no parameters, and those of the structure.
    pub fn new(parameters: Vec<(String, Var)>, rho: f64, structure: &AdmmStructure<'_>) -> Result<Self> {
        if !(rho.is_finite() && rho > 0.0) {
            return Err(Error::value(OPERATION, "ρ", rho, "a finite number above 0"));
        }
        if parameters.is_empty() {
            return Err(Error::invalid(OPERATION, "no parameters"));
        }
        let zeros = parameters.iter().map(|(name, var)| Ok((name.clone(), var.zeros_like()?.detach())));
        let left_over = zeros.collect::<Result<_>>()?;
        let mut own = Self { parameters, rho, nearest: BTreeMap::new(), left_over, masks: Masks::default() };
        own.project(structure)?;
        Ok(own)
    }

    fn project(&mut self, structure: &AdmmStructure<'_>) -> Result<()> {
        for (name, var) in &self.parameters {
            let wanted = (var.as_detached_tensor() + &self.left_over[name])?;
            let magnitudes: Vec<f64> = wanted.abs()?.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1()?;
            let mask = structure(name, var.dims(), &magnitudes)?;
            if mask.shape() != var.dims() {
                let (got, expected) = (mask.shape().to_vec(), var.dims().to_vec());
                let what = format!("the structure of `{name}`");
                return Err(Error::Shape { operation: OPERATION, what, got, expected });
            }
            let kept = mask.to_tensor()?.to_device(var.device())?;
            self.nearest.insert(name.clone(), kept.where_cond(&wanted, &wanted.zeros_like()?)?);
            self.masks.insert(name.clone(), mask);
        }
        Ok(())
    }

    /// `ρ/2 Σ ‖W − Z + U‖²`, to add to the loss.
    ///
    /// # Errors
    /// Those of the tensor layer.
    pub fn penalty(&self) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for (name, var) in &self.parameters {
            let target = (&self.nearest[name] - &self.left_over[name])?;
            let own = ops::sum_all(&ops::sqr(&ops::sub(var.as_tensor(), &target)?)?)?;
            sum = Some(match sum {
                Some(sum) => ops::add(&sum, &own)?,
                None => own,
            });
        }
        let sum = sum.ok_or_else(|| Error::invalid(OPERATION, "no parameters"))?;
        Ok(ops::affine(&sum, 0.5 * self.rho, 0.0)?)
    }

    /// `Z ← Π(W + U)`, `U ← U + W − Z`. The distance `‖W − Z‖ / ‖W‖` that is left comes back: near 0 the weights have the structure.
    ///
    /// # Errors
    /// Those of the structure and of Candle.
    pub fn update(&mut self, structure: &AdmmStructure<'_>) -> Result<f64> {
        self.project(structure)?;
        let square = |x: &Tensor| -> Result<f64> {
            Ok(x.sqr()?.sum_all()?.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?)
        };
        let (mut apart, mut all) = (0.0, 0.0);
        for (name, var) in &self.parameters {
            let own = var.as_detached_tensor();
            let difference = (&own - &self.nearest[name])?;
            (apart, all) = (apart + square(&difference)?, all + square(&own)?);
            let sum = (&self.left_over[name] + difference)?;
            self.left_over.insert(name.clone(), sum);
        }
        Ok(if all > 0.0 { (apart / all).sqrt() } else { 0.0 })
    }

    /// The masks of the nearest weights with the structure.
    pub fn masks(&self) -> &Masks {
        &self.masks
    }
}
