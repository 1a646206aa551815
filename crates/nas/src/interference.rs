//! Interference: how differently children pull at the operator that they share.

use crate::alignment::{AlignmentConfig, Reduction, alignment};
use crate::space::Architecture;
use crate::supernet::{Output, SuperNet};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use core_tensor::Mode;
use core_tensor::metrics::{self, mean};
use core_tensor::random::Rng;

type LossFn<'a> = dyn Fn(&Output) -> Result<Tensor> + 'a;

/// One batch with its loss, on which children of a super-net are compared: always the same batch, since with different ones its noise hides everything.
pub struct Probe<'a> {
    net: &'a SuperNet,
    x: &'a Tensor,
    loss: &'a LossFn<'a>,
}

impl std::fmt::Debug for Probe<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").field("net", self.net).finish_non_exhaustive()
    }
}

/// A child on the probe's batch.
#[derive(Debug, Clone)]
pub struct Child {
    /// The architecture.
    pub architecture: Architecture,
    /// Its loss.
    pub loss: f64,
    /// For each layer the gradient of the loss with respect to the parameters of the child's operator there, in the order of their names, each flattened; empty for operators without parameters.
    pub gradients: Vec<Vec<f64>>,
    /// The hidden state before each layer and behind the last.
    pub hidden: Vec<Tensor>,
}

/// `⟨a, b⟩ / (‖a‖ ‖b‖)`; `None` where one of them is zero or empty.
///
/// # Errors
/// Lists of different lengths.
pub fn cosine(a: &[f64], b: &[f64]) -> Result<Option<f64>> {
    if a.len() != b.len() {
        return Err(Error::invalid("cosine", format!("lists of {} and {} numbers", a.len(), b.len())));
    }
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let (aa, bb) = (dot(a, a), dot(b, b));
    Ok((aa > 0.0 && bb > 0.0).then(|| dot(a, b) / (aa.sqrt() * bb.sqrt())))
}

/// Cosine similarity of two tensors as lists of numbers.
fn similarity(a: &Tensor, b: &Tensor) -> Result<Option<f64>> {
    let flat = |x: &Tensor| -> Result<Vec<f64>> { Ok(x.detach().flatten_all()?.to_dtype(DType::F64)?.to_vec1()?) };
    cosine(&flat(a)?, &flat(b)?)
}

/// A mean with its standard error, and how many pairs it leaves out because a gradient is zero.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Mean {
    /// The mean; NaN without values.
    pub mean: f64,
    /// Its standard error; NaN for fewer than two values.
    pub error: f64,
    /// Values.
    pub count: usize,
    /// Pairs without a value.
    pub undefined: usize,
}

impl Mean {
    /// Of values, some of which may be missing.
    pub fn of(values: &[Option<f64>]) -> Self {
        let found: Vec<f64> = values.iter().copied().flatten().collect();
        let (n, center) = (found.len() as f64, mean(&found));
        let variance = found.iter().map(|value| (value - center).powi(2)).sum::<f64>() / (n - 1.0);
        let error = if found.len() < 2 { f64::NAN } else { (variance / n).sqrt() };
        Self { mean: center, error, count: found.len(), undefined: values.len() - found.len() }
    }
}

/// Similarities at one distance.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AtDistance {
    /// Layers in which the children differ.
    pub distance: usize,
    /// Cosine similarity of the gradients at the shared operator.
    pub cosine: Mean,
    /// Mean loss of the children: similar gradients of children that have learnt nothing mean nothing.
    pub loss: f64,
}

/// Spearman's correlation of the gradients' similarity with that of other things, over random pairs that share an operator.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Association {
    /// With the shared operator's inputs.
    pub inputs: Option<f64>,
    /// With its outputs.
    pub outputs: Option<f64>,
    /// With the hidden states behind the last layer.
    pub finals: Option<f64>,
    /// The last one among pairs of one distance alone, for each distance with enough pairs.
    pub finals_at_distance: Vec<(usize, usize, Option<f64>)>,
    /// Similarities of each pair: distance, gradients, inputs, outputs, finals.
    pub pairs: Vec<(usize, f64, f64, f64, f64)>,
    /// Pairs without a similarity.
    pub undefined: usize,
    /// Mean loss of the children.
    pub loss: f64,
}

