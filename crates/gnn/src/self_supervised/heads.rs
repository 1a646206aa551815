//! What objectives need beside the encoder, and their losses.

use super::contrast::{grace, normalize_rows, nt_xent};
use super::data::{Many, Part, Whole};
use super::encoder::{Encoder, EncoderConfig, encoder};
use super::info_graph::info_graph;
use super::momentum::follow;
use super::objective::Objective;
use crate::augment::{Augmentation, drop_edges, mask_features};
use crate::conv::{Convolution, GcnConv, gcn_conv};
use crate::lagraph::{LaGraph, lagraph};
use crate::{Batch, Error, Features, Graph, Mode, Result};
use candle_core::Tensor;
use candle_nn::{Init, Module, VarBuilder};
use core_tensor::nn::{Linear, Prelu, linear, prelu};
use core_tensor::ops;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::sparse::SparsePattern;

/// Where the heads' parameters are in the store of the encoder.
pub(super) const PREFIX: &str = "head";

/// The heads of an objective.
pub(super) enum Heads {
    LaGraph(Box<LaGraph>),
    GraphCl { temperature: f64, augmentations: [Augmentation; 2], projection: [Linear; 2] },
    InfoGraph { local: Ladder, global: Ladder },
    Grace { temperature: f64, edges: [f64; 2], features: [f64; 2], projection: [Linear; 2] },
    Dgi { bilinear: Tensor },
    Bgrl { edges: [f64; 2], features: [f64; 2], predictor: (Linear, Prelu, Linear), target: Box<Target> },
    Gae,
    Vgae { deviations: GcnConv },
}

/// The encoder that follows.
pub(super) struct Target {
    store: ParamStore,
    encoder: Encoder,
    momentum: f64,
}

/// Three layers with ReLU beside a linear shortcut.
pub(super) struct Ladder {
    layers: [Linear; 3],
    shortcut: Linear,
}

