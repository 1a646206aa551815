//! Masks by the names of parameters: which entries may differ from zero.

use super::{ParamStore, Parameters};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

/// For some parameters, which entries are kept (1) and which are zero for good (0).
///
/// Masks are data: they can be made from anything, stored, and applied to values or, in a [`Trainer`](crate::train::Trainer), to gradients and values of each step, so that what was
/// pruned stays zero whatever the optimiser keeps.
///
/// ```
/// # use candle_core::{DType, Device};
/// use core_tensor::{nn, params::{Masks, ParamStore}};
/// let store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// nn::linear(4, 2, store.var_builder().pp("head"))?;
/// // the larger half of each weight matrix
/// let masks = Masks::new(&store.select("*.weight")?, |_, weight| {
///     let mut values = weight.abs()?.flatten_all()?.to_vec1::<f32>()?;
///     values.sort_by(f32::total_cmp);
///     Ok(weight.abs()?.ge(values[values.len() / 2])?)
/// })?;
/// masks.apply(&store)?;
/// assert_eq!((masks.num_kept()?, masks.num_entries()), (4, 8));
/// # Ok::<(), core_tensor::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Masks {
    masks: BTreeMap<String, Tensor>,
}

impl Masks {
    /// A mask for each of some parameters: `keep(name, values)` is not zero where an entry is kept, in any dtype.
    ///
    /// # Errors
    /// Those of `keep`, and a mask of another shape than its parameter.
    pub fn new(parameters: &Parameters, mut keep: impl FnMut(&str, &Tensor) -> Result<Tensor>) -> Result<Self> {
        let mut masks = Self::default();
        for (name, var) in parameters {
            let mask = keep(name, &var.as_detached_tensor())?;
            if mask.shape() != var.shape() {
                return Err(Error::shape(
                    "Masks::new",
                    "a mask",
                    mask.shape(),
                    format!("{:?} like `{name}`", var.dims()),
                ));
            }
            masks.insert(name, &mask)?;
        }
        Ok(masks)
    }

    /// Sets the mask of one parameter: an entry is kept where `mask` is not zero.
    ///
    /// # Errors
    /// Those of Candle.
    pub fn insert(&mut self, name: &str, mask: &Tensor) -> Result<()> {
        let mask = mask.detach().ne(&mask.zeros_like()?)?.to_dtype(DType::U8)?;
        self.masks.insert(name.to_string(), mask);
        Ok(())
    }

    /// The mask of a parameter, u8 of 0 and 1.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.masks.get(name)
    }

    /// Names and masks, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.masks.iter().map(|(name, mask)| (name.as_str(), mask))
    }

    /// The number of masked parameters.
    pub fn len(&self) -> usize {
        self.masks.len()
    }

    /// Whether no parameter is masked.
    pub fn is_empty(&self) -> bool {
        self.masks.is_empty()
    }

    /// The number of entries of all masked parameters.
    pub fn num_entries(&self) -> usize {
        self.masks.values().map(Tensor::elem_count).sum()
    }

    /// The number of entries that are kept.
    ///
    /// # Errors
    /// Those of Candle.
    pub fn num_kept(&self) -> Result<usize> {
        let count = |mask: &Tensor| -> Result<usize> {
            Ok(mask.flatten_all()?.to_vec1::<u8>()?.into_iter().map(usize::from).sum())
        };
        self.masks.values().map(count).sum()
    }

    /// The share of entries that are zero, 0 without any masks.
    ///
    /// # Errors
    /// Those of Candle.
    pub fn sparsity(&self) -> Result<f64> {
        let entries = self.num_entries();
        Ok(if entries == 0 { 0. } else { 1. - self.num_kept()? as f64 / entries as f64 })
    }

    /// Sets what is not kept to zero, in place.
    ///
    /// # Errors
    /// A mask whose parameter the store does not have, or has with another shape.
    pub fn apply(&self, store: &ParamStore) -> Result<()> {
        let all = Parameters::from(store.vars());
        for at in self.positions("Masks::apply", &all)? {
            let (name, var) = &all[at];
            if let Some(masked) = self.product(name, &var.as_detached_tensor())? {
                var.set(&masked)?;
            }
        }
        Ok(())
    }

    /// The positions of the masked parameters in a list, each with its shape checked.
    pub(crate) fn positions(
        &self,
        operation: &'static str,
        parameters: &[(String, candle_core::Var)],
    ) -> Result<Vec<usize>> {
        let by_name: BTreeMap<&str, usize> =
            parameters.iter().enumerate().map(|(at, (name, _))| (name.as_str(), at)).collect();
        let mut positions = Vec::with_capacity(self.masks.len());
        for (name, mask) in &self.masks {
            let Some(&at) = by_name.get(name.as_str()) else {
                return Err(Error::Parameter {
                    name: name.clone(),
                    reason: "has a mask, but is not among the parameters".to_string(),
                });
            };
            let var = &parameters[at].1;
            if mask.shape() != var.shape() {
                let expected = format!("{:?} like `{name}`", var.dims());
                return Err(Error::shape(operation, "a mask", mask.shape(), expected));
            }
            positions.push(at);
        }
        Ok(positions)
    }

    /// `values` with zeros where the mask of `name` has them: also in place of NaN and infinity.
    pub(crate) fn product(&self, name: &str, values: &Tensor) -> Result<Option<Tensor>> {
        let Some(mask) = self.masks.get(name) else { return Ok(None) };
        let mask = mask.to_device(values.device())?;
        Ok(Some(mask.where_cond(values, &values.zeros_like()?)?))
    }

    /// Writes the masks to a safetensors file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        crate::checkpoint::write_tensors(path.as_ref(), &self.masks)
    }

    /// Masks from a file that [`Masks::save`] wrote.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let mut masks = Self::default();
        for (name, mask) in crate::checkpoint::read_tensors(path.as_ref())? {
            masks.insert(&name, &mask)?;
        }
        Ok(masks)
    }
}
