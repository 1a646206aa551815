//! The encoder of two layers, and its training.

use super::clusters::HierarchicalClusters;
use super::config::OepgConfig;
use super::conv::{EgoConv, ego_conv, normalize};
use super::losses::{cluster_loss, ego_loss};
use crate::conv::{Convolution, GcnConv, gcn_conv_with};
use crate::self_supervised::{follow, nt_xent_symmetric, view};
use crate::{Batch, Error, Features, Graph, Result};
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{Init, VarBuilder};
use core_tensor::nn::{Linear, linear_with};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{init, ops};
use std::ops::ControlFlow;
use std::path::Path;

/// An encoder of two GCN layers, the second with clusters as virtual neighbours, and its trainer. A reconstruction: see the [module](super).
#[derive(Debug)]
pub struct Oepg {
    store: ParamStore,
    layers: Layers,
    projection: [Linear; 2],
    predictor: Tensor,
    clusters: Option<HierarchicalClusters>,
    config: OepgConfig,
}

#[derive(Debug)]
struct Layers {
    first: GcnConv,
    second: EgoConv<GcnConv>,
    slope: f64,
}

/// What both layers give.
struct Encoded {
    y: Tensor,
    /// The sum of descriptors, where there are clusters and λ or γ is not 0.
    ego: Option<Tensor>,
}

/// The parts of the loss in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OepgReport {
    /// The epoch, from 1.
    pub epoch: usize,
    /// The contrast of both views.
    pub local: f64,
    /// The clusters' cross-entropy; 0 before there are clusters.
    pub cluster: f64,
    /// The prediction of the other view's descriptors; 0 before there are clusters.
    pub ego: f64,
}

fn first_layer(config: &OepgConfig, vb: VarBuilder<'_>) -> Result<GcnConv> {
    let weight = init::glorot_normal(config.inputs, config.hidden);
    gcn_conv_with(config.inputs, config.hidden, weight, vb.pp("layer1"))
}

impl Layers {
    fn first(&self, features: &Features, batch: &Batch) -> Result<Tensor> {
        Ok(ops::leaky_relu(&self.first.forward_features(features, batch.adjacency())?, self.slope)?)
    }

    fn encode(
        &self,
        features: &Features,
        batch: &Batch,
        clusters: Option<&HierarchicalClusters>,
        needs_ego: bool,
    ) -> Result<Encoded> {
        let h = self.first(features, batch)?;
        let (y, ego) = match clusters {
            Some(clusters) if needs_ego => {
                let ego = self.second.ego(&h, &normalize(&h)?, clusters)?;
                (self.second.forward_with(&h, &ego, batch.adjacency())?, Some(ego))
            }
            _ => (self.second.base().forward(&h, batch.adjacency())?, None),
        };
        Ok(Encoded { y: ops::leaky_relu(&y, self.slope)?, ego })
    }
}

impl Oepg {
    /// An untrained encoder. Its parameters follow `seed` and their names.
    ///
    /// # Errors
    /// Settings out of range.
    pub fn new(config: OepgConfig, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        config.check()?;
        let store = ParamStore::new(seed, dtype, device);
        let vb = store.var_builder();
        let hidden = config.hidden;
        let normal = init::glorot_normal(hidden, hidden);
        let base = gcn_conv_with(hidden, hidden, normal, vb.pp("layer2"))?;
        let layers = Layers {
            first: first_layer(&config, vb.clone())?,
            second: ego_conv(base, config.conv_config(), vb.pp("layer2"))?,
            slope: config.slope,
        };
        let projected =
            |name: &str| linear_with(hidden, hidden, normal, Some(Init::Const(0.0)), vb.pp("projection").pp(name));
        let projection = [projected("0")?, projected("1")?];
        let predictor = vb.get_with_hints((hidden, hidden), "predictor", normal)?;
        Ok(Self { store, layers, projection, predictor, clusters: None, config })
    }

    /// The settings.
    pub fn config(&self) -> &OepgConfig {
        &self.config
    }

    /// The parameters.
    pub fn store(&self) -> &ParamStore {
        &self.store
    }

    /// The clusters; none before the warm-up ends.
    pub fn clusters(&self) -> Option<&HierarchicalClusters> {
        self.clusters.as_ref()
    }

