//! Graphs without labels.

use crate::lagraph::Target;
use crate::loader::GraphSet;
use crate::{Batch, Error, Features, Graph, Result};
use candle_core::Tensor;

/// What is trained on, and what gets embeddings: one graph whose nodes are of interest, or many graphs.
#[derive(Debug, Clone)]
pub struct Unlabelled {
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Nodes(Box<Whole>),
    Graphs(Many),
}

/// A graph with all its nodes.
#[derive(Debug, Clone)]
pub(super) struct Whole {
    pub(super) graph: Graph,
    pub(super) batch: Batch,
    pub(super) features: Features,
    pub(super) target: Target,
}

/// Graphs ready for batches.
#[derive(Debug, Clone)]
pub(super) struct Many {
    pub(super) graphs: Vec<Graph>,
    pub(super) features: Vec<Tensor>,
    pub(super) set: GraphSet,
}

/// Some graphs side by side.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) batch: Batch,
    pub(super) features: Features,
    pub(super) target: Target,
    pub(super) sizes: Vec<usize>,
    /// Positions of the graphs.
    pub(super) items: Vec<u32>,
}

impl Unlabelled {
    /// The nodes of one graph, with a row of features for each.
    ///
    /// # Errors
    /// A graph without nodes, or features of another number of nodes, with NaN or infinity in them.
    pub fn nodes(graph: &Graph, features: Features) -> Result<Self> {
        const OPERATION: &str = "Unlabelled::nodes";
        if features.num_nodes() != graph.num_nodes() {
            let (got, expected) = (features.num_nodes(), graph.num_nodes());
            return Err(Error::Length { operation: OPERATION, what: "the list of rows of features", got, expected });
        }
        check_finite(OPERATION, &features)?;
        let batch = Batch::single(graph, features.dtype(), features.device())?;
        let target = Target::new(&features);
        Ok(Self { kind: Kind::Nodes(Box::new(Whole { graph: graph.clone(), batch, features, target })) })
    }

    /// Many graphs, with a tensor `[nodes, f]` of features for each.
    ///
    /// # Errors
    /// No graph, one without nodes, or features that do not fit their graph, differ in width, dtype or device, or have NaN or infinity in them.
    pub fn graphs(graphs: &[Graph], features: Vec<Tensor>) -> Result<Self> {
        const OPERATION: &str = "Unlabelled::graphs";
        if graphs.is_empty() {
            return Err(Error::invalid_data(OPERATION, "no graphs, at least one is needed"));
        }
        if let Some(at) = graphs.iter().position(|graph| graph.num_nodes() == 0) {
            return Err(Error::invalid_data(OPERATION, format!("graph {at} has no nodes, at least one is needed")));
        }
        for x in &features {
            crate::features::check_finite(OPERATION, "features", x)?;
        }
        let set = GraphSet::from_graphs(graphs, features.clone(), vec![0; graphs.len()])?;
        Ok(Self { kind: Kind::Graphs(Many { graphs: graphs.to_vec(), features, set }) })
    }

    /// Number of rows of an embedding: of nodes of the one graph, or of graphs.
    pub fn len(&self) -> usize {
        match &self.kind {
            Kind::Nodes(whole) => whole.graph.num_nodes(),
            Kind::Graphs(many) => many.graphs.len(),
        }
    }

    /// Never: there is at least one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Width of the features.
    pub fn width(&self) -> usize {
        match &self.kind {
            Kind::Nodes(whole) => whole.features.num_columns(),
            Kind::Graphs(many) => many.features.first().map_or(0, |x| x.dims()[1]),
        }
    }

    /// The control that costs nothing: the features of each node as they are, or their sums over each graph.
    ///
    /// # Errors
    /// Those of the tensor layer.
    pub fn raw(&self) -> Result<Tensor> {
        match &self.kind {
            Kind::Nodes(whole) => whole.features.to_dense(),
            Kind::Graphs(many) => {
                let sums = many.features.iter().map(|x| x.sum(0)).collect::<candle_core::Result<Vec<_>>>()?;
                Ok(Tensor::stack(&sums, 0)?)
            }
        }
    }
}

impl Whole {
    pub(super) fn part(&self) -> Part {
        Part {
            batch: self.batch.clone(),
            features: self.features.clone(),
            target: self.target.clone(),
            sizes: vec![self.graph.num_nodes()],
            items: vec![0],
        }
    }
}

impl Many {
    pub(super) fn part(&self, items: &[u32]) -> Result<Part> {
        let batch = self.set.batch(items)?;
        let features = Features::Dense(batch.x);
        let sizes = items.iter().map(|&item| self.graphs[item as usize].num_nodes()).collect();
        Ok(Part { batch: batch.batch, target: Target::new(&features), features, sizes, items: items.to_vec() })
    }
}

fn check_finite(operation: &'static str, features: &Features) -> Result<()> {
    match features {
        Features::Dense(x) => crate::features::check_finite(operation, "features", x),
        Features::Sparse { values, .. } => crate::features::check_finite(operation, "values of the features", values),
        Features::Replaced { base, values, .. } => {
            check_finite(operation, base)?;
            crate::features::check_finite(operation, "values of the features", values)
        }
    }
}
