//! The parameters of a model: named, ordered, and reproducible.

mod masks;
mod parameters;
pub(crate) mod pattern;

pub use masks::Masks;
pub use parameters::Parameters;

use crate::init::Init;
use crate::random::Rng;
use crate::{Error, Result};
use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

thread_local! {
    /// Whether what a layer asks for at this moment is a buffer; see [`buffer`].
    static IS_BUFFER: Cell<bool> = const { Cell::new(false) };
}

/// A value that a layer keeps and does not train, such as a running mean: [`ParamStore::trainable`] leaves it out, checkpoints hold it. With another source of parameters than a
/// [`ParamStore`] this is `vb.get_with_hints`.
///
/// # Errors
///
/// As for [`VarBuilder::get_with_hints`].
pub fn buffer(vb: &VarBuilder<'_>, shape: impl Into<Shape>, name: &str, init: candle_nn::Init) -> Result<Tensor> {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            IS_BUFFER.set(self.0);
        }
    }
    let _restore = Restore(IS_BUFFER.replace(true));
    Ok(vb.get_with_hints(shape.into(), name, init)?)
}

/// All parameters of a model by full name, in the order of their names.
///
/// Layers ask for parameters through [`ParamStore::var_builder`], which creates each on first use. Its initial values depend
/// on the seed of the store, its full name, its shape and its initialisation only: never on the order of creation, on the
/// device, or on what else there is. Clones are handles to the same parameters; [`ParamStore::deep_copy`] copies them.
///
/// What a layer keeps but does not train are *buffers*: layers of this crate declare them ([`buffer`]); for others, such as batch norms of candle-nn, call
/// [`ParamStore::declare_buffers`]. Patterns are names with `*` for any characters and `?` for one.
///
/// ```
/// # use candle_core::{DType, Device};
/// use core_tensor::{nn, params::ParamStore};
/// let store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// let layer = nn::linear(3, 2, store.var_builder().pp("classifier"))?;
/// assert_eq!(store.vars()[0].0, "classifier.bias");
/// assert_eq!(store.num_parameters(), 3 * 2 + 2);
/// # Ok::<(), core_tensor::Error>(())
/// ```
#[derive(Clone)]
pub struct ParamStore {
    shared: Arc<Shared>,
    /// Whether layers get tensors without a tape.
    is_view: bool,
}

struct Shared {
    rng: Rng,
    dtype: DType,
    device: Device,
    entries: Mutex<BTreeMap<String, Entry>>,
}

struct Entry {
    var: Var,
    is_buffer: bool,
    is_frozen: Arc<AtomicBool>,
}

impl Entry {
    fn new(var: Var, is_buffer: bool) -> Self {
        Self { var, is_buffer, is_frozen: Arc::new(AtomicBool::new(false)) }
    }
}

impl ParamStore {
    /// An empty store whose parameters will be of type `dtype` on `device`.
    pub fn new(seed: u64, dtype: DType, device: &Device) -> Self {
        let shared =
            Shared { rng: Rng::new(seed), dtype, device: device.clone(), entries: Mutex::new(BTreeMap::new()) };
        Self { shared: Arc::new(shared), is_view: false }
    }

