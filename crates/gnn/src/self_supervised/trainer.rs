//! Training an encoder without labels, and embedding with it.

use super::collapse::Collapse;
use super::data::{Kind, Part, Unlabelled};
use super::encoder::{Encoder, EncoderConfig, Level, NormStatistics, encoder};
use super::heads::Heads;
use super::objective::Objective;
use crate::lagraph::{OutputActivation, embed, has_negative};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

/// When the order of the graphs is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Shuffle {
    /// Anew for each epoch.
    EachEpoch,
    /// Once, so that batches are the same in every epoch: LaGraph's official program.
    Once,
}

/// How long and how fast to train.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FitOptions {
    /// Passes over the graphs, or steps on the one graph; 20.
    pub epochs: usize,
    /// Adam's learning rate; 1e-3.
    pub learning_rate: f64,
    /// The factor of the parameters that is added to their gradients; 0.
    pub weight_decay: f64,
    /// Graphs of a step; 128. One graph is one step.
    pub batch_size: usize,
    /// When the order is drawn.
    pub shuffle: Shuffle,
    /// The seed of order, views and noise; that of the parameters is the model's. 0.
    pub seed: u64,
    /// Whether each epoch's report says how far embeddings have collapsed. Costs an embedding of everything and `O(d³)` each epoch; true.
    pub measures_collapse: bool,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            epochs: 20,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            batch_size: 128,
            shuffle: Shuffle::EachEpoch,
            seed: 0,
            measures_collapse: true,
        }
    }
}

/// What an epoch gave.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EpochReport {
    /// Its number, from 1.
    pub epoch: usize,
    /// The mean of the objective over the steps, before each of them.
    pub loss: f64,
    /// Whether embeddings after the epoch still tell things apart.
    pub collapse: Option<Collapse>,
    /// Seconds of the epoch's steps.
    pub seconds: f64,
}

/// What a training gave.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FitSummary {
    /// The epochs.
    pub epochs: Vec<EpochReport>,
    /// The first epoch with the smallest objective, from 1; 0 without epochs. No label has a part in it.
    pub best_epoch: usize,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// An encoder and its parameters. [`SelfSupervised::new`], [`SelfSupervised::fit`], [`SelfSupervised::embed`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use gnn::self_supervised::{EncoderConfig, FitOptions, Objective, SelfSupervised, Unlabelled};
/// use gnn::{Features, Graph};
/// use std::ops::ControlFlow;
/// let ring = Graph::from_edges(6, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)])?;
/// let x = Tensor::eye(6, DType::F32, &Device::Cpu)?;
/// let data = Unlabelled::nodes(&ring, Features::dense(x)?)?;
/// let config = EncoderConfig { hidden: 8, ..EncoderConfig::nodes(6) };
/// let mut model = SelfSupervised::new(config, 0, DType::F32, &Device::Cpu)?;
/// let options = FitOptions { epochs: 3, ..FitOptions::default() };
/// let summary = model.fit(&data, &Objective::grace(), &options, |_, _| Ok(ControlFlow::Continue(())))?;
/// assert_eq!((summary.epochs.len(), model.embed(&data)?.dims()), (3, &[6, 8][..]));
/// # Ok::<(), gnn::Error>(())
/// ```
#[derive(Debug)]
pub struct SelfSupervised {
    store: ParamStore,
    encoder: Encoder,
}

impl SelfSupervised {
    /// An untrained encoder: the control against which training is to be measured. Its parameters follow `seed` and their names.
    ///
    /// # Errors
    /// Settings out of range.
    pub fn new(config: EncoderConfig, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        let store = ParamStore::new(seed, dtype, device);
        let encoder = encoder(&config, store.var_builder().pp("encoder"))?;
        Ok(Self { store, encoder })
    }

