//! Super-nets: the weights of every candidate of every layer, shared by all architectures.

use crate::operator::Operator;
use crate::space::{Architecture, SearchSpace};
use crate::{Error, Result};
use candle_core::{Tensor, Var};
use candle_nn::VarBuilder;
use core_tensor::Mode;
use core_tensor::params::ParamStore;
use std::sync::Arc;

/// What stands before the first layer and behind the last, shared by all architectures.
pub trait Ends: Send + Sync {
    /// The first hidden state from the input.
    ///
    /// # Errors
    /// Inputs that do not fit.
    fn stem(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor>;

    /// The prediction from the last hidden state.
    ///
    /// # Errors
    /// Hidden states that do not fit.
    fn head(&self, hidden: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor>;

    /// Multiplications for a batch of inputs; 0 where they do not count.
    fn multiplications(&self, shape: &[usize]) -> u64 {
        let _ = shape;
        0
    }
}

type EndsFactory = dyn Fn(VarBuilder<'_>) -> Result<Box<dyn Ends>> + Send + Sync;
type OperatorFactory = dyn Fn(usize, &str, VarBuilder<'_>) -> Result<Box<dyn Operator>> + Send + Sync;

/// From what a super-net is built: a space, what stands around its layers, and a function that makes an operator from a layer's number, a candidate's name and a place for parameters.
#[derive(Clone)]
pub struct Blueprint {
    space: SearchSpace,
    ends: Arc<EndsFactory>,
    operators: Arc<OperatorFactory>,
}

impl std::fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blueprint").field("space", &self.space).finish_non_exhaustive()
    }
}

impl Blueprint {
    /// A blueprint. Parameters of the operator `name` in layer `l` stand under `layer.l.name`.
    pub fn new(
        space: SearchSpace,
        ends: impl Fn(VarBuilder<'_>) -> Result<Box<dyn Ends>> + Send + Sync + 'static,
        operators: impl Fn(usize, &str, VarBuilder<'_>) -> Result<Box<dyn Operator>> + Send + Sync + 'static,
    ) -> Self {
        Self { space, ends: Arc::new(ends), operators: Arc::new(operators) }
    }

    /// The space.
    pub fn space(&self) -> &SearchSpace {
        &self.space
    }

    /// A super-net with parameters of the store. `example` is an input of any batch size: every operator is run on it once.
    ///
    /// # Errors
    /// [`Error::Shape`] where an operator gives another shape than its neighbours; errors of the factories and of the operators on the example.
    pub fn build(&self, store: &ParamStore, example: &Tensor) -> Result<SuperNet> {
        let vb = store.var_builder();
        let ends = (self.ends)(vb.clone())?;
        let mut operators = Vec::with_capacity(self.space.num_layers());
        for layer in 0..self.space.num_layers() {
            let of = |name: &String| (self.operators)(layer, name, vb.pp(format!("layer.{layer}.{name}")));
            operators.push(self.space.candidates(layer).iter().map(of).collect::<Result<Vec<_>>>()?);
        }
        let mut shapes = Vec::new();
        let mut hidden = ends.stem(example, &mut Mode::evaluate())?.detach();
        for (layer, candidates) in operators.iter().enumerate() {
            shapes.push(hidden.dims().to_vec());
            let mut first: Option<Tensor> = None;
            for (at, operator) in candidates.iter().enumerate() {
                let y = operator.forward(&hidden, &mut Mode::evaluate())?.detach();
                match &first {
                    Some(first) if first.dims() != y.dims() => {
                        let names = self.space.candidates(layer);
                        let (operator, other) = (names[at].clone(), names[0].clone());
                        let (got, expected) = (y.dims().to_vec(), first.dims().to_vec());
                        return Err(Error::Shape { layer, operator, got, other, expected });
                    }
                    Some(_) => {}
                    None => first = Some(y),
                }
            }
            hidden = first.unwrap_or(hidden);
        }
        shapes.push(hidden.dims().to_vec());
        ends.head(&hidden, &mut Mode::evaluate())?;
        // names alone: values are the store's
        let own = |name: &str, place: &str| name.starts_with(place) && name[place.len()..].starts_with('.');
        let trainable = store.trainable();
        let mut parameters = Vec::new();
        for layer in 0..self.space.num_layers() {
            let of = |name: &String| {
                let place = format!("layer.{layer}.{name}");
                trainable.iter().filter(|(known, _)| own(known, &place)).cloned().collect()
            };
            parameters.push(self.space.candidates(layer).iter().map(of).collect());
        }
        Ok(SuperNet {
            blueprint: self.clone(),
            store: store.clone(),
            ends,
            operators,
            shapes,
            parameters,
            example: example.detach(),
        })
    }
}

/// A prediction with the hidden state behind each layer.
#[derive(Debug, Clone)]
pub struct Output {
    /// What the head gives.
    pub prediction: Tensor,
    /// `h_l` for each layer, the first behind layer 0.
    pub hidden: Vec<Tensor>,
}

/// All operators of a space with their parameters. A forward pass runs one path, a backward pass reaches that path alone, and so does a step of core-tensor's optimisers: what is off the path keeps values, moments and counts to the bit.
pub struct SuperNet {
    blueprint: Blueprint,
    store: ParamStore,
    ends: Box<dyn Ends>,
    operators: Vec<Vec<Box<dyn Operator>>>,
    /// Of the hidden state before each layer and behind the last, for the example.
    shapes: Vec<Vec<usize>>,
    /// Names and variables of each operator's parameters.
    parameters: Vec<Vec<Vec<(String, Var)>>>,
    example: Tensor,
}

impl std::fmt::Debug for SuperNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SuperNet")
            .field("space", &self.blueprint.space)
            .field("shapes", &self.shapes)
            .finish_non_exhaustive()
    }
}

impl SuperNet {
    /// The space.
    pub fn space(&self) -> &SearchSpace {
        &self.blueprint.space
    }

    /// The parameters.
    pub fn store(&self) -> &ParamStore {
        &self.store
    }

    /// The prediction of an architecture and its hidden states.
    ///
    /// # Errors
    /// An architecture that is not in the space, or inputs that do not fit.
    pub fn forward(&self, x: &Tensor, architecture: &Architecture, mode: &mut Mode<'_>) -> Result<Output> {
        self.space().check(architecture)?;
        let first = self.ends.stem(x, mode)?;
        self.onward(&first, 0, architecture, mode)
    }

    /// The hidden state before the first layer.
    ///
    /// # Errors
    /// Inputs that do not fit.
    pub fn stem(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        self.ends.stem(x, mode)
    }

    /// The prediction from a hidden state behind the last layer.
    ///
    /// # Errors
    /// Hidden states that do not fit.
    pub fn head(&self, hidden: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        self.ends.head(hidden, mode)
    }

    /// One layer of an architecture.
    ///
    /// # Errors
    /// An operator that there is not, or a hidden state that does not fit.
    pub fn layer(&self, hidden: &Tensor, layer: usize, operator: usize, mode: &mut Mode<'_>) -> Result<Tensor> {
        let found = self.operators.get(layer).and_then(|candidates| candidates.get(operator));
        let missing = || Error::invalid("SuperNet::layer", format!("no operator {operator} in layer {layer}"));
        found.ok_or_else(missing)?.forward(hidden, mode)
    }

    /// The layers from `layer` on, from a hidden state of any origin: what [`forward`](Self::forward) does behind it. Hidden states of earlier layers are not in the output.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn onward(
        &self,
        hidden: &Tensor,
        layer: usize,
        architecture: &Architecture,
        mode: &mut Mode<'_>,
    ) -> Result<Output> {
        let mut all = Vec::with_capacity(self.operators.len());
        let mut x = hidden.clone();
        for (layer, &operator) in architecture.0.iter().enumerate().skip(layer) {
            x = self.layer(&x, layer, operator, mode)?;
            all.push(x.clone());
        }
        Ok(Output { prediction: self.ends.head(&x, mode)?, hidden: all })
    }

    /// Names and variables of an operator's parameters, in the order of the names.
    ///
    /// # Panics
    /// Where there is no such operator.
    pub fn operator_parameters(&self, layer: usize, operator: usize) -> &[(String, Var)] {
        &self.parameters[layer][operator]
    }

    /// Whether an operator passes the hidden state on as it is.
    ///
    /// # Panics
    /// Where there is no such operator.
    pub fn is_identity(&self, layer: usize, operator: usize) -> bool {
        self.operators[layer][operator].is_identity()
    }

    /// Parameters of an architecture's operators, without those of the ends.
    ///
    /// # Errors
    /// An architecture that is not in the space.
    pub fn num_parameters(&self, architecture: &Architecture) -> Result<u64> {
        self.space().check(architecture)?;
        let of = |(layer, &operator): (usize, &usize)| {
            self.parameters[layer][operator].iter().map(|(_, var)| var.elem_count()).sum::<usize>()
        };
        Ok(architecture.0.iter().enumerate().map(of).sum::<usize>() as u64)
    }

    /// Multiplications of an architecture for one sample of the example's shape, with those of the ends.
    ///
    /// # Errors
    /// An architecture that is not in the space.
    pub fn multiplications(&self, architecture: &Architecture) -> Result<u64> {
        self.space().check(architecture)?;
        let one = |shape: &[usize]| {
            let mut shape = shape.to_vec();
            if let Some(first) = shape.first_mut() {
                *first = 1;
            }
            shape
        };
        let of = |(layer, &operator): (usize, &usize)| {
            self.operators[layer][operator].multiplications(&one(&self.shapes[layer]))
        };
        let layers: u64 = architecture.0.iter().enumerate().map(of).sum();
        Ok(layers + self.ends.multiplications(&one(self.example.dims())))
    }

    /// Seconds of a forward pass in evaluation: the median of some runs after three that do not count, and the least and largest. Architectures whose intervals overlap are in no order.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and no runs.
    pub fn latency(&self, x: &Tensor, architecture: &Architecture, runs: usize) -> Result<Latency> {
        if runs == 0 {
            return Err(Error::value("SuperNet::latency", "runs", 0.0, "at least 1"));
        }
        let mut seconds = Vec::with_capacity(runs);
        for run in 0..runs + 3 {
            let start = std::time::Instant::now();
            std::hint::black_box(self.forward(x, architecture, &mut Mode::evaluate())?);
            if run >= 3 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        seconds.sort_by(f64::total_cmp);
        Ok(Latency { median: seconds[runs / 2], least: seconds[0], largest: seconds[runs - 1] })
    }

    /// Sets the running statistics of an architecture's batch norms to those of some batches, so that evaluation scores it by its own. Other operators keep theirs.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and no batches.
    pub fn recalibrate(&self, batches: &[Tensor], architecture: &Architecture) -> Result<()> {
        if batches.is_empty() {
            return Err(Error::invalid("SuperNet::recalibrate", "no batches"));
        }
        // many passes, since a pass moves statistics by a tenth
        for batch in batches.iter().cycle().take(64.max(batches.len())) {
            self.forward(batch, architecture, &mut Mode::recalibrate())?;
        }
        Ok(())
    }

    /// A store with the parameters of one architecture alone, copied, and a network on it that gives the same bits. The names are those of the super-net, so the store's file loads wherever the blueprint of that architecture is built.
    ///
    /// # Errors
    /// An architecture that is not in the space.
    pub fn export(&self, architecture: &Architecture) -> Result<(ParamStore, SuperNet)> {
        let blueprint = Blueprint { space: self.space().only(architecture)?, ..self.blueprint.clone() };
        let store = ParamStore::new(0, self.store.dtype(), self.store.device());
        let network = blueprint.build(&store, &self.example)?;
        let all = self.store.snapshot()?;
        for name in store.snapshot()?.keys() {
            let Some(value) = all.get(name) else { continue };
            store.set(name, value)?;
        }
        Ok((store, network))
    }

    /// A number that changes with any bit of any parameter or running statistic.
    ///
    /// # Errors
    /// Those of Candle.
    pub fn checksum(&self) -> Result<u64> {
        let mut sum = 0xcbf2_9ce4_8422_2325u64;
        for (name, value) in self.store.snapshot()? {
            let values = value.flatten_all()?.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>()?;
            let bytes = name.bytes().chain(values.into_iter().flat_map(|value| value.to_bits().to_le_bytes()));
            bytes.for_each(|byte| sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        }
        Ok(sum)
    }
}

/// Seconds of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The largest.
    pub largest: f64,
}

impl Latency {
    /// Which one is faster, as far as the measured ranges do not overlap.
    pub fn order(&self, other: &Self) -> Option<std::cmp::Ordering> {
        if self.largest < other.least {
            Some(std::cmp::Ordering::Less)
        } else if other.largest < self.least {
            Some(std::cmp::Ordering::Greater)
        } else {
            None
        }
    }
}
