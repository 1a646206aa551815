//! Which entries of parameters are kept.

use crate::{Error, Result, plain_file};
use candle_core::{DType, Device, Tensor, Var};
use core_tensor::params::ParamStore;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Which entries of one parameter are kept (1) and which are zero for good (0), on the host.
///
/// A weight `[O, I, kh, kw]` or `[O, I]` is a matrix of O rows, one for each output, and `C = I · kh · kw` columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    shape: Vec<usize>,
    kept: Vec<u8>,
}

impl Mask {
    /// A mask from its entries in row-major order.
    ///
    /// # Errors
    /// Another number of entries than the shape has or than can be counted, or an entry other than 0 and 1.
    pub fn new(shape: &[usize], kept: Vec<u8>) -> Result<Self> {
        const OPERATION: &str = "Mask::new";
        // also what has no entry must have a size for each of its extents
        if shape.iter().filter(|&&extent| extent > 0).try_fold(1usize, |all, &extent| all.checked_mul(extent)).is_none()
        {
            return Err(Error::invalid(OPERATION, format!("a mask of shape {shape:?}: too many entries")));
        }
        let expected = shape.iter().product();
        if kept.len() != expected {
            return Err(Error::length(OPERATION, format!("a mask of shape {shape:?}"), kept.len(), expected));
        }
        if let Some(at) = kept.iter().position(|&entry| entry > 1) {
            return Err(Error::value(OPERATION, format!("entry {at} of a mask"), f64::from(kept[at]), "0 or 1"));
        }
        Ok(Self { shape: shape.to_vec(), kept })
    }

    /// A mask that keeps everything.
    pub fn full(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), kept: vec![1; shape.iter().product()] }
    }

    /// A mask that keeps nothing.
    pub fn empty(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), kept: vec![0; shape.iter().product()] }
    }

    /// A mask from a tensor: kept where it is not zero.
    ///
    /// # Errors
    /// Those of Candle.
    pub fn from_tensor(mask: &Tensor) -> Result<Self> {
        let kept = mask.detach().ne(&mask.zeros_like()?)?.to_dtype(DType::U8)?.flatten_all()?.to_vec1::<u8>()?;
        Ok(Self { shape: mask.dims().to_vec(), kept })
    }

    /// The mask as a tensor of u8.
    ///
    /// # Errors
    /// Those of Candle.
    pub fn to_tensor(&self) -> Result<Tensor> {
        Ok(Tensor::from_slice(&self.kept, self.shape.as_slice(), &Device::Cpu)?)
    }

    /// The shape of the parameter.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The entries, 0 or 1, in row-major order.
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Outputs: the extent of the first dimension.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Entries of an output.
    pub fn columns(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether the parameter has no entry.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Number of entries that are kept.
    pub fn count(&self) -> usize {
        self.kept.iter().map(|&entry| usize::from(entry)).sum()
    }

    /// The share of entries that is kept; 1 for a parameter without entries.
    pub fn density(&self) -> f64 {
        if self.kept.is_empty() { 1.0 } else { self.count() as f64 / self.kept.len() as f64 }
    }

    /// Kept entries of each output.
    pub fn row_counts(&self) -> Vec<usize> {
        let columns = self.columns();
        let of = |row: usize| self.kept[row * columns..][..columns].iter().map(|&entry| usize::from(entry)).sum();
        (0..self.rows()).map(of).collect()
    }

    fn combined(&self, other: &Self, what: impl Fn(u8, u8) -> u8) -> Result<Self> {
        if self.shape != other.shape {
            let (got, expected) = (other.shape.clone(), self.shape.clone());
            return Err(Error::Shape { operation: "Mask", what: "the other mask".into(), got, expected });
        }
        let kept = self.kept.iter().zip(&other.kept).map(|(&a, &b)| what(a, b)).collect();
        Ok(Self { shape: self.shape.clone(), kept })
    }

    /// What both keep.
    ///
    /// # Errors
    /// Another shape.
    pub fn and(&self, other: &Self) -> Result<Self> {
        self.combined(other, |a, b| a & b)
    }

    /// What one of both keeps.
    ///
    /// # Errors
    /// Another shape.
    pub fn or(&self, other: &Self) -> Result<Self> {
        self.combined(other, |a, b| a | b)
    }

    /// What this one keeps and the other does not.
    ///
    /// # Errors
    /// Another shape.
    pub fn minus(&self, other: &Self) -> Result<Self> {
        self.combined(other, |a, b| a & (1 - b))
    }
}

