//! Checkpoints from which an interrupted training run continues with the same bits.
//!
//! A checkpoint of step `s` is a pair of files in a folder: `step-<s>.safetensors` with all tensors and `step-<s>.json` with
//! everything else and the checksum of the tensors. Each file is written beside its place, flushed and renamed, the tensors
//! first; so a run that is killed at any moment leaves the previous checkpoint whole. Loading verifies both files and takes the
//! newest checkpoint that is sound.

mod files;

pub use files::{read_tensors, write_tensors};

use crate::optim::OptimizerState;
use crate::random::Rng;
use crate::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The state of a training run.
///
/// ```
/// # use candle_core::{DType, Device};
/// # use core_tensor::{checkpoint::Checkpoint, nn, optim::{Adam, Optimizer}, params::ParamStore, random::Rng};
/// # let folder = tempfile::tempdir()?;
/// # let store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// # nn::linear(3, 2, store.var_builder())?;
/// # let mut optimizer = Adam::new(store.trainable(), Default::default())?;
/// # let mut rng = Rng::new(1);
/// let mut now = Checkpoint::new(100);
/// now.parameters = store.snapshot()?;
/// now.optimizer = Some(optimizer.state()?);
/// now.rngs.insert("batches".to_string(), rng.clone());
/// now.save(folder.path())?;
///
/// if let Some(then) = Checkpoint::load_latest(folder.path())? {
///     store.restore(&then.parameters)?;
///     then.optimizer.iter().try_for_each(|state| optimizer.load_state(state))?;
///     rng = then.rngs["batches"].clone();
///     assert_eq!(then.step, 100);
/// }
/// # let _ = rng;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Checkpoint {
    /// How many steps (or epochs) are done.
    pub step: u64,
    /// The parameters and buffers, from [`ParamStore::snapshot`](crate::params::ParamStore::snapshot).
    pub parameters: BTreeMap<String, Tensor>,
    /// The optimiser, from [`Optimizer::state`](crate::optim::Optimizer::state).
    pub optimizer: Option<OptimizerState>,
    /// The random number generators, by names of your choice.
    pub rngs: BTreeMap<String, Rng>,
    /// What else has a state, by name: the [trainer](crate::train::Trainer::checkpoint), the [best state](crate::train::BestState::save), residuals of compressed gradients.
    pub sections: BTreeMap<String, Section>,
    /// Anything else that serde can hold.
    pub extra: serde_json::Value,
}

/// A part of a [`Checkpoint`] with a name of its own.
#[derive(Debug, Clone, Default)]
pub struct Section {
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    values: serde_json::Value,
}

impl Section {
    /// Tensors, and numbers as serde has them.
    ///
    /// # Errors
    ///
    /// When `values` cannot be serialised.
    pub fn new(tensors: BTreeMap<String, Tensor>, values: &impl Serialize) -> Result<Self> {
        let values = serde_json::to_value(values).map_err(|e| damaged(Path::new("section"), e))?;
        Ok(Self { tensors, values })
    }

    /// The numbers; `name` is for the error.
    ///
    /// # Errors
    ///
    /// When they are of another kind.
    pub fn values<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_value(self.values.clone()).map_err(|e| damaged(Path::new(&format!("section `{name}`")), e))
    }
}

/// The content of the JSON file.
#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    step: u64,
    tensors_sha256: String,
    optimizer: Option<OptimizerHeader>,
    rngs: BTreeMap<String, Rng>,
    /// The values of the sections; absent in files of earlier versions.
    #[serde(default)]
    sections: BTreeMap<String, serde_json::Value>,
    extra: serde_json::Value,
}

/// The numbers of an [`OptimizerState`]; its tensors are in the other file.
#[derive(Serialize, Deserialize)]
struct OptimizerHeader {
    kind: String,
    learning_rate: f64,
    steps: BTreeMap<String, u64>,
}

/// The JSON file: the content and its checksum.
#[derive(Serialize, Deserialize)]
struct Sealed {
    sha256: String,
    content: serde_json::Value,
}

const VERSION: u32 = 1;
/// How many checkpoints are kept in a folder: the newest, and one to fall back on.
const NUM_KEPT: usize = 2;
const PARAMETER: &str = "parameter/";
const OPTIMIZER: &str = "optimizer/";
const SECTION: &str = "section/";

impl Checkpoint {
    /// An empty checkpoint of this step.
    pub fn new(step: u64) -> Self {
        Self {
            step,
            parameters: BTreeMap::new(),
            optimizer: None,
            rngs: BTreeMap::new(),
            sections: BTreeMap::new(),
            extra: serde_json::Value::Null,
        }
    }

    /// A random stream by its name.
    ///
    /// # Errors
    ///
    /// When there is none of this name.
    pub fn rng(&self, name: &str) -> Result<Rng> {
        let missing = || damaged(Path::new("random streams"), format!("there is no `{name}`"));
        self.rngs.get(name).cloned().ok_or_else(missing)
    }

    /// A section by its name.
    ///
    /// # Errors
    ///
    /// When there is none of this name.
    pub fn section(&self, name: &str) -> Result<&Section> {
        self.sections.get(name).ok_or_else(|| damaged(Path::new("sections"), format!("there is no `{name}`")))
    }

