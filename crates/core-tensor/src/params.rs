//! The parameters of a model: named, ordered, and reproducible.

use crate::init::Init;
use crate::random::Rng;
use crate::{Error, Result};
use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// The last parts of names that mark values which a model keeps but does not train.
const BUFFER_NAMES: [&str; 3] = ["running_mean", "running_var", "num_batches_tracked"];

/// All parameters of a model by full name, in the order of their names.
///
/// Layers ask for parameters through [`ParamStore::var_builder`], which creates each on first use. Its initial values depend
/// on the seed of the store, its full name, its shape and its initialisation only: never on the order of creation, on the
/// device, or on what else there is. Clones are handles to the same parameters.
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
}

struct Shared {
    rng: Rng,
    dtype: DType,
    device: Device,
    vars: Mutex<BTreeMap<String, Var>>,
}

impl ParamStore {
    /// An empty store whose parameters will be of type `dtype` on `device`.
    pub fn new(seed: u64, dtype: DType, device: &Device) -> Self {
        let shared = Shared { rng: Rng::new(seed), dtype, device: device.clone(), vars: Mutex::new(BTreeMap::new()) };
        Self { shared: Arc::new(shared) }
    }

    /// The source of parameters for layers, those of candle-nn too.
    ///
    /// A parameter that is asked for twice is the same. Asking for it with another shape is an error; asking with another
    /// dtype gives a converted tensor through which gradients flow.
    pub fn var_builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), self.shared.dtype, self.shared.device.clone())
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
        let mut vars = self.lock();
        if let Some(var) = vars.get(name) {
            if var.shape() != &shape {
                let reason = format!("exists with shape {:?}, asked for with {:?}", var.dims(), shape.dims());
                return Err(Error::Parameter { name: name.to_string(), reason });
            }
            let tensor = var.as_tensor();
            return if tensor.dtype() == dtype { Ok(tensor.clone()) } else { Ok(tensor.to_dtype(dtype)?) };
        }
        let values = init.tensor(shape, dtype, &self.shared.device, &mut self.shared.rng.fork(name))?;
        let var = Var::from_tensor(&values)?;
        let tensor = var.as_tensor().clone();
        vars.insert(name.to_string(), var);
        Ok(tensor)
    }

    /// All parameters and buffers, ordered by name.
    pub fn vars(&self) -> Vec<(String, Var)> {
        self.lock().iter().map(|(name, var)| (name.clone(), var.clone())).collect()
    }

    /// The parameters that an optimiser changes, ordered by name: all but those whose name ends in `running_mean`,
    /// `running_var` or `num_batches_tracked`.
    pub fn trainable(&self) -> Vec<(String, Var)> {
        let mut vars = self.vars();
        vars.retain(|(name, _)| !is_buffer(name));
        vars
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
        self.restore_some("ParamStore::set", &BTreeMap::from([(name.to_string(), values.clone())]), false)
    }

    /// Copies of all values, detached from the tape, for [`Self::restore`].
    ///
    /// # Errors
    ///
    /// When a device runs out of memory.
    pub fn snapshot(&self) -> Result<BTreeMap<String, Tensor>> {
        self.lock().iter().map(|(name, var)| Ok((name.clone(), var.as_detached_tensor().copy()?))).collect()
    }

    /// Overwrites all values, in place.
    ///
    /// # Errors
    ///
    /// When `snapshot` has not exactly the names, shapes and dtypes of this store. Nothing is changed then.
    pub fn restore(&self, snapshot: &BTreeMap<String, Tensor>) -> Result<()> {
        self.restore_some("snapshot", snapshot, true)
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
        self.restore_some(&path.display().to_string(), &tensors, true)
    }

    fn restore_some(&self, source: &str, values: &BTreeMap<String, Tensor>, must_be_complete: bool) -> Result<()> {
        let vars = self.lock();
        let mut problems = Vec::new();
        for (name, value) in values {
            match vars.get(name) {
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
        if must_be_complete {
            let missing = vars.keys().filter(|name| !values.contains_key(*name));
            problems.extend(missing.map(|name| format!("`{name}` is missing")));
        }
        if !problems.is_empty() {
            return Err(Error::Mismatch { source_name: source.to_string(), problems });
        }
        for (name, value) in values {
            if let Some(var) = vars.get(name) {
                // A copy, because a variable cannot be set from a view of itself.
                var.set(&value.to_device(var.device())?.detach().copy()?)?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Var>> {
        // Entries are inserted whole, so the map is sound after a panic elsewhere.
        self.shared.vars.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn is_buffer(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    BUFFER_NAMES.contains(&last)
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
            Some(var) => var.as_tensor().to_dtype(dtype)?.to_device(device),
            None => Err(candle_core::Error::CannotFindTensor { path: name.to_string() }.bt()),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }
}

impl std::fmt::Debug for ParamStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let vars = self.lock();
        f.debug_map().entries(vars.iter().map(|(name, var)| (name, var.shape()))).finish()
    }
}