/// Masks by the names of parameters, in the order of the names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masks {
    masks: BTreeMap<String, Mask>,
}

impl FromIterator<(String, Mask)> for Masks {
    fn from_iter<T: IntoIterator<Item = (String, Mask)>>(masks: T) -> Self {
        Self { masks: masks.into_iter().collect() }
    }
}

impl Masks {
    /// Masks that keep everything of some parameters.
    pub fn full<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Self {
        parameters.into_iter().map(|(name, shape)| (name.to_owned(), Mask::full(shape))).collect()
    }

    /// Sets the mask of a parameter.
    pub fn insert(&mut self, name: impl Into<String>, mask: Mask) {
        self.masks.insert(name.into(), mask);
    }

    /// The mask of a parameter.
    pub fn get(&self, name: &str) -> Option<&Mask> {
        self.masks.get(name)
    }

    /// Names and masks, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Mask)> {
        self.masks.iter().map(|(name, mask)| (name.as_str(), mask))
    }

    /// Number of masked parameters.
    pub fn len(&self) -> usize {
        self.masks.len()
    }

    /// Whether no parameter is masked.
    pub fn is_empty(&self) -> bool {
        self.masks.is_empty()
    }

    /// Number of entries of all masked parameters.
    pub fn num_entries(&self) -> usize {
        self.masks.values().map(Mask::len).sum()
    }

    /// Number of entries that are kept.
    pub fn count(&self) -> usize {
        self.masks.values().map(Mask::count).sum()
    }

    /// The share of entries that is kept, of all masked parameters together; 1 without any.
    pub fn density(&self) -> f64 {
        let entries = self.num_entries();
        if entries == 0 { 1.0 } else { self.count() as f64 / entries as f64 }
    }

    fn combined(&self, other: &Self, what: impl Fn(&Mask, &Mask) -> Result<Mask>) -> Result<Self> {
        if let Some(name) = other.masks.keys().find(|name| !self.masks.contains_key(*name)) {
            return Err(unknown("Masks", name, self.masks.keys()));
        }
        let masks = self.masks.iter().map(|(name, mask)| match other.masks.get(name) {
            Some(other) => Ok((name.clone(), what(mask, other)?)),
            None => Err(unknown("Masks", name, other.masks.keys())),
        });
        masks.collect()
    }

    /// What both keep, parameter by parameter.
    ///
    /// # Errors
    /// Other names or shapes.
    pub fn and(&self, other: &Self) -> Result<Self> {
        self.combined(other, Mask::and)
    }

    /// What one of both keeps.
    ///
    /// # Errors
    /// Other names or shapes.
    pub fn or(&self, other: &Self) -> Result<Self> {
        self.combined(other, Mask::or)
    }

    /// What this one keeps and the other does not.
    ///
    /// # Errors
    /// Other names or shapes.
    pub fn minus(&self, other: &Self) -> Result<Self> {
        self.combined(other, Mask::minus)
    }

    /// The masks in the form that a [`Trainer`](core_tensor::train::Trainer) takes: gradients masked before each step, values after it.
    ///
    /// # Errors
    /// Those of Candle.
    pub fn for_trainer(&self) -> Result<core_tensor::params::Masks> {
        let mut masks = core_tensor::params::Masks::default();
        for (name, mask) in &self.masks {
            masks.insert(name, &mask.to_tensor()?)?;
        }
        Ok(masks)
    }

    /// Sets what is not kept to zero in a store, in place; NaN and infinity too.
    ///
    /// # Errors
    /// A parameter that the store does not have, or has with another shape. Nothing is changed then.
    pub fn apply(&self, store: &ParamStore) -> Result<()> {
        self.apply_to(&store.vars())
    }

    /// The same for variables by name.
    ///
    /// # Errors
    /// As [`Masks::apply`].
    pub fn apply_to(&self, vars: &[(String, Var)]) -> Result<()> {
        const OPERATION: &str = "Masks::apply";
        let by_name: HashMap<&str, &Var> = vars.iter().map(|(name, var)| (name.as_str(), var)).collect();
        let mut found = Vec::with_capacity(self.masks.len());
        for (name, mask) in &self.masks {
            let Some(&var) = by_name.get(name.as_str()) else {
                return Err(unknown(OPERATION, name, vars.iter().map(|(name, _)| name)));
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
            found.push((var, mask));
        }
        for (var, mask) in found {
            let values = var.as_detached_tensor();
            let mask = mask.to_tensor()?.to_device(values.device())?;
            var.set(&mask.where_cond(&values, &values.zeros_like()?)?)?;
        }
        Ok(())
    }

    /// The same for candle's `VarMap`.
    ///
    /// # Errors
    /// As [`Masks::apply`].
    pub fn apply_to_var_map(&self, map: &candle_nn::VarMap) -> Result<()> {
        let vars: Vec<(String, Var)> = match map.data().lock() {
            Ok(data) => data.iter().map(|(name, var)| (name.clone(), var.clone())).collect(),
            Err(_) => {
                return Err(Error::invalid("Masks::apply_to_var_map", "another thread failed while it held the map"));
            }
        };
        self.apply_to(&vars)
    }

    /// Writes the masks to a safetensors file of u8, with the names that are prunable in the metadata under `scope`.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let failed = |reason: &dyn std::fmt::Display| plain_file::error(path, reason);
        let views = self
            .masks
            .iter()
            .map(|(name, mask)| {
                let view = safetensors::tensor::TensorView::new(safetensors::Dtype::U8, mask.shape.clone(), &mask.kept);
                Ok((name.clone(), view.map_err(|error| failed(&error))?))
            })
            .collect::<Result<Vec<_>>>()?;
        let scope = self.masks.keys().cloned().collect::<Vec<_>>().join("\n");
        let metadata = HashMap::from([("scope".to_owned(), scope)]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| failed(&error))?;
        plain_file::write(path, &bytes)
    }

    /// Reads what [`Masks::save`] wrote.
    ///
    /// # Errors
    /// A file that cannot be read (a pipe or a device is not), is damaged, or holds something else than 0 and 1.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(&plain_file::read(path)?).map_err(|error| plain_file::error(path, &error))
    }

    /// The masks in the bytes of a file.
    ///
    /// # Errors
    /// As [`Masks::load`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        const OPERATION: &str = "Masks::parse";
        let file = safetensors::SafeTensors::deserialize(bytes)
            .map_err(|error| Error::invalid(OPERATION, error.to_string()))?;
        let masks = file.iter().map(|(name, view)| {
            if view.dtype() != safetensors::Dtype::U8 {
                return Err(Error::invalid(OPERATION, format!("`{name}` holds {:?}, but masks hold u8", view.dtype())));
            }
            Ok((name.to_owned(), Mask::new(view.shape(), view.data().to_vec())?))
        });
        masks.collect()
    }
}

/// An unknown name, with the one that there is which goes on where it ends (`conv2` for `conv2.weight`), or the most similar one.
pub(crate) fn unknown<'a>(operation: &'static str, name: &str, known: impl IntoIterator<Item = &'a String>) -> Error {
    let goes_on = |known: &str| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    let key = |known: &&String| match goes_on(known) {
        // a layer is meant by its weight
        true => (false, usize::from(!known.ends_with(".weight"))),
        false => (true, distance(name, known)),
    };
    let nearest = known.into_iter().min_by_key(key).cloned();
    let is_near = nearest.as_ref().is_some_and(|near| goes_on(near) || distance(name, near) <= name.len() / 3 + 1);
    Error::UnknownParameter { operation, name: name.to_owned(), nearest: nearest.filter(|_| is_near) }
}

/// Letters that must be inserted, deleted or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
