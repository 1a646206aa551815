//! Graph classification: convolutions, a pool after some of them, a readout after each, and a perceptron.
//!
//! With [`PoolKind::Sep`] this is SEP-G; with another pool a baseline of the same size; without pools a plain GCN or GIN.

use crate::conv::{Convolution, ConvolutionKind};
use crate::pool::{Pool, PoolKind};
use crate::{Batch, Error, Mode, Result};
use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;
use core_tensor::nn::{Linear, linear};
use core_tensor::ops;
use core_tensor::sparse::Segments;

/// How the nodes of a graph become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Readout {
    /// Sum over nodes.
    Sum,
    /// Mean over nodes.
    Mean,
}

impl Readout {
    fn read(self, x: &Tensor, graphs: &Segments) -> Result<Tensor> {
        Ok(match self {
            Self::Sum => graphs.sum(x)?,
            Self::Mean => graphs.mean(x)?,
        })
    }
}

/// Settings of a [`GraphClassifier`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GraphClassifierConfig {
    /// Width of the node features.
    pub inputs: usize,
    /// Width of every hidden layer.
    pub hidden: usize,
    /// Number of classes.
    pub classes: usize,
    /// Number of convolutions.
    pub num_convolutions: usize,
    /// Which convolution.
    pub convolution: ConvolutionKind,
    /// Pool `i` follows convolution `i`; at most as many as there are convolutions.
    pub pools: Vec<PoolKind>,
    /// How each level is read out.
    pub readout: Readout,
    /// Whether the input features are read out too.
    pub has_input_readout: bool,
    /// Share of units dropped in the perceptron.
    pub dropout: f64,
}

impl GraphClassifierConfig {
    /// SEP-G with the defaults of the official code: three GCN layers of width 64, two SEP pools, sum readout, dropout 0.5. Its
    /// batches need trees of height 3 and [`Hierarchy::new`](crate::Hierarchy::new) with 2 levels.
    pub fn sep_g(inputs: usize, classes: usize) -> Self {
        Self::with_pools(inputs, classes, vec![PoolKind::Sep; 2])
    }

    /// The same network with other pools; none gives a flat GCN.
    pub fn with_pools(inputs: usize, classes: usize, pools: Vec<PoolKind>) -> Self {
        Self {
            inputs,
            hidden: 64,
            classes,
            num_convolutions: 3,
            convolution: ConvolutionKind::Gcn,
            pools,
            readout: Readout::Sum,
            has_input_readout: false,
            dropout: 0.5,
        }
    }
}

/// A classifier of graphs; see the [module](self).
#[derive(Debug)]
pub struct GraphClassifier {
    convolutions: Vec<Box<dyn Convolution>>,
    pools: Vec<Box<dyn Pool>>,
    layers: [Linear; 3],
    config: GraphClassifierConfig,
}

/// What a [`GraphClassifier`] returns.
#[derive(Debug, Clone)]
pub struct GraphLogits {
    /// `[graphs, classes]`.
    pub logits: Tensor,
    /// Losses of the pools, to be added to the task's.
    pub auxiliary_loss: Option<Tensor>,
}

/// Builds the classifier with parameters `convs.i`, `pools.i` and `classifier.{0,3,6}`, as the official code names them.
///
/// # Errors
/// Settings out of range, or parameters that exist with other shapes.
pub fn graph_classifier(config: GraphClassifierConfig, vb: VarBuilder<'_>) -> Result<GraphClassifier> {
    let invalid = |setting, value: String, expected| Err(Error::InvalidSetting { setting, value, expected });
    if config.num_convolutions == 0 {
        return invalid("num_convolutions", "0".into(), "at least one convolution is needed");
    }
    if config.pools.len() > config.num_convolutions {
        return invalid(
            "pools",
            config.pools.len().to_string(),
            "a pool follows a convolution; there are fewer of those",
        );
    }
    if config.hidden < 2 {
        return invalid("hidden", config.hidden.to_string(), "the perceptron halves the width; at least 2 is needed");
    }
    if !(0.0..1.0).contains(&config.dropout) {
        return invalid("dropout", config.dropout.to_string(), "a share from 0 up to but not including 1");
    }
    let hidden = config.hidden;
    let convolutions = (0..config.num_convolutions)
        .map(|i| {
            let inputs = if i == 0 { config.inputs } else { hidden };
            config.convolution.build(inputs, hidden, vb.pp("convs").pp(i))
        })
        .collect::<Result<_>>()?;
    let pools = config
        .pools
        .iter()
        .enumerate()
        .map(|(i, kind)| kind.build(hidden, vb.pp("pools").pp(i)))
        .collect::<Result<_>>()?;
    let width = config.num_convolutions * hidden + if config.has_input_readout { config.inputs } else { 0 };
    let vb = vb.pp("classifier");
    let layers = [
        linear(width, hidden, vb.pp("0"))?,
        linear(hidden, hidden / 2, vb.pp("3"))?,
        linear(hidden / 2, config.classes, vb.pp("6"))?,
    ];
    Ok(GraphClassifier { convolutions, pools, layers, config })
}

impl GraphClassifier {
    /// The settings.
    pub fn config(&self) -> &GraphClassifierConfig {
        &self.config
    }

    /// Logits of every graph of the batch, whose nodes have the features `x` `[n, inputs]`.
    ///
    /// # Errors
    /// Features that do not fit, or a batch without trees where a SEP pool needs them.
    pub fn forward(&self, x: &Tensor, batch: &Batch, mode: &mut Mode<'_>) -> Result<GraphLogits> {
        if x.dims() != [batch.num_nodes(), self.config.inputs] {
            return Err(Error::Shape {
                operation: "GraphClassifier::forward",
                what: "x",
                actual: x.shape().clone(),
                expected: format!("[{} nodes, {} features]", batch.num_nodes(), self.config.inputs),
            });
        }
        let mut readouts = Vec::with_capacity(self.convolutions.len() + 1);
        if self.config.has_input_readout {
            readouts.push(self.config.readout.read(x, batch.graphs())?);
        }
        let mut auxiliary_loss: Option<Tensor> = None;
        let mut x = x.clone();
        let mut batch = batch.clone();
        for (i, convolution) in self.convolutions.iter().enumerate() {
            x = convolution.forward_relu(&x, batch.adjacency())?;
            if let Some(pool) = self.pools.get(i) {
                let pooled = pool.pool(&x, &batch)?;
                auxiliary_loss = match (auxiliary_loss, pooled.auxiliary_loss()?) {
                    (Some(sum), Some(loss)) => Some((sum + loss)?),
                    (sum, loss) => sum.or(loss),
                };
                (x, batch) = (pooled.x, pooled.batch);
            }
            readouts.push(self.config.readout.read(&x, batch.graphs())?);
        }
        let mut z = Tensor::cat(&readouts, 1)?;
        let [first, second, last] = &self.layers;
        for layer in [first, second] {
            z = mode.dropout(&ops::relu(&layer.forward(&z)?)?, self.config.dropout)?;
        }
        Ok(GraphLogits { logits: last.forward(&z)?, auxiliary_loss })
    }
}