    /// The parameters, under `encoder`; after a training also those of its heads.
    pub fn store(&self) -> &ParamStore {
        &self.store
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Trains the encoder. `observer` sees each epoch's report and the model as it is, and may end the training; what it measures with labels has no influence on the parameters.
    ///
    /// A second call goes on from the parameters, with new heads where the objective is another and a new optimiser.
    ///
    /// # Errors
    /// Data of another level or width than the encoder's, settings out of range, an objective that does not exist for the level, a batch with which it has nothing to compare, a loss that is not
    /// finite (with its epoch), and what the observer returns.
    pub fn fit(
        &mut self,
        data: &Unlabelled,
        objective: &Objective,
        options: &FitOptions,
        mut observer: impl FnMut(&EpochReport, &Self) -> Result<ControlFlow<()>>,
    ) -> Result<FitSummary> {
        const OPERATION: &str = "SelfSupervised::fit";
        self.check(OPERATION, data)?;
        objective.check(self.encoder.config())?;
        if options.batch_size == 0 {
            return Err(Error::InvalidConfig { what: "batch_size", got: "0".into(), expected: "at least 1" });
        }
        let heads = Heads::new(objective, self.encoder.config(), &self.store)?;
        let (learning_rate, weight_decay) = (options.learning_rate, options.weight_decay);
        let config = AdamConfig { learning_rate, weight_decay, ..AdamConfig::default() };
        let mut optimizer = Adam::new(self.store.trainable(), config)?;
        let rng = Rng::new(options.seed);
        let (mut order, mut views) = (rng.fork("order"), rng.fork("views"));
        let mut summary = FitSummary { epochs: Vec::new(), best_epoch: 0, warnings: warnings(data, objective)? };
        let mut fixed: Option<Vec<Part>> = None;
        let mut best = f64::INFINITY;
        for epoch in 1..=options.epochs {
            let start = Instant::now();
            let mut losses = Vec::new();
            let mut step = |loss: &Tensor, done: f64| -> Result<()> {
                let value: f64 = loss.to_dtype(DType::F64)?.to_scalar()?;
                if !value.is_finite() {
                    let reason = format!("the objective is {value} in epoch {epoch}; a smaller learning rate may help");
                    return Err(Error::invalid_data(OPERATION, reason));
                }
                losses.push(value);
                optimizer.backward_step(loss)?;
                let progress = (epoch as f64 - 1.0 + done) / options.epochs as f64;
                heads.after_step(&self.store, progress)
            };
            match &data.kind {
                Kind::Nodes(whole) => step(&heads.of_nodes(&self.encoder, whole, &mut views)?, 1.0)?,
                Kind::Graphs(many) => {
                    let is_fixed = options.shuffle == Shuffle::Once;
                    if let (true, Some(parts)) = (is_fixed, &fixed) {
                        for (at, part) in parts.iter().enumerate() {
                            let loss = heads.of_graphs(&self.encoder, many, part, &mut views)?;
                            step(&loss, (at + 1) as f64 / parts.len() as f64)?;
                        }
                    } else {
                        let items = order.permutation(many.graphs.len());
                        let chunks: Vec<&[u32]> = items.chunks(options.batch_size).collect();
                        let mut parts = Vec::new();
                        for (at, chunk) in chunks.iter().enumerate() {
                            let part = many.part(chunk)?;
                            let loss = heads.of_graphs(&self.encoder, many, &part, &mut views)?;
                            step(&loss, (at + 1) as f64 / chunks.len() as f64)?;
                            if is_fixed {
                                parts.push(part);
                            }
                        }
                        if is_fixed {
                            fixed = Some(parts);
                        }
                    }
                }
            }
            let seconds = start.elapsed().as_secs_f64();
            let loss = losses.iter().sum::<f64>() / losses.len() as f64;
            let collapse = if options.measures_collapse { Some(Collapse::of(&self.embed(data)?)?) } else { None };
            if loss < best {
                (best, summary.best_epoch) = (loss, epoch);
            }
            let report = EpochReport { epoch, loss, collapse, seconds };
            let next = observer(&report, self)?;
            summary.epochs.push(report);
            if next.is_break() {
                break;
            }
        }
        Ok(summary)
    }

    /// The embedding of each node, `[nodes, hidden]`, or of each graph, `[graphs, layers · hidden]`, in the order in which `data` holds them. Nothing of the model changes, running statistics neither.
    ///
    /// # Errors
    /// Data of another level or width than the encoder's.
    pub fn embed(&self, data: &Unlabelled) -> Result<Tensor> {
        self.check("SelfSupervised::embed", data)?;
        match &data.kind {
            Kind::Nodes(whole) => embed(&self.encoder, &whole.features, &whole.batch),
            Kind::Graphs(many) => {
                // statistics of a batch are those of all graphs together
                let size = match self.encoder.config().statistics {
                    NormStatistics::Batch => many.graphs.len(),
                    NormStatistics::Running => 256,
                };
                let items: Vec<u32> = (0..many.graphs.len() as u32).collect();
                let parts = items.chunks(size).map(|items| {
                    let part = many.part(items)?;
                    embed(&self.encoder, &part.features, &part.batch)
                });
                Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?)
            }
        }
    }

    /// Writes the encoder's parameters and running statistics to a safetensors file.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut values = self.store.snapshot()?;
        values.retain(|name, _| name.starts_with("encoder."));
        Ok(core_tensor::checkpoint::write_tensors(path, &values)?)
    }

    /// Reads what [`SelfSupervised::save`] wrote.
    ///
    /// # Errors
    /// A file that cannot be read, or parameters of other names, shapes or dtypes. Nothing is changed then.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.store.load_part(path, "encoder.*")?;
        Ok(())
    }

    fn check(&self, operation: &'static str, data: &Unlabelled) -> Result<()> {
        let config = self.encoder.config();
        let level = match data.kind {
            Kind::Nodes(_) => Level::Node,
            Kind::Graphs(_) => Level::Graph,
        };
        if level != config.level {
            let reason = format!("an encoder of level {:?} with data of level {level:?}", config.level);
            return Err(Error::invalid_data(operation, reason));
        }
        if data.width() != config.inputs {
            let (got, expected) = (data.width(), config.inputs);
            return Err(Error::Length { operation, what: "features of a node", got, expected });
        }
        Ok(())
    }
}

fn warnings(data: &Unlabelled, objective: &Objective) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if let Objective::LaGraph(config) = objective
        && config.output_activation == OutputActivation::Relu
    {
        let is_negative = match &data.kind {
            Kind::Nodes(whole) => has_negative(&whole.features)?,
            Kind::Graphs(many) => {
                let mut found = false;
                for x in &many.features {
                    found = found || has_negative(&crate::Features::Dense(x.clone()))?;
                }
                found
            }
        };
        if is_negative {
            warnings.push(
                "some features are negative, and a decoder with a ReLU behind it can reconstruct none of them: OutputActivation::None"
                    .to_owned(),
            );
        }
    }
    Ok(warnings)
}
