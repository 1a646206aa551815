//! Lottery tickets: rounds of training, pruning and rewinding, with a checkpoint behind each.

use crate::mask::{Mask, Masks};
use crate::scores::magnitude;
use crate::select::iterative_round;
use crate::{Error, Result, Scope, plain_file};
use candle_core::{DType, Tensor};
use core_tensor::checkpoint::{read_tensors, write_tensors};
use core_tensor::params::ParamStore;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const OPERATION: &str = "Tickets";

/// To which state a ticket's weights go back before it is trained again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Rewind {
    /// To the first values, θ₀: `lt` in the official program.
    Initial,
    /// To those at the moment that the training of round 0 marks ([`Round::mark`]), θ_e: `rewind_lt`, the paper's choice for residual networks.
    Marked,
    /// To none: training goes on from the pruned weights, `pt`.
    Continue,
}

/// How masks of whole channels or blocks come into the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum PostProcess {
    /// They are made of each ticket, and the next round starts from the scattered mask: the paper's reported tickets. [`Tickets::structured`] makes them of any round.
    EachTicket,
    /// They take the place of the scattered mask before the next round: whatever [`Tickets::run`] is given as its structure.
    InLoop,
}

/// The settings of [`Tickets`].
#[derive(Debug, Clone, PartialEq)]
pub struct TicketOptions {
    /// Rounds of pruning, 10.
    pub rounds: usize,
    /// ρ: the share of the remaining weights that goes in a round, 0.2.
    pub rate: f64,
    /// Where weights go back to, [`Rewind::Marked`].
    pub rewind: Rewind,
    /// Whether a layer keeps one output at least, true.
    pub keeps_channels: bool,
    /// How structure comes in, [`PostProcess::EachTicket`].
    pub post_process: PostProcess,
    /// A folder with a file for each finished round, from which an interrupted search goes on.
    pub folder: Option<PathBuf>,
}

impl Default for TicketOptions {
    fn default() -> Self {
        Self {
            rounds: 10,
            rate: 0.2,
            rewind: Rewind::Marked,
            keeps_channels: true,
            post_process: PostProcess::EachTicket,
            folder: None,
        }
    }
}

/// A training of the search.
pub struct Round<'a> {
    index: usize,
    masks: &'a Masks,
    store: &'a ParamStore,
    marked: Option<BTreeMap<String, Tensor>>,
}

impl std::fmt::Debug for Round<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Round").field("index", &self.index).field("masks", self.masks).finish_non_exhaustive()
    }
}

impl Round<'_> {
    /// 0 for the dense network, then the number of times that it was pruned.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The masks to train with: [`MaskedOptimizer`](crate::MaskedOptimizer), or `Trainer::masks(masks.for_trainer()?)`.
    pub fn masks(&self) -> &Masks {
        self.masks
    }

    /// Takes the state of this moment, weights and running statistics, as the one that later rounds go back to. Only what round 0 marks counts.
    ///
    /// # Errors
    /// Those of Candle.
    pub fn mark(&mut self) -> Result<()> {
        self.marked = Some(self.store.snapshot()?);
        Ok(())
    }
}

/// What a round left behind.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// The round, from 1.
    pub round: usize,
    /// Its masks, made before it was trained.
    pub masks: Masks,
    /// Weights and running statistics that its masks were made of: those at the end of the round before.
    pub made_of: BTreeMap<String, Tensor>,
    /// Weights and running statistics after its own training.
    pub trained: BTreeMap<String, Tensor>,
}

/// A structure: the mask of a parameter from its name, scattered mask and trained weights in magnitude.
pub type Structure<'a> = dyn Fn(&str, &Mask, &[f64]) -> Result<Mask> + 'a;