    /// Trains on one graph, anew or on from where it is: views, contrast, and after the warm-up clusters, which are updated as they come due. `seed` is that of views and clusters. `observer` may end
    /// the training.
    ///
    /// # Errors
    /// Features that do not fit, fewer than two nodes, fewer nodes than clusters, a loss that is not finite, and what the observer returns.
    pub fn fit(
        &mut self,
        graph: &Graph,
        features: &Features,
        seed: u64,
        mut observer: impl FnMut(&OepgReport, &Self) -> Result<ControlFlow<()>>,
    ) -> Result<Vec<OepgReport>> {
        const OPERATION: &str = "Oepg::fit";
        self.check(OPERATION, graph, features)?;
        let config = self.config.clone();
        let whole = Batch::single(graph, features.dtype(), features.device())?;
        let (learning_rate, weight_decay) = (config.learning_rate, config.weight_decay);
        let adam = AdamConfig { learning_rate, weight_decay, ..AdamConfig::default() };
        let mut optimizer = Adam::new(self.store.trainable(), adam)?;
        let slow = ParamStore::new(0, self.store.dtype(), self.store.device());
        let slow_layer = first_layer(&config, slow.var_builder())?;
        follow(&slow, &self.store, 0.0)?;
        let rng = Rng::new(seed);
        let (mut views, mut of_clusters) = (rng.fork("views"), rng.fork("clusters"));
        let mut reports = Vec::new();
        let mut of_instances: Vec<Vec<u32>> = Vec::new();
        for epoch in 1..=config.epochs {
            let due = epoch > config.warmup && (epoch - config.warmup - 1).is_multiple_of(config.update_every);
            if config.uses_clusters() && due {
                let h = ops::leaky_relu(&slow_layer.forward_features(features, whole.adjacency())?, config.slope)?;
                self.update_clusters(&normalize(&h)?.detach(), &mut of_clusters)?;
                if let Some(clusters) = &self.clusters {
                    let levels = clusters.levels().len();
                    of_instances = (0..levels).map(|level| clusters.assignments(level)).collect::<Result<_>>()?;
                }
            }
            let (total, report) = self.loss(graph, features, &of_instances, epoch, &mut views)?;
            let sum: f64 = total.to_dtype(DType::F64)?.to_scalar()?;
            if !sum.is_finite() {
                let reason = format!("the loss is {sum} in epoch {epoch}; a smaller learning rate may help");
                return Err(Error::invalid_data(OPERATION, reason));
            }
            optimizer.backward_step(&total)?;
            follow(&slow, &self.store, config.encoder_momentum)?;
            let next = observer(&report, self)?;
            reports.push(report);
            if next.is_break() {
                break;
            }
        }
        Ok(reports)
    }

    fn update_clusters(&mut self, z: &Tensor, rng: &mut Rng) -> Result<()> {
        self.clusters = Some(match &self.clusters {
            None => HierarchicalClusters::fit(z, &self.config.clusters, rng)?,
            Some(old) => {
                let new = old.warm_update(z, self.config.update_iterations)?;
                match self.config.cluster_momentum {
                    Some(momentum) => old.mix(&new, momentum)?,
                    None => new,
                }
            }
        });
        Ok(())
    }