/// Similarities of gradients where a child's input to the shared part is mixed with another's.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ForcedInput {
    /// The share of the other child's input.
    pub share: f64,
    /// Mixed with α's own input, the child that gradients are compared with.
    pub with_first: Mean,
    /// Mixed with that of a third child, which has yet other operators before: what mixing alone does.
    pub with_unrelated: Mean,
    /// Mean loss of α and of β with α's share.
    pub loss: f64,
}

/// Similarities of gradients where a child's outputs behind the shared operator are drawn to another's.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ForcedOutput {
    /// λ, the weight of the summed mean squared differences of the later layers.
    pub weight: f64,
    /// β drawn to α, the child that gradients are compared with.
    pub with_first: Mean,
    /// β drawn to a third child, which has yet other operators behind: what another loss alone does.
    pub with_unrelated: Mean,
    /// Mean task loss of α and β, the penalty not in it.
    pub loss: f64,
}

impl<'a> Probe<'a> {
    /// A probe; `loss` is the mean loss of the batch from a child's output.
    pub fn new(net: &'a SuperNet, x: &'a Tensor, loss: &'a LossFn<'a>) -> Self {
        Self { net, x, loss }
    }

    /// Batch norms see the batch, nothing is updated, and nothing is dropped.
    fn mode() -> Mode<'static> {
        Mode::recalibrate().without_updates()
    }

    /// Gradients of all of a child's operators, from one pass.
    ///
    /// # Errors
    /// An architecture that is not in the space, or a loss that is not finite.
    pub fn child(&self, architecture: &Architecture) -> Result<Child> {
        self.run(architecture, None)
    }

    /// A child whose later outputs are drawn to another's: its gradients are those of its loss plus the [`alignment`] of the hidden states behind all layers after `layer` with those of `other`, which gets no gradient. [`Child::loss`] stays the task's.
    /// At a weight of 0 it is [`child`](Self::child).
    ///
    /// # Errors
    /// As [`child`](Self::child), a last layer, behind which there is nothing to draw, and states of other shapes.
    pub fn drawn(
        &self,
        architecture: &Architecture,
        layer: usize,
        other: &Child,
        config: &AlignmentConfig,
    ) -> Result<Child> {
        self.run(architecture, Some((layer, other, config)))
    }

    fn run(&self, architecture: &Architecture, drawn: Option<(usize, &Child, &AlignmentConfig)>) -> Result<Child> {
        self.net.space().check(architecture)?;
        let mut mode = Self::mode();
        let first = self.net.stem(self.x, &mut mode)?;
        let output = self.net.onward(&first, 0, architecture, &mut mode)?;
        let mut hidden = vec![first.detach()];
        hidden.extend(output.hidden.iter().map(Tensor::detach));
        let mut loss = (self.loss)(&output)?;
        let of_task = number(&loss, architecture)?;
        if let Some((layer, other, config)) = drawn {
            let behind = |states: &'_ [Tensor], from: usize| states.get(from..).unwrap_or_default().to_vec();
            // a child's states begin with that before the first layer
            let aligned = alignment(&behind(&output.hidden, layer + 1), &behind(&other.hidden, layer + 2), config)?;
            loss = core_tensor::ops::add(&loss, &aligned.penalty)?;
        }
        let gradients = self.gradients(&loss, architecture, 0)?;
        Ok(Child { architecture: architecture.clone(), loss: of_task, gradients, hidden })
    }

    /// Gradients of the operators from a layer on; earlier layers have none.
    fn gradients(&self, loss: &Tensor, architecture: &Architecture, from: usize) -> Result<Vec<Vec<f64>>> {
        let store = core_tensor::backward(loss)?;
        let mut all = vec![Vec::new(); from];
        for (layer, &operator) in architecture.0.iter().enumerate().skip(from) {
            let mut own = Vec::new();
            for (_, var) in self.net.operator_parameters(layer, operator) {
                match store.get(var) {
                    Some(gradient) => own.extend(gradient.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?),
                    None => own.extend(std::iter::repeat_n(0.0, var.elem_count())),
                }
            }
            all.push(own);
        }
        Ok(all)
    }

    /// `s_l(α, β)`: the cosine similarity of the gradients that two children send to the operator that they share in a layer; `None` where one of them is zero.
    ///
    /// # Errors
    /// Children that do not share it.
    pub fn gradient_cosine(&self, layer: usize, a: &Child, b: &Child) -> Result<Option<f64>> {
        let operators = [a, b].map(|child| child.architecture.0.get(layer));
        match operators {
            [Some(a), Some(b)] if a == b => {}
            _ => {
                let reason = format!("{} and {} do not share layer {layer}", a.architecture, b.architecture);
                return Err(Error::invalid("Probe::gradient_cosine", reason));
            }
        }
        cosine(&a.gradients[layer], &b.gradients[layer])
    }

    /// Similarities of each pair of architectures that share a layer's operator, `None` where they do not or a gradient is zero; and their mean loss.
    ///
    /// # Errors
    /// As [`child`](Self::child).
    pub fn heat_map(&self, layer: usize, architectures: &[Architecture]) -> Result<(Vec<Vec<Option<f64>>>, f64)> {
        let children: Vec<Child> =
            architectures.iter().map(|architecture| self.child(architecture)).collect::<Result<_>>()?;
        let of = |a: &Child, b: &Child| match a.architecture.0[layer] == b.architecture.0[layer] {
            true => self.gradient_cosine(layer, a, b),
            false => Ok(None),
        };
        let map: Vec<Vec<Option<f64>>> =
            children.iter().map(|a| children.iter().map(|b| of(a, b)).collect()).collect::<Result<_>>()?;
        Ok((map, mean(&children.iter().map(|child| child.loss).collect::<Vec<_>>())))
    }

    /// Observation 1: chains of children that begin with a random one and differ in one further layer each time, compared with the first at a random layer that stays.
    ///
    /// # Errors
    /// A space of one layer or without choices, no chains, and as [`child`](Self::child).
    pub fn by_distance(&self, chains: usize, seed: u64) -> Result<Vec<AtDistance>> {
        const OPERATION: &str = "Probe::by_distance";
        let space = self.net.space();
        let layers = space.num_layers();
        if layers < 2 || chains == 0 {
            return Err(Error::invalid(
                OPERATION,
                format!("{layers} layers and {chains} chains, expected 2 and 1 or more"),
            ));
        }
        let mut rng = Rng::new(seed).fork("chains");
        let mut cosines = vec![Vec::new(); layers];
        let mut losses = vec![Vec::new(); layers];
        for _ in 0..chains {
            let first = space.sample(&mut rng)?;
            let shared = rng.below(layers);
            let mut others: Vec<usize> =
                (0..layers).filter(|&layer| layer != shared && space.candidates(layer).len() > 1).collect();
            rng.shuffle(&mut others);
            let of_first = self.child(&first)?;
            let mut architecture = first;
            for (at, layer) in others.into_iter().enumerate() {
                let draw = rng.below(space.candidates(layer).len() - 1);
                architecture = crate::sampler::Gradual::changed(&architecture, layer, draw);
                if !space.allows(&architecture) {
                    continue;
                }
                let child = self.child(&architecture)?;
                cosines[at + 1].push(self.gradient_cosine(shared, &of_first, &child)?);
                losses[at + 1].push(child.loss);
            }
        }
        let found = cosines.iter().zip(&losses).enumerate().skip(1).filter(|(_, (cosines, _))| !cosines.is_empty());
        let of = |(distance, (cosines, losses)): (usize, (&Vec<Option<f64>>, &Vec<f64>))| AtDistance {
            distance,
            cosine: Mean::of(cosines),
            loss: mean(losses),
        };
        Ok(found.map(of).collect())
    }

    /// Observation 2a: random pairs of children that share an operator, and what goes with the similarity of their gradients. The number of layers in which they differ confounds all of it, so the last one is also given at fixed distance.
    ///
    /// # Errors
    /// Fewer than three pairs, and as [`child`](Self::child).
    pub fn association(&self, pairs: usize, seed: u64) -> Result<Association> {
        if pairs < 3 {
            return Err(Error::value("Probe::association", "pairs", pairs as f64, "at least 3"));
        }
        let space = self.net.space();
        let mut rng = Rng::new(seed).fork("pairs");
        let mut all = Vec::with_capacity(pairs);
        let mut losses = Vec::new();
        let mut undefined = 0;
        for _ in 0..pairs {
            let a = space.sample(&mut rng)?;
            let layer = rng.below(space.num_layers());
            let mut b = space.sample(&mut rng)?;
            b.0[layer] = a.0[layer];
            if b == a || !space.allows(&b) {
                undefined += 1;
                continue;
            }
            let (a, b) = (self.child(&a)?, self.child(&b)?);
            losses.extend([a.loss, b.loss]);
            let last = a.hidden.len() - 1;
            let found = (
                self.gradient_cosine(layer, &a, &b)?,
                similarity(&a.hidden[layer], &b.hidden[layer])?,
                similarity(&a.hidden[layer + 1], &b.hidden[layer + 1])?,
                similarity(&a.hidden[last], &b.hidden[last])?,
            );
            match found {
                (Some(s), Some(inputs), Some(outputs), Some(finals)) => {
                    all.push((a.architecture.distance(&b.architecture), s, inputs, outputs, finals));
                }
                _ => undefined += 1,
            }
        }
        type Pair = (usize, f64, f64, f64, f64);
        let spearman = |pairs: &[&Pair], of: fn(&Pair) -> f64| {
            let s: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
            metrics::spearman(&s, &pairs.iter().map(|pair| of(pair)).collect::<Vec<_>>()).ok()
        };
        let every: Vec<&Pair> = all.iter().collect();
        let at = |distance: usize| -> Vec<&Pair> { all.iter().filter(|pair| pair.0 == distance).collect() };
        let finals_at_distance = (1..=space.num_layers())
            .map(|distance| (distance, at(distance)))
            .filter(|(_, pairs)| pairs.len() >= 8)
            .map(|(distance, pairs)| (distance, pairs.len(), spearman(&pairs, |pair| pair.4)))
            .collect();
        Ok(Association {
            inputs: spearman(&every, |pair| pair.2),
            outputs: spearman(&every, |pair| pair.3),
            finals: spearman(&every, |pair| pair.4),
            finals_at_distance,
            undefined,
            loss: mean(&losses),
            pairs: all,
        })
    }

    /// A child whose input to a layer is replaced, without gradient into it: its gradients from that layer on.
    ///
    /// # Errors
    /// As [`child`](Self::child), and inputs that do not fit.
    pub fn forced(&self, architecture: &Architecture, layer: usize, input: &Tensor) -> Result<Child> {
        self.net.space().check(architecture)?;
        let output = self.net.onward(&input.detach(), layer, architecture, &mut Self::mode())?;
        let loss = (self.loss)(&output)?;
        let gradients = self.gradients(&loss, architecture, layer)?;
        let mut hidden = vec![input.detach(); layer + 1];
        hidden.extend(output.hidden.iter().map(Tensor::detach));
        Ok(Child { architecture: architecture.clone(), loss: number(&loss, architecture)?, gradients, hidden })
    }

    /// Observation 2b: α and β differ in every layer before the shared one and agree from it on; β's input to it is mixed with α's, `θ h(α) + (1 − θ) h(β)`, and, beside, with that of a child that differs from both in every earlier layer.
    /// At θ = 1 the first is 1 by construction.
    ///
    /// # Errors
    /// No shares or trials, layers with fewer than three candidates, and as [`child`](Self::child).
    pub fn forced_input(&self, shares: &[f64], trials: usize, seed: u64) -> Result<Vec<ForcedInput>> {
        const OPERATION: &str = "Probe::forced_input";
        let space = self.net.space();
        let layers = space.num_layers();
        if shares.is_empty() || trials == 0 || layers < 2 {
            return Err(Error::invalid(OPERATION, "no shares, trials or earlier layers"));
        }
        if let Some(layer) = (0..layers - 1).find(|&layer| space.candidates(layer).len() < 3) {
            let reason = format!("layer {layer} has fewer than three candidates, so there is no unrelated child");
            return Err(Error::invalid(OPERATION, reason));
        }
        let mut rng = Rng::new(seed).fork("forced");
        let mut found = vec![(Vec::new(), Vec::new(), Vec::new()); shares.len()];
        for _ in 0..trials {
            let a = space.sample(&mut rng)?;
            let layer = 1 + rng.below(layers - 1);
            let [b, c] = self.others(&a, 0..layer, &mut rng);
            let [of_a, of_b, of_c] = [&a, &b, &c].map(|architecture| self.child(architecture));
            let (of_a, of_b, of_c) = (of_a?, of_b?, of_c?);
            for (&share, (first, unrelated, losses)) in shares.iter().zip(&mut found) {
                let mixed = |other: &Child| -> Result<Tensor> {
                    Ok(((&other.hidden[layer] * share)? + (&of_b.hidden[layer] * (1.0 - share))?)?)
                };
                let own = self.forced(&b, layer, &mixed(&of_a)?)?;
                first.push(self.gradient_cosine(layer, &of_a, &own)?);
                losses.extend([of_a.loss, own.loss]);
                let own = self.forced(&b, layer, &mixed(&of_c)?)?;
                unrelated.push(self.gradient_cosine(layer, &of_a, &own)?);
            }
        }
        let found = shares.iter().zip(&found).map(|(&share, (first, unrelated, losses))| ForcedInput {
            share,
            with_first: Mean::of(first),
            with_unrelated: Mean::of(unrelated),
            loss: mean(losses),
        });
        Ok(found.collect())
    }

    /// Observation 2c: α and β agree up to the shared operator and differ in every layer behind it; β's loss is joined by λ times the sum over those layers of the mean squared difference of its hidden states from α's (no gradient into α), and, beside, from those of a child that differs from
    /// both in every later layer. At λ = 0 both are the plain similarity. What is drawn is the gradient of one step, not the states: where λ is large, β's gradient is that of the drawing alone, which says nothing about its task.
    ///
    /// # Errors
    /// No weights or trials, a weight that is negative, layers with fewer than three candidates, and as [`child`](Self::child).
    pub fn forced_output(&self, weights: &[f64], trials: usize, seed: u64) -> Result<Vec<ForcedOutput>> {
        const OPERATION: &str = "Probe::forced_output";
        let space = self.net.space();
        let layers = space.num_layers();
        if weights.is_empty() || trials == 0 || layers < 2 {
            return Err(Error::invalid(OPERATION, "no weights, trials or later layers"));
        }
        if let Some(layer) = (1..layers).find(|&layer| space.candidates(layer).len() < 3) {
            let reason = format!("layer {layer} has fewer than three candidates, so there is no unrelated child");
            return Err(Error::invalid(OPERATION, reason));
        }
        let mut rng = Rng::new(seed).fork("forced output");
        let mut found = vec![(Vec::new(), Vec::new()); weights.len()];
        let mut losses = Vec::new();
        for _ in 0..trials {
            let a = space.sample(&mut rng)?;
            let layer = rng.below(layers - 1);
            let [b, c] = self.others(&a, layer + 1..layers, &mut rng);
            let (of_a, of_c) = (self.child(&a)?, self.child(&c)?);
            for (at, (&weight, (first, unrelated))) in weights.iter().zip(&mut found).enumerate() {
                let config = AlignmentConfig { weight, reduction: Reduction::Sum, is_normalized: false };
                let own = self.drawn(&b, layer, &of_a, &config)?;
                first.push(self.gradient_cosine(layer, &of_a, &own)?);
                if at == 0 {
                    losses.extend([of_a.loss, own.loss]);
                }
                let own = self.drawn(&b, layer, &of_c, &config)?;
                unrelated.push(self.gradient_cosine(layer, &of_a, &own)?);
            }
        }
        let loss = mean(&losses);
        let found = weights.iter().zip(&found).map(|(&weight, (first, unrelated))| ForcedOutput {
            weight,
            with_first: Mean::of(first),
            with_unrelated: Mean::of(unrelated),
            loss,
        });
        Ok(found.collect())
    }

    /// Two architectures that differ from one, and from each other, in each of some layers of at least three candidates.
    fn others(&self, a: &Architecture, layers: std::ops::Range<usize>, rng: &mut Rng) -> [Architecture; 2] {
        let (mut b, mut c) = (a.clone(), a.clone());
        for layer in layers {
            let count = self.net.space().candidates(layer).len();
            let (first, second) = (rng.below(count - 1), rng.below(count - 2));
            let others: Vec<usize> = (0..count).filter(|&operator| operator != a.0[layer]).collect();
            b.0[layer] = others[first];
            let left: Vec<usize> = others.into_iter().filter(|&operator| operator != b.0[layer]).collect();
            c.0[layer] = left[second];
        }
        [b, c]
    }

    /// How alike the gradients of consecutive steps are, on this batch: for each step the mean similarity over the operators that its architecture shares with the one before, then the mean over steps. Steps that share none are counted as undefined.
    ///
    /// # Errors
    /// Fewer than two architectures, and as [`child`](Self::child).
    pub fn consecutive(&self, architectures: &[Architecture]) -> Result<(Mean, f64)> {
        if architectures.len() < 2 {
            let got = architectures.len() as f64;
            return Err(Error::value("Probe::consecutive", "architectures", got, "at least 2"));
        }
        let mut steps = Vec::new();
        let mut losses = Vec::new();
        let mut before: Option<Child> = None;
        for architecture in architectures {
            let child = self.child(architecture)?;
            losses.push(child.loss);
            if let Some(before) = &before {
                let shared = (0..architecture.0.len()).filter(|&at| before.architecture.0[at] == architecture.0[at]);
                let cosines = shared.map(|layer| self.gradient_cosine(layer, before, &child));
                let found: Vec<f64> = cosines.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
                steps.push((!found.is_empty()).then(|| mean(&found)));
            }
            before = Some(child);
        }
        Ok((Mean::of(&steps), mean(&losses)))
    }

    /// Whether children have collapsed: their mean loss is above 0.95 of that of guessing while their gradients are alike (a mean cosine above 0.99).
    ///
    /// # Errors
    /// As [`by_distance`](Self::by_distance).
    pub fn collapse(&self, guessing_loss: f64, chains: usize, seed: u64) -> Result<Collapse> {
        let found = self.by_distance(chains, seed)?;
        let count: usize = found.iter().map(|at| at.cosine.count).sum();
        let weighted = |of: fn(&AtDistance) -> f64| {
            found.iter().filter(|at| at.cosine.count > 0).map(|at| of(at) * at.cosine.count as f64).sum::<f64>()
                / count as f64
        };
        let (cosine, loss) = (weighted(|at| at.cosine.mean), weighted(|at| at.loss));
        Ok(Collapse { loss, guessing_loss, cosine, is_collapsed: loss > 0.95 * guessing_loss && cosine > 0.99 })
    }
}

/// Whether children have collapsed to one output.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Collapse {
    /// Mean loss of the children.
    pub loss: f64,
    /// That of a model that guesses.
    pub guessing_loss: f64,
    /// Mean cosine similarity of their gradients.
    pub cosine: f64,
    /// Both too high.
    pub is_collapsed: bool,
}

fn number(loss: &Tensor, architecture: &Architecture) -> Result<f64> {
    let loss = loss.detach().to_dtype(DType::F64)?.to_scalar::<f64>()?;
    if !loss.is_finite() {
        let path = architecture.to_string();
        return Err(Error::NotFinite { step: 0, path, loss, operator: None });
    }
    Ok(loss)
}