/// Iterative magnitude pruning with rewinding (Frankle & Carbin, ICLR 2019; Frankle et al., ICML 2020): train, let the share ρ of the smallest remaining weights go, over all layers together, put the others back to
/// earlier values, train again. All structures share the one search: each round's masks and weights are kept, and [`Tickets::structured`] makes channels or blocks of them later.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
/// use core_tensor::params::ParamStore;
/// use core_tensor::{Mode, ops, random::Rng};
/// use pruning::{MaskedOptimizer, Network, Refill, Scope, TicketOptions, Tickets};
/// let network = Network::small_cnn([1, 8, 8], 2)?;
/// let store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// let model = network.build(store.var_builder())?;
/// let x = Rng::new(1).normal(0., 1., (8, 1, 8, 8), DType::F32, &Device::Cpu)?;
/// let labels = Tensor::new(&[0u32, 1, 0, 1, 0, 1, 0, 1], &Device::Cpu)?;
/// let options = TicketOptions { rounds: 2, ..TicketOptions::default() };
/// let mut tickets = Tickets::new(store.clone(), &Scope::convolutions(), options)?;
/// tickets.run(None, |round| {
///     let config = SgdConfig { learning_rate: 0.01, momentum: 0.9, ..SgdConfig::default() };
///     let mut optimizer = MaskedOptimizer::new(Sgd::new(store.trainable(), config)?, round.masks().clone())?;
///     for step in 0..3 {
///         if step == 1 {
///             round.mark()?;
///         }
///         let logits = model.forward(&x, &mut Mode::recalibrate())?;
///         optimizer.backward_step(&ops::cross_entropy(&logits, &labels)?)?;
///     }
///     Ok(())
/// })?;
/// let ticket = &tickets.found()[1];
/// assert!((ticket.masks.density() - 0.64).abs() < 0.01);
/// let channels = tickets.structured(2, &|_, mask, weights| Refill::default().apply(mask, weights))?;
/// tickets.rewind(&channels)?; // the store now holds the ticket, ready to be trained with its masks
/// # Ok::<(), pruning::Error>(())
/// ```
pub struct Tickets {
    store: ParamStore,
    scope: Scope,
    options: TicketOptions,
    initial: BTreeMap<String, Tensor>,
    /// Where weights go back to; none before round 0 is over.
    start: Option<BTreeMap<String, Tensor>>,
    /// After round 0.
    dense: Option<BTreeMap<String, Tensor>>,
    found: Vec<Ticket>,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets")
            .field("options", &self.options)
            .field("found", &self.found.len())
            .finish_non_exhaustive()
    }
}

impl Tickets {
    /// A search over the parameters of a store that a scope names, from the values that they have now. Where the folder holds rounds of an earlier search with the same parameters, they are taken.
    ///
    /// # Errors
    /// A rate outside (0, 1), a scope without parameters, a folder that cannot be made, or files of another search.
    pub fn new(store: ParamStore, scope: &Scope, options: TicketOptions) -> Result<Self> {
        if !(options.rate > 0.0 && options.rate < 1.0) {
            return Err(Error::value(OPERATION, "the rate", options.rate, "in (0, 1)"));
        }
        scope.select(&store)?;
        let initial = store.snapshot()?;
        let copied = initial.iter().map(|(name, value)| Ok((name.clone(), value.copy()?))).collect::<Result<_>>()?;
        let mut own =
            Self { store, scope: scope.clone(), options, initial: copied, start: None, dense: None, found: Vec::new() };
        if let Some(folder) = own.options.folder.clone() {
            std::fs::create_dir_all(&folder).map_err(|error| plain_file::error(&folder, &error))?;
            own.resume(&folder)?;
        }
        Ok(own)
    }