    fn loss(
        &self,
        graph: &Graph,
        features: &Features,
        of_instances: &[Vec<u32>],
        epoch: usize,
        rng: &mut Rng,
    ) -> Result<(Tensor, OepgReport)> {
        let config = &self.config;
        let clusters = self.clusters.as_ref().filter(|_| !of_instances.is_empty());
        let needs_ego = config.lambda > 0.0 || config.gamma > 0.0;
        let mut encoded = Vec::with_capacity(2);
        for at in 0..2 {
            let (batch, x) = view(graph, features, config.edges[at], config.features[at], rng)?;
            encoded.push(self.layers.encode(&x, &batch, clusters, needs_ego)?);
        }
        let project = |y: &Tensor| -> Result<Tensor> {
            Ok(self.projection[1].forward(&ops::elu(&self.projection[0].forward(y)?, 1.0)?)?)
        };
        let local = nt_xent_symmetric(&project(&encoded[0].y)?, &project(&encoded[1].y)?, config.temperature)?;
        let mut total = local.clone();
        let number = |loss: &Tensor| -> Result<f64> { Ok(loss.to_dtype(DType::F64)?.to_scalar()?) };
        let mut report = OepgReport { epoch, local: number(&local)?, cluster: 0.0, ego: 0.0 };
        if let Some(clusters) = clusters {
            if config.beta > 0.0 {
                let of_views =
                    |at: usize| cluster_loss(&encoded[at].y, clusters, of_instances, config.cluster_temperature);
                let loss = ops::affine(&ops::add(&of_views(0)?, &of_views(1)?)?, 0.5, 0.0)?;
                report.cluster = number(&loss)?;
                total = ops::add(&total, &ops::affine(&loss, config.beta, 0.0)?)?;
            }
            if let (true, Some(first), Some(second)) = (config.gamma > 0.0, &encoded[0].ego, &encoded[1].ego) {
                let loss = ego_loss([&encoded[0].y, &encoded[1].y], [first, second], &self.predictor)?;
                report.ego = number(&loss)?;
                total = ops::add(&total, &ops::affine(&loss, config.gamma, 0.0)?)?;
            }
        }
        Ok((total, report))
    }

    /// The embedding of each node, `[nodes, hidden]`, with the clusters as they are: also of a graph that was not trained on.
    ///
    /// # Errors
    /// Features that do not fit.
    pub fn embed(&self, graph: &Graph, features: &Features) -> Result<Tensor> {
        self.check("Oepg::embed", graph, features)?;
        let batch = Batch::single(graph, features.dtype(), features.device())?;
        let needs_ego = self.config.lambda > 0.0;
        Ok(self.layers.encode(features, &batch, self.clusters.as_ref(), needs_ego)?.y.detach())
    }

    /// The weight of each descriptor of each node, `[nodes, granules]`, ordered by level, order, cluster: which clusters explain a node. None without clusters.
    ///
    /// # Errors
    /// Features that do not fit.
    pub fn attention(&self, graph: &Graph, features: &Features) -> Result<Option<Tensor>> {
        self.check("Oepg::attention", graph, features)?;
        let Some(clusters) = &self.clusters else { return Ok(None) };
        let batch = Batch::single(graph, features.dtype(), features.device())?;
        let h = self.layers.first(features, &batch)?;
        let z = normalize(&h)?;
        Ok(Some(self.layers.second.attention().weights(&z, &z, clusters)?))
    }

    /// Writes parameters to `<path>` and clusters, if there are any, to `<path>.clusters.json`.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.store.save(path)?;
        let beside = beside(path);
        let failed = |error: &dyn std::fmt::Display| Error::File {
            path: beside.display().to_string(),
            reason: error.to_string(),
        };
        let text = serde_json::to_string(&self.clusters).map_err(|error| failed(&error))?;
        std::fs::write(&beside, text).map_err(|error| failed(&error))
    }

    /// Reads what [`Oepg::save`] wrote.
    ///
    /// # Errors
    /// Files that cannot be read or do not fit the settings. The parameters may have been read then.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let beside = beside(path);
        let failed = |error: &dyn std::fmt::Display| Error::File {
            path: beside.display().to_string(),
            reason: error.to_string(),
        };
        let text = std::fs::read_to_string(&beside).map_err(|error| failed(&error))?;
        let clusters: Option<HierarchicalClusters> = serde_json::from_str(&text).map_err(|error| failed(&error))?;
        if let Some(clusters) = &clusters
            && !clusters.fits(self.config.hidden, &self.config.clusters.sizes)
        {
            return Err(failed(&"the clusters are of other sizes or width than the settings say"));
        }
        self.store.load(path)?;
        self.clusters = clusters;
        Ok(())
    }

    fn check(&self, operation: &'static str, graph: &Graph, features: &Features) -> Result<()> {
        let expected = (graph.num_nodes(), self.config.inputs);
        if (features.num_nodes(), features.num_columns()) != expected {
            let got = vec![features.num_nodes(), features.num_columns()];
            let expected = format!("[{} nodes, {} features]", expected.0, expected.1);
            return Err(Error::Shape { operation, what: "features", got, expected });
        }
        Ok(())
    }
}

fn beside(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".clusters.json");
    name.into()
}