    /// Writes the checkpoint into `folder`, which is created if need be, and removes all but the two newest.
    ///
    /// # Errors
    ///
    /// When the files cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let mut tensors: BTreeMap<String, Tensor> =
            self.parameters.iter().map(|(name, tensor)| (format!("{PARAMETER}{name}"), tensor.clone())).collect();
        if let Some(state) = &self.optimizer {
            tensors.extend(state.tensors.iter().map(|(name, tensor)| (format!("{OPTIMIZER}{name}"), tensor.clone())));
        }
        for (section, content) in &self.sections {
            // names of sections end at the first slash
            if section.is_empty() || section.contains('/') {
                return Err(damaged(folder, format!("`{section}` cannot be the name of a section")));
            }
            let named = |(name, tensor): (&String, &Tensor)| (format!("{SECTION}{section}/{name}"), tensor.clone());
            tensors.extend(content.tensors.iter().map(named));
        }
        let (tensor_path, header_path) = paths(folder, self.step);
        let bytes = files::tensor_bytes(&tensors, &tensor_path)?;
        let header = Header {
            version: VERSION,
            step: self.step,
            tensors_sha256: sha256(&bytes),
            optimizer: self.optimizer.as_ref().map(|state| OptimizerHeader {
                kind: state.kind.clone(),
                learning_rate: state.learning_rate,
                steps: state.steps.clone(),
            }),
            rngs: self.rngs.clone(),
            sections: self.sections.iter().map(|(name, section)| (name.clone(), section.values.clone())).collect(),
            extra: self.extra.clone(),
        };
        let sealed = seal(&header).map_err(|e| damaged(&header_path, e))?;
        files::write_whole(&tensor_path, &bytes)?;
        files::write_whole(&header_path, sealed.as_bytes())?;
        remove_old(folder, self.step);
        Ok(())
    }

    /// The newest sound checkpoint of `folder`, on the CPU; `None` when there is none at all.
    ///
    /// # Errors
    ///
    /// When there are checkpoints but every one is damaged or of a later version, with the reason of each.
    pub fn load_latest(folder: impl AsRef<Path>) -> Result<Option<Self>> {
        let folder = folder.as_ref();
        let mut reasons = Vec::new();
        for step in steps_descending(folder) {
            match Self::load(folder, step) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        if reasons.is_empty() {
            return Ok(None);
        }
        Err(damaged(folder, format!("none is sound: {}", reasons.join("; "))))
    }

    /// The checkpoint of one step, on the CPU.
    ///
    /// # Errors
    ///
    /// When a file is absent or damaged, or the two do not belong together.
    pub fn load(folder: impl AsRef<Path>, step: u64) -> Result<Self> {
        let (tensor_path, header_path) = paths(folder.as_ref(), step);
        let text =
            String::from_utf8(files::read_file(&header_path)?).map_err(|_| damaged(&header_path, "it is not UTF-8"))?;
        let header = unseal(&text).map_err(|reason| damaged(&header_path, reason))?;
        if header.version != VERSION || header.step != step {
            let reason = format!("is version {} of step {}, expected {VERSION} of {step}", header.version, header.step);
            return Err(damaged(&header_path, reason));
        }
        let bytes = files::read_file(&tensor_path)?;
        if sha256(&bytes) != header.tensors_sha256 {
            return Err(damaged(&tensor_path, "its checksum is not the one in the .json beside it"));
        }
        let mut checkpoint = Self { rngs: header.rngs, extra: header.extra, ..Self::new(step) };
        let sections = header.sections.into_iter();
        checkpoint.sections =
            sections.map(|(name, values)| (name, Section { values, tensors: BTreeMap::new() })).collect();
        let mut kept = BTreeMap::new();
        for (name, tensor) in files::parse_tensors(&bytes, &tensor_path)? {
            if let Some(name) = name.strip_prefix(PARAMETER) {
                checkpoint.parameters.insert(name.to_string(), tensor);
            } else if let Some(name) = name.strip_prefix(OPTIMIZER) {
                kept.insert(name.to_string(), tensor);
            } else if let Some((section, name)) = name.strip_prefix(SECTION).and_then(|name| name.split_once('/'))
                && let Some(section) = checkpoint.sections.get_mut(section)
            {
                section.tensors.insert(name.to_string(), tensor);
            } else {
                return Err(damaged(&tensor_path, format!("`{name}` is unexpected")));
            }
        }
        checkpoint.optimizer = header.optimizer.map(|o| OptimizerState {
            kind: o.kind,
            learning_rate: o.learning_rate,
            steps: o.steps,
            tensors: kept,
        });
        Ok(checkpoint)
    }
}

fn paths(folder: &Path, step: u64) -> (PathBuf, PathBuf) {
    (folder.join(format!("step-{step}.safetensors")), folder.join(format!("step-{step}.json")))
}

fn damaged(path: &Path, reason: impl ToString) -> Error {
    Error::Checkpoint { path: path.display().to_string(), reason: reason.to_string() }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn seal(header: &Header) -> serde_json::Result<String> {
    let content = serde_json::to_value(header)?;
    serde_json::to_string_pretty(&Sealed { sha256: sha256(content.to_string().as_bytes()), content })
}

fn unseal(text: &str) -> Result<Header, String> {
    let sealed: Sealed = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if sha256(sealed.content.to_string().as_bytes()) != sealed.sha256 {
        return Err("its checksum is wrong".to_string());
    }
    serde_json::from_value(sealed.content).map_err(|e| e.to_string())
}

/// The steps of the `.json` files in a folder, newest first.
fn steps_descending(folder: &Path) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut steps: Vec<u64> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_prefix("step-")?.strip_suffix(".json")?.parse().ok()
        })
        .collect();
    steps.sort_unstable_by(|a, b| b.cmp(a));
    steps
}

/// Removes what is older than the newest checkpoints up to `step`. Failing to tidy up is no reason to stop a training run.
fn remove_old(folder: &Path, step: u64) {
    for old in steps_descending(folder).into_iter().filter(|&s| s <= step).skip(NUM_KEPT) {
        let (tensor_path, header_path) = paths(folder, old);
        // The header first: without it the pair does not count as a checkpoint.
        let _ = std::fs::remove_file(header_path);
        let _ = std::fs::remove_file(tensor_path);
    }
}