    /// Runs what is left of the search. `train` trains the store's parameters with the round's masks, from the values that they have; its optimiser and schedule start anew each time. `structure` is for
    /// [`PostProcess::InLoop`].
    ///
    /// # Errors
    /// Those of `train`; a training of round 0 that marks nothing where weights go back to what it marks; [`PostProcess::InLoop`] without a structure, or a structure without it.
    pub fn run(
        &mut self,
        structure: Option<&Structure<'_>>,
        mut train: impl FnMut(&mut Round<'_>) -> Result<()>,
    ) -> Result<()> {
        let is_in_loop = self.options.post_process == PostProcess::InLoop;
        if is_in_loop != structure.is_some() {
            let reason = "a structure belongs to PostProcess::InLoop, and only to it";
            return Err(Error::invalid(OPERATION, reason));
        }
        let full = {
            let prunable = self.scope.select(&self.store)?;
            Masks::full(prunable.iter().map(|(name, var)| (name.as_str(), var.dims())))
        };
        if self.dense.is_none() {
            self.store.restore(&self.initial)?;
            let mut round = Round { index: 0, masks: &full, store: &self.store, marked: None };
            train(&mut round)?;
            let marked = round.marked;
            let start = match self.options.rewind {
                Rewind::Initial | Rewind::Continue => Some(self.initial.clone()),
                Rewind::Marked => marked,
            };
            if start.is_none() {
                let reason = "round 0 ended without Round::mark, but weights go back to what it marks";
                return Err(Error::invalid(OPERATION, reason));
            }
            (self.start, self.dense) = (start, Some(self.store.snapshot()?));
            self.keep_dense()?;
        }
        while self.found.len() < self.options.rounds {
            let round = self.found.len() + 1;
            let made_of = self.last()?.clone();
            self.store.restore(&made_of)?;
            let scores = magnitude(&self.scope.select(&self.store)?)?;
            let before = self.found.last().map_or(&full, |ticket| &ticket.masks);
            let mut masks = iterative_round(&scores, before, self.options.rate, self.options.keeps_channels)?;
            if let Some(structure) = structure {
                masks = shaped(&masks, &scores, structure)?;
            }
            if self.options.rewind != Rewind::Continue {
                self.store.restore(self.start.as_ref().unwrap_or(&self.initial))?;
            }
            masks.apply(&self.store)?;
            train(&mut Round { index: round, masks: &masks, store: &self.store, marked: None })?;
            let ticket = Ticket { round, masks, made_of, trained: self.store.snapshot()? };
            self.keep(&ticket)?;
            self.found.push(ticket);
        }
        Ok(())
    }

    fn last(&self) -> Result<&BTreeMap<String, Tensor>> {
        let last = self.found.last().map(|ticket| &ticket.trained).or(self.dense.as_ref());
        last.ok_or_else(|| Error::invalid(OPERATION, "no round has been run"))
    }

    /// The tickets of the rounds that are over, from round 1.
    pub fn found(&self) -> &[Ticket] {
        &self.found
    }

    /// Weights and running statistics of the dense network after its training.
    ///
    /// # Errors
    /// When it has not been trained.
    pub fn dense(&self) -> Result<&BTreeMap<String, Tensor>> {
        self.dense.as_ref().ok_or_else(|| Error::invalid(OPERATION, "no round has been run"))
    }

    /// Masks of channels or blocks from the scattered masks of a round and the weights that those were made of: [`Refill`](crate::Refill), [`Regroup`](crate::Regroup), or a rule of one's own.
    ///
    /// # Errors
    /// A round that has not been run, and those of the structure.
    pub fn structured(&self, round: usize, structure: &Structure<'_>) -> Result<Masks> {
        let ticket = round.checked_sub(1).and_then(|at| self.found.get(at));
        let Some(ticket) = ticket else {
            let reason = format!("round {round} of {} that have been run", self.found.len());
            return Err(Error::invalid(OPERATION, reason));
        };
        let mut scores = BTreeMap::new();
        for (name, _) in ticket.masks.iter() {
            let Some(weights) = ticket.made_of.get(name) else { continue };
            let weights = weights.abs()?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
            scores.insert(name.to_owned(), weights);
        }
        shaped(&ticket.masks, &scores, structure)
    }

    /// Puts the store back to the state that tickets are trained from, with these masks applied.
    ///
    /// # Errors
    /// Before round 0 is over; masks of other parameters.
    pub fn rewind(&self, masks: &Masks) -> Result<()> {
        let start = self.start.as_ref().ok_or_else(|| Error::invalid(OPERATION, "no round has been run"))?;
        self.store.restore(start)?;
        masks.apply(&self.store)
    }

    fn keep_dense(&self) -> Result<()> {
        let (Some(folder), Some(start), Some(dense)) = (&self.options.folder, &self.start, &self.dense) else {
            return Ok(());
        };
        let part = |name: &str, of: &BTreeMap<String, Tensor>| -> Vec<(String, Tensor)> {
            of.iter().map(|(key, value)| (format!("{name}/{key}"), value.clone())).collect()
        };
        let mut all: BTreeMap<String, Tensor> =
            part("start", start).into_iter().chain(part("trained", dense)).collect();
        all.extend(part("initial", &self.initial));
        Ok(write_tensors(folder.join("round-0.safetensors"), &all)?)
    }

    fn keep(&self, ticket: &Ticket) -> Result<()> {
        let Some(folder) = &self.options.folder else { return Ok(()) };
        let mut all: BTreeMap<String, Tensor> =
            ticket.trained.iter().map(|(name, value)| (format!("trained/{name}"), value.clone())).collect();
        for (name, mask) in ticket.masks.iter() {
            all.insert(format!("mask/{name}"), mask.to_tensor()?);
        }
        Ok(write_tensors(folder.join(format!("round-{}.safetensors", ticket.round)), &all)?)
    }

    /// Takes the rounds that a folder holds, without a gap.
    fn resume(&mut self, folder: &Path) -> Result<()> {
        let read = |round: usize| -> Result<Option<BTreeMap<String, Tensor>>> {
            let path = folder.join(format!("round-{round}.safetensors"));
            match path.is_file() {
                true => Ok(Some(read_tensors(&path)?)),
                false => Ok(None),
            }
        };
        let part = |all: &BTreeMap<String, Tensor>, name: &str| -> BTreeMap<String, Tensor> {
            let of = |(key, value): (&String, &Tensor)| Some((key.strip_prefix(name)?.to_owned(), value.clone()));
            all.iter().filter_map(of).collect()
        };
        let Some(first) = read(0)? else { return Ok(()) };
        let initial = part(&first, "initial/");
        let is_same = initial.len() == self.initial.len()
            && self.initial.iter().try_fold(true, |is_same, (name, value)| -> Result<bool> {
                let Some(other) = initial.get(name).filter(|other| other.dims() == value.dims()) else {
                    return Ok(false);
                };
                let other = other.to_dtype(value.dtype())?;
                Ok(is_same && value.ne(&other)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()? == 0.0)
            })?;
        if !is_same {
            let reason = "it holds a search from other first values";
            return Err(plain_file::error(folder, &reason));
        }
        (self.start, self.dense) = (Some(part(&first, "start/")), Some(part(&first, "trained/")));
        for round in 1..=self.options.rounds {
            let Some(all) = read(round)? else { break };
            let masks = part(&all, "mask/");
            let masks = masks.iter().map(|(name, mask)| Ok((name.clone(), Mask::from_tensor(mask)?)));
            let masks = masks.collect::<Result<Masks>>()?;
            let made_of = self.last()?.clone();
            self.found.push(Ticket { round, masks, made_of, trained: part(&all, "trained/") });
        }
        Ok(self.store.restore(self.last()?)?)
    }
}

fn shaped(masks: &Masks, scores: &BTreeMap<String, Vec<f64>>, structure: &Structure<'_>) -> Result<Masks> {
    let of = |(name, mask): (&str, &Mask)| -> Result<(String, Mask)> {
        let weights = scores.get(name).ok_or_else(|| Error::invalid(OPERATION, format!("no weights of `{name}`")))?;
        let found = structure(name, mask, weights)?;
        if found.shape() != mask.shape() {
            let (got, expected) = (found.shape().to_vec(), mask.shape().to_vec());
            let what = format!("the structure of `{name}`");
            return Err(Error::Shape { operation: OPERATION, what, got, expected });
        }
        Ok((name.to_owned(), found))
    };
    masks.iter().map(of).collect()
}