    /// The source of parameters for layers, those of candle-nn too.
    ///
    /// A parameter that is asked for twice is the same. Asking for it with another shape is an error; asking with another
    /// dtype gives a converted tensor through which gradients flow.
    pub fn var_builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), self.shared.dtype, self.shared.device.clone())
    }

    /// The source of parameters for a frozen view of a model: layers get the values of this store, including later changes, but no gradient is computed for them. For attacks on a model, teachers
    /// and everything else that differentiates by inputs alone; see also [`train::input_gradient`](crate::train::input_gradient). Buffers stay shared and can be updated.
    pub fn frozen_var_builder(&self) -> VarBuilder<'static> {
        let view = Self { shared: self.shared.clone(), is_view: true };
        VarBuilder::from_backend(Box::new(view), self.shared.dtype, self.shared.device.clone())
    }

    /// The parameter `name`, created with `init` if there is none yet.
    ///
    /// # Errors
    ///
    /// When it exists with another shape, or `init` does not work for this shape.
    pub fn get_with(&self, name: &str, shape: impl Into<Shape>, init: impl Into<Init>) -> Result<Tensor> {
        self.get_or_create(name, shape.into(), init.into(), self.shared.dtype)
    }

    fn get_or_create(&self, name: &str, shape: Shape, init: Init, dtype: DType) -> Result<Tensor> {
        let mut entries = self.lock();
        if !entries.contains_key(name) {
            let values = init.tensor(shape.clone(), dtype, &self.shared.device, &mut self.shared.rng.fork(name))?;
            entries.insert(name.to_string(), Entry::new(Var::from_tensor(&values)?, IS_BUFFER.get()));
        }
        let entry = &entries[name];
        if entry.var.shape() != &shape {
            let reason = format!("exists with shape {:?}, asked for with {:?}", entry.var.dims(), shape.dims());
            return Err(Error::Parameter { name: name.to_string(), reason });
        }
        let tensor = self.tensor(entry);
        if tensor.dtype() == dtype { Ok(tensor) } else { Ok(tensor.to_dtype(dtype)?) }
    }

    /// What a layer gets: on the tape, unless this is a frozen view. Buffers are no part of any tape that counts, and layers update them.
    fn tensor(&self, entry: &Entry) -> Tensor {
        let is_detached = self.is_view && !entry.is_buffer;
        if is_detached { entry.var.as_detached_tensor() } else { entry.var.as_tensor().clone() }
    }

    /// All parameters and buffers, ordered by name.
    pub fn vars(&self) -> Vec<(String, Var)> {
        self.lock().iter().map(|(name, entry)| (name.clone(), entry.var.clone())).collect()
    }

    fn parameters(&self, is_chosen: impl Fn(&str, &Entry) -> bool) -> Parameters {
        let entries = self.lock();
        let chosen = entries.iter().filter(|(name, entry)| is_chosen(name, entry));
        Parameters::new(chosen.map(|(name, entry)| (name.clone(), entry.var.clone(), Some(entry.is_frozen.clone()))))
    }

    /// The parameters that an optimiser changes, ordered by name: all but buffers and what is frozen.
    pub fn trainable(&self) -> Parameters {
        self.parameters(|_, entry| !entry.is_buffer && !entry.is_frozen.load(Ordering::Relaxed))
    }

    /// The parameters, frozen or not, whose names match a pattern: `encoder.*`, `*.bias`. Ordered by name, without buffers.
    ///
    /// # Errors
    ///
    /// When none matches.
    pub fn select(&self, pattern: &str) -> Result<Parameters> {
        let chosen = self.parameters(|name, entry| !entry.is_buffer && pattern::matches(pattern, name));
        pattern::at_least_one(pattern, chosen.len(), &self.names())?;
        Ok(chosen)
    }

    /// Keeps the parameters whose names match as they are: optimisers pass over them from now on, those that exist already too, whatever gradients there are. Returns how many match.
    ///
    /// Their gradients are still computed where the model was built from [`Self::var_builder`]; build it from [`Self::frozen_var_builder`] to save that.
    ///
    /// # Errors
    ///
    /// When none matches.
    pub fn freeze(&self, pattern: &str) -> Result<usize> {
        self.set_frozen(pattern, true)
    }

    /// Undoes [`Self::freeze`].
    ///
    /// # Errors
    ///
    /// When none matches.
    pub fn unfreeze(&self, pattern: &str) -> Result<usize> {
        self.set_frozen(pattern, false)
    }

    fn set_frozen(&self, pattern: &str, is_frozen: bool) -> Result<usize> {
        self.mark(pattern, |entry| entry.is_frozen.store(is_frozen, Ordering::Relaxed))
    }

    /// Declares the values whose names match as buffers: for layers that cannot say so themselves. Returns how many match.
    ///
    /// # Errors
    ///
    /// When none matches; build the model first.
    pub fn declare_buffers(&self, pattern: &str) -> Result<usize> {
        self.mark(pattern, |entry| entry.is_buffer = true)
    }

    fn mark(&self, pattern: &str, mut mark: impl FnMut(&mut Entry)) -> Result<usize> {
        let mut count = 0;
        for (_, entry) in self.lock().iter_mut().filter(|(name, _)| pattern::matches(pattern, name)) {
            mark(entry);
            count += 1;
        }
        pattern::at_least_one(pattern, count, &self.names())
    }

    fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// A store of its own with copies of all values. Models built from one do not see the other: build a second model from the copy.
    ///
    /// # Errors
    ///
    /// When a device runs out of memory.
    pub fn deep_copy(&self) -> Result<Self> {
        let shared = Shared {
            rng: self.shared.rng.clone(),
            dtype: self.shared.dtype,
            device: self.shared.device.clone(),
            entries: Mutex::new(BTreeMap::new()),
        };
        let copy = Self { shared: Arc::new(shared), is_view: false };
        for (name, entry) in self.lock().iter() {
            let var = Var::from_tensor(&entry.var.as_detached_tensor().copy()?)?;
            let is_frozen = Arc::new(AtomicBool::new(entry.is_frozen.load(Ordering::Relaxed)));
            copy.lock().insert(name.clone(), Entry { var, is_buffer: entry.is_buffer, is_frozen });
        }
        Ok(copy)
    }

    /// The number of trainable scalars.
    pub fn num_parameters(&self) -> usize {
        self.trainable().iter().map(|(_, var)| var.elem_count()).sum()
    }

    /// The element type of new parameters.
    pub fn dtype(&self) -> DType {
        self.shared.dtype
    }

    /// Where the parameters are.
    pub fn device(&self) -> &Device {
        &self.shared.device
    }

    /// Overwrites the values of one parameter, in place: every layer that uses it sees them.
    ///
    /// # Errors
    ///
    /// When there is no such parameter, or the shape or dtype differs.
    pub fn set(&self, name: &str, values: &Tensor) -> Result<()> {
        let values = BTreeMap::from([(name.to_string(), values.clone())]);
        self.restore_those("ParamStore::set", &values, |_| false)
    }

    /// Copies of all values, detached from the tape, for [`Self::restore`].
    ///
    /// # Errors
    ///
    /// When a device runs out of memory.
    pub fn snapshot(&self) -> Result<BTreeMap<String, Tensor>> {
        self.lock().iter().map(|(name, entry)| Ok((name.clone(), entry.var.as_detached_tensor().copy()?))).collect()
    }

    /// Overwrites all values, in place.
    ///
    /// # Errors
    ///
    /// When `snapshot` has not exactly the names, shapes and dtypes of this store. Nothing is changed then.
    pub fn restore(&self, snapshot: &BTreeMap<String, Tensor>) -> Result<()> {
        self.restore_those("snapshot", snapshot, |_| true)
    }

    /// Overwrites the values whose names match a pattern, in place, and returns how many there are; other entries of `values` are passed over. To rename, make a map of your own, for instance from
    /// [`read_tensors`](crate::checkpoint::read_tensors).
    ///
    /// # Errors
    ///
    /// When none matches, or a value that matches is missing or has another shape or dtype. Nothing is changed then.
    pub fn restore_part(&self, values: &BTreeMap<String, Tensor>, pattern: &str) -> Result<usize> {
        self.restore_matching("values", values, pattern)
    }

    fn restore_matching(&self, source: &str, values: &BTreeMap<String, Tensor>, pattern: &str) -> Result<usize> {
        let names = self.names();
        let count = names.iter().filter(|name| pattern::matches(pattern, name)).count();
        pattern::at_least_one(pattern, count, &names)?;
        let is_wanted = |name: &String| pattern::matches(pattern, name) && names.binary_search(name).is_ok();
        let chosen =
            values.iter().filter(|(name, _)| is_wanted(name)).map(|(name, value)| (name.clone(), value.clone()));
        self.restore_those(source, &chosen.collect(), |name| pattern::matches(pattern, name))?;
        Ok(count)
    }

    /// Writes all values to a safetensors file: first beside it, then renamed, so that `path` never holds half a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        crate::checkpoint::write_tensors(path.as_ref(), &self.snapshot()?)
    }

    /// Overwrites all values with those of a safetensors file, in place. Build the model first. A state dict that PyTorch saved loads when
    /// the names are the same; its `num_batches_tracked` are passed over.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or has not exactly the names, shapes and dtypes of this store; every difference is
    /// listed. Nothing is changed then.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let tensors = crate::checkpoint::read_tensors(path)?;
        self.restore_those(&path.display().to_string(), &tensors, |_| true)
    }

    /// Overwrites the values whose names match a pattern with those of a safetensors file, in place, and returns how many there are: a backbone without its head, say. What else is in the file is
    /// passed over.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, and as for [`Self::restore_part`].
    pub fn load_part(&self, path: impl AsRef<Path>, pattern: &str) -> Result<usize> {
        let path = path.as_ref();
        self.restore_matching(&path.display().to_string(), &crate::checkpoint::read_tensors(path)?, pattern)
    }

    /// Sets values, all of which must be known; names for which `is_needed` holds must be among them.
    fn restore_those(
        &self,
        source: &str,
        values: &BTreeMap<String, Tensor>,
        is_needed: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let entries = self.lock();
        let mut problems = Vec::new();
        for (name, value) in values {
            match entries.get(name).map(|entry| &entry.var) {
                // PyTorch's batch norms count batches; ours have no use for the number.
                None if name.rsplit('.').next() == Some("num_batches_tracked") => {}
                None => problems.push(format!("`{name}` is unexpected")),
                Some(var) if var.shape() != value.shape() => {
                    problems.push(format!("`{name}` has shape {:?}, expected {:?}", value.dims(), var.dims()))
                }
                Some(var) if var.dtype() != value.dtype() => {
                    problems.push(format!("`{name}` has dtype {:?}, expected {:?}", value.dtype(), var.dtype()))
                }
                Some(_) => {}
            }
        }
        let missing = entries.keys().filter(|name| is_needed(name) && !values.contains_key(*name));
        problems.extend(missing.map(|name| format!("`{name}` is missing")));
        if !problems.is_empty() {
            return Err(Error::Mismatch { source_name: source.to_string(), problems });
        }
        for (name, value) in values {
            if let Some(Entry { var, .. }) = entries.get(name) {
                // A copy, because a variable cannot be set from a view of itself.
                var.set(&value.to_device(var.device())?.detach().copy()?)?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // Entries are inserted whole, so the map is sound after a panic elsewhere.
        self.shared.entries.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl From<&ParamStore> for Parameters {
    fn from(store: &ParamStore) -> Self {
        store.trainable()
    }
}

impl SimpleBackend for ParamStore {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let tensor = self.get_or_create(name, shape, Init::Hint(init), dtype)?;
        tensor.to_device(device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        match self.lock().get(name) {
            Some(entry) => self.tensor(entry).to_dtype(dtype)?.to_device(device),
            None => Err(candle_core::Error::CannotFindTensor { path: name.to_string() }.bt()),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }
}

impl std::fmt::Debug for ParamStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entries = self.lock();
        f.debug_map().entries(entries.iter().map(|(name, entry)| (name, entry.var.shape()))).finish()
    }
}