impl Ladder {
    fn new(width: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let layer = |name: &str| linear(width, width, vb.pp(name));
        Ok(Self { layers: [layer("0")?, layer("1")?, layer("2")?], shortcut: layer("shortcut")? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut y = x.clone();
        for layer in &self.layers {
            y = ops::relu(&layer.forward(&y)?)?;
        }
        Ok(ops::add(&y, &self.shortcut.forward(x)?)?)
    }
}

impl Heads {
    /// Heads for an encoder whose parameters are in `store` under `encoder`.
    pub(super) fn new(objective: &Objective, config: &EncoderConfig, store: &ParamStore) -> Result<Self> {
        // heads of other objectives stay as they are
        let vb = store.var_builder().pp(PREFIX).pp(objective.name());
        let width = config.width();
        let pair = |vb: VarBuilder<'_>| -> Result<[Linear; 2]> {
            Ok([linear(width, width, vb.pp("0"))?, linear(width, width, vb.pp("1"))?])
        };
        Ok(match objective {
            Objective::LaGraph(config) => {
                // the same parameters of the encoder, by name
                Self::LaGraph(Box::new(lagraph(config.clone(), store.var_builder())?))
            }
            Objective::GraphCl { temperature, augmentations } => Self::GraphCl {
                temperature: *temperature,
                augmentations: *augmentations,
                projection: pair(vb.pp("projection"))?,
            },
            Objective::InfoGraph => Self::InfoGraph {
                local: Ladder::new(width, vb.pp("local"))?,
                global: Ladder::new(width, vb.pp("global"))?,
            },
            Objective::Grace { temperature, edges, features } => Self::Grace {
                temperature: *temperature,
                edges: *edges,
                features: *features,
                projection: pair(vb.pp("projection"))?,
            },
            Objective::Dgi => {
                let bound = 1.0 / (width as f64).sqrt();
                let init = Init::Uniform { lo: -bound, up: bound };
                Self::Dgi { bilinear: vb.get_with_hints((width, width), "bilinear", init)? }
            }
            Objective::Bgrl { edges, features, momentum } => {
                let vb = vb.pp("predictor");
                let predictor =
                    (linear(width, width, vb.pp("0"))?, prelu(1, vb.pp("act"))?, linear(width, width, vb.pp("1"))?);
                let copy = ParamStore::new(0, store.dtype(), store.device());
                let following = encoder(config, copy.var_builder().pp("encoder"))?;
                follow(&copy, store, 0.0)?;
                let target = Target { store: copy, encoder: following, momentum: *momentum };
                Self::Bgrl { edges: *edges, features: *features, predictor, target: Box::new(target) }
            }
            Objective::Gae => Self::Gae,
            Objective::Vgae => {
                let inputs = if config.layers > 1 { config.hidden } else { config.inputs };
                Self::Vgae { deviations: gcn_conv(inputs, config.hidden, vb.pp("deviations"))? }
            }
        })
    }

    /// The loss of some graphs.
    pub(super) fn of_graphs(&self, encoder: &Encoder, many: &Many, part: &Part, rng: &mut Rng) -> Result<Tensor> {
        let mode = Mode::recalibrate();
        match self {
            Self::LaGraph(model) => lagraph_loss(model, part, rng),
            Self::GraphCl { temperature, augmentations, projection } => {
                let mut views = Vec::with_capacity(2);
                for augmentation in augmentations {
                    let (batch, features) = augmented(many, &part.items, *augmentation, rng)?;
                    let z = encoder.read_out(&encoder.layers(&features, batch.adjacency(), &mode)?, batch.graphs())?;
                    views.push(projection[1].forward(&ops::relu(&projection[0].forward(&z)?)?)?);
                }
                nt_xent(&views[0], &views[1], *temperature)
            }
            Self::InfoGraph { local, global } => {
                let layers = encoder.layers(&part.features, part.batch.adjacency(), &mode)?;
                let graphs = global.forward(&encoder.read_out(&layers, part.batch.graphs())?)?;
                let nodes = local.forward(&ops::cat(&layers, 1)?)?;
                info_graph(&graphs, &nodes, part.batch.graphs())
            }
            _ => Err(Error::invalid_data("SelfSupervised::fit", "an objective for nodes with many graphs")),
        }
    }

    /// The loss of the nodes of one graph.
    pub(super) fn of_nodes(&self, encoder: &Encoder, whole: &Whole, rng: &mut Rng) -> Result<Tensor> {
        let mode = Mode::recalibrate();
        let layers_of = |features: &Features, batch: &Batch| encoder.layers(features, batch.adjacency(), &mode);
        let last = |layers: Vec<Tensor>| -> Result<Tensor> {
            layers.into_iter().next_back().ok_or_else(|| Error::invalid_data("Encoder::layers", "no layer"))
        };
        match self {
            Self::LaGraph(model) => lagraph_loss(model, &whole.part(), rng),
            Self::Grace { temperature, edges, features, projection } => {
                let mut views = Vec::with_capacity(2);
                for view in 0..2 {
                    let (batch, x) = node_view(whole, edges[view], features[view], rng)?;
                    let h = last(layers_of(&x, &batch)?)?;
                    views.push(projection[1].forward(&ops::elu(&projection[0].forward(&h)?, 1.0)?)?);
                }
                grace(&views[0], &views[1], *temperature)
            }
            Self::Dgi { bilinear } => {
                let h = last(layers_of(&whole.features, &whole.batch)?)?;
                let order = rng.permutation(whole.graph.num_nodes());
                let shuffled = crate::augment::select_rows(&whole.features, &order)?;
                let corrupted = last(layers_of(&shuffled, &whole.batch)?)?;
                let summary = ops::sigmoid(&ops::mean_keepdim(&h, &[0])?)?;
                // h W s for both, and binary cross-entropy with 1 and 0
                let direction = ops::linear(&summary, bilinear, None)?;
                let logits =
                    ops::cat(&[ops::linear(&h, &direction, None)?, ops::linear(&corrupted, &direction, None)?], 0)?;
                let n = whole.graph.num_nodes();
                let targets: Vec<f32> = (0..2 * n).map(|row| f32::from(u8::from(row < n))).collect();
                let targets = Tensor::from_vec(targets, (2 * n, 1), h.device())?.to_dtype(h.dtype())?;
                Ok(ops::bce_with_logits(&logits, &targets)?)
            }
            Self::Bgrl { edges, features, predictor, target } => {
                let (first, second, third) = predictor;
                let mut predicted = Vec::with_capacity(2);
                let mut targets = Vec::with_capacity(2);
                for view in 0..2 {
                    let (batch, x) = node_view(whole, edges[view], features[view], rng)?;
                    let h = last(layers_of(&x, &batch)?)?;
                    predicted.push(third.forward(&second.forward(&first.forward(&h)?)?)?);
                    let still = Mode::recalibrate().without_updates();
                    targets.push(last(target.encoder.layers(&x, batch.adjacency(), &still)?)?.detach());
                }
                let apart = |q: &Tensor, h: &Tensor| -> Result<Tensor> {
                    let product = ops::mul(&normalize_rows(q)?, &normalize_rows(h)?)?;
                    Ok(ops::affine(&ops::sum_all(&product)?, -2.0 / q.dims()[0] as f64, 2.0)?)
                };
                Ok(ops::add(&apart(&predicted[0], &targets[1])?, &apart(&predicted[1], &targets[0])?)?)
            }
            Self::Gae => {
                let h = last(layers_of(&whole.features, &whole.batch)?)?;
                edge_loss(&h, whole, rng)
            }
            Self::Vgae { deviations } => {
                let layers = layers_of(&whole.features, &whole.batch)?;
                let log_std = match layers.len() {
                    1 => deviations.forward_features(&whole.features, whole.batch.adjacency())?,
                    count => deviations.forward(&layers[count - 2], whole.batch.adjacency())?,
                };
                let mean = last(layers)?;
                // beyond e^10 a deviation says no more, and its square would overflow
                let log_std = ops::affine(&ops::tanh(&ops::affine(&log_std, 0.1, 0.0)?)?, 10.0, 0.0)?;
                let std = ops::exp(&log_std)?;
                let noise = rng.normal(0.0, 1.0, mean.dims(), mean.dtype(), mean.device())?;
                let drawn = ops::add(&mean, &ops::mul(&std, &noise)?)?;
                // −½ Σ (1 + 2 log σ − μ² − σ²), the mean over nodes, divided by n again
                let n = mean.dims()[0] as f64;
                let sum = ops::sub(&ops::add(&ops::sqr(&mean)?, &ops::sqr(&std)?)?, &ops::affine(&log_std, 2.0, 1.0)?)?;
                let divergence = ops::affine(&ops::sum_all(&sum)?, 0.5 / (n * n), 0.0)?;
                Ok(ops::add(&edge_loss(&drawn, whole, rng)?, &divergence)?)
            }
            _ => Err(Error::invalid_data("SelfSupervised::fit", "an objective for graphs with one graph")),
        }
    }

    /// What follows a step; `progress` runs from 0 to 1.
    pub(super) fn after_step(&self, store: &ParamStore, progress: f64) -> Result<()> {
        if let Self::Bgrl { target, .. } = self {
            let momentum = 1.0 - (1.0 - target.momentum) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
            follow(&target.store, store, momentum)?;
        }
        Ok(())
    }
}

fn lagraph_loss(model: &LaGraph, part: &Part, rng: &mut Rng) -> Result<Tensor> {
    let view = model.config().masking.draw(&part.features, &part.sizes, rng)?;
    Ok(model.loss(&part.batch, &part.target, &view, &Mode::recalibrate())?.total)
}

fn augmented(many: &Many, items: &[u32], augmentation: Augmentation, rng: &mut Rng) -> Result<(Batch, Features)> {
    let (mut graphs, mut features) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
    for &item in items {
        let of_graph = Features::Dense(many.features[item as usize].clone());
        let (graph, _, x) = augmentation.apply(&many.graphs[item as usize], &of_graph, rng)?;
        graphs.push(graph);
        features.push(x.to_dense()?);
    }
    let graphs: Vec<&Graph> = graphs.iter().collect();
    let (dtype, device) = (features[0].dtype(), features[0].device().clone());
    Ok((Batch::from_graphs(&graphs, dtype, &device)?, Features::Dense(Tensor::cat(&features, 0)?)))
}

pub(crate) fn view(
    graph: &Graph,
    features: &Features,
    edges: f64,
    columns: f64,
    rng: &mut Rng,
) -> Result<(Batch, Features)> {
    let features = mask_features(features, columns, rng)?;
    let graph = drop_edges(graph, edges, rng)?;
    Ok((Batch::single(&graph, features.dtype(), features.device())?, features))
}

fn node_view(whole: &Whole, edges: f64, columns: f64, rng: &mut Rng) -> Result<(Batch, Features)> {
    view(&whole.graph, &whole.features, edges, columns, rng)
}

/// Binary cross-entropy of scalar products at all edges and at as many pairs without one.
fn edge_loss(h: &Tensor, whole: &Whole, rng: &mut Rng) -> Result<Tensor> {
    let n = whole.graph.num_nodes();
    let (mut left, mut right): (Vec<u32>, Vec<u32>) =
        whole.graph.edges().filter(|(u, v, _)| u != v).map(|(u, v, _)| (u, v)).unzip();
    let num_edges = left.len();
    if num_edges == 0 {
        return Err(Error::invalid_data("SelfSupervised::fit", "a graph without edges has none to predict"));
    }
    // pairs that are edges or loops are drawn again; a graph that is nearly complete gives up
    for _ in 0..num_edges {
        for _ in 0..100 {
            let (u, v) = (rng.below(n) as u32, rng.below(n) as u32);
            if u != v && whole.graph.neighbors(u as usize).binary_search(&v).is_err() {
                left.push(u);
                right.push(v);
                break;
            }
        }
    }
    let count = left.len();
    let pattern = SparsePattern::from_edges(n, n, &left, &right)?;
    let logits = pattern.sampled_dot(h, h)?;
    let targets: Vec<f32> = (0..count).map(|pair| f32::from(u8::from(pair < num_edges))).collect();
    let targets = Tensor::from_vec(targets, count, h.device())?.to_dtype(h.dtype())?;
    Ok(ops::bce_with_logits(&logits, &targets)?)
}
