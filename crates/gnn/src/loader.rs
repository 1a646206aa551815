//! From a data set to minibatches: stratified splits, and batches of labelled graphs.

use crate::door::check_kind;
use crate::{Batch, Error, Graph, Hierarchy, Result};
use candle_core::Tensor;
use core_tensor::random::Rng;
use core_tensor::train::{Rest, minibatches};

/// Disjoint sets of items (graphs, or nodes of one graph), each in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Split {
    /// For training.
    pub train: Vec<u32>,
    /// For choosing settings and the epoch to stop at.
    pub validation: Vec<u32>,
    /// For the one measurement at the end.
    pub test: Vec<u32>,
}

impl Split {
    /// Items with these labels, drawn by `rng` so that each class has its share everywhere: `validation` and `test` are shares of all items; sizes are
    /// rounded to the nearest, and a class's number in the test set differs by less than one from its share (in the validation set by less than two).
    ///
    /// # Errors
    /// Shares that are negative, not finite, or above 1 together.
    ///
    /// ```
    /// use core_tensor::random::Rng;
    /// use gnn::loader::Split;
    /// let labels = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    /// let split = Split::stratified(&labels, 0.0, 0.5, &mut Rng::new(0))?;
    /// assert_eq!((split.train.len(), split.test.len()), (5, 5));
    /// assert_eq!(split.test.iter().filter(|&&item| labels[item as usize] == 1).count(), 1);
    /// # Ok::<(), gnn::Error>(())
    /// ```
    pub fn stratified(labels: &[u32], validation: f64, test: f64, rng: &mut Rng) -> Result<Self> {
        for (what, share) in [("validation", validation), ("test", test)] {
            // a sum of decimals such as 0.7 + 0.3 may exceed 1 in the last place
            if !(share >= 0.0 && validation + test <= 1.0 + 1e-12) {
                let expected = "a share of at least 0, at most 1 together with the other";
                return Err(Error::InvalidConfig { what, got: share.to_string(), expected });
            }
        }
        let size = |share: f64| (share * labels.len() as f64).round() as usize;
        let (test, rest) = draw(&by_class(labels, rng), size(test));
        let (validation, train) = draw(&rest, size(validation).min(rest.len()));
        Ok(Self { train: sorted(train), validation: sorted(validation), test: sorted(test) })
    }

    /// Cross-validation: each item is in the test set of one of `num_folds` splits and in the validation set of the next; sizes, of classes too,
    /// differ by at most one.
    ///
    /// # Errors
    /// Fewer than three folds, or fewer items than folds.
    pub fn stratified_folds(labels: &[u32], num_folds: usize, rng: &mut Rng) -> Result<Vec<Self>> {
        if num_folds < 3 || labels.len() < num_folds {
            let (got, expected) = (num_folds.to_string(), "at least 3 folds, and at most as many as there are items");
            return Err(Error::InvalidConfig { what: "num_folds", got, expected });
        }
        let mut fold_of = vec![0; labels.len()];
        for (rank, item) in by_class(labels, rng).into_iter().enumerate() {
            fold_of[item as usize] = rank % num_folds;
        }
        let items_of = |is_wanted: &dyn Fn(usize) -> bool| -> Vec<u32> {
            (0..labels.len() as u32).filter(|&item| is_wanted(fold_of[item as usize])).collect()
        };
        let split = |fold: usize| {
            let before = (fold + num_folds - 1) % num_folds;
            Self {
                train: items_of(&|of| of != fold && of != before),
                validation: items_of(&|of| of == before),
                test: items_of(&|of| of == fold),
            }
        };
        Ok((0..num_folds).map(split).collect())
    }
}

/// The items class by class, in each in a random order.
fn by_class(labels: &[u32], rng: &mut Rng) -> Vec<u32> {
    let mut items = rng.permutation(labels.len());
    items.sort_by_key(|&item| labels[item as usize]);
    items
}

/// `count` of the items at even distances, and the others.
fn draw(items: &[u32], count: usize) -> (Vec<u32>, Vec<u32>) {
    let before = |rank: usize| rank as u128 * count as u128 / items.len() as u128;
    let (mut drawn, mut others) = (Vec::with_capacity(count), Vec::with_capacity(items.len() - count));
    for (rank, &item) in items.iter().enumerate() {
        if before(rank + 1) > before(rank) { drawn.push(item) } else { others.push(item) }
    }
    (drawn, others)
}

fn sorted(mut items: Vec<u32>) -> Vec<u32> {
    items.sort_unstable();
    items
}

/// Graphs with node features and a label each, ready to be put into batches again and again.
#[derive(Debug, Clone)]
pub struct GraphSet {
    graphs: Vec<Hierarchy>,
    features: Vec<Tensor>,
    labels: Vec<u32>,
}

/// Some graphs of a [`GraphSet`], in a batch.
#[derive(Debug, Clone)]
pub struct LabelledBatch {
    /// The graphs, with coarser levels if their hierarchies have any.
    pub batch: Batch,
    /// The features of their nodes, `[n, features]`.
    pub x: Tensor,
    /// Their labels, u32 `[graphs]`.
    pub labels: Tensor,
    /// Their positions in the set.
    pub items: Vec<u32>,
}

impl GraphSet {
    /// A set from hierarchies (for pools along given clusters), features `[n, f]` of the nodes of each graph, and labels.
    ///
    /// # Errors
    /// No graph, lists of different lengths, or features that do not fit their graph or differ in width, dtype or device.
    pub fn new(graphs: Vec<Hierarchy>, features: Vec<Tensor>, labels: Vec<u32>) -> Result<Self> {
        const OPERATION: &str = "GraphSet::new";
        let Some(first) = features.first() else { return Err(Error::EmptyGraph { operation: OPERATION }) };
        for (what, got) in [("features", features.len()), ("labels", labels.len())] {
            if got != graphs.len() {
                return Err(Error::Length { operation: OPERATION, what, got, expected: graphs.len() });
            }
        }
        let width = first.dims().get(1).copied().unwrap_or(0);
        for (i, (graph, x)) in graphs.iter().zip(&features).enumerate() {
            if x.dims() != [graph.num_nodes(), width] {
                let expected = format!("[{} nodes, {width} features] for graph {i}", graph.num_nodes());
                return Err(Error::Shape { operation: OPERATION, what: "features", got: x.dims().to_vec(), expected });
            }
            check_kind(OPERATION, "features", x, first.dtype(), first.device())?;
        }
        Ok(Self { graphs, features, labels })
    }

    /// A set of graphs without coarser levels.
    ///
    /// # Errors
    /// As [`GraphSet::new`], and a graph without nodes.
    pub fn from_graphs(graphs: &[Graph], features: Vec<Tensor>, labels: Vec<u32>) -> Result<Self> {
        let plain = |graph| Hierarchy::from_assignments(graph, &[], false);
        Self::new(graphs.iter().map(plain).collect::<Result<_>>()?, features, labels)
    }

    /// Number of graphs.
    pub fn len(&self) -> usize {
        self.graphs.len()
    }

    /// Never: a set has at least one graph.
    pub fn is_empty(&self) -> bool {
        self.graphs.is_empty()
    }

    /// The label of each graph.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The graphs `items` in this order, with the dtype and device of the features.
    ///
    /// # Errors
    /// No item, an item that does not exist, or hierarchies of different heights.
    pub fn batch(&self, items: &[u32]) -> Result<LabelledBatch> {
        const OPERATION: &str = "GraphSet::batch";
        let bound = self.len();
        if let Some(position) = items.iter().position(|&item| item as usize >= bound) {
            let index = u64::from(items[position]);
            return Err(Error::OutOfRange { operation: OPERATION, what: "items", position, index, bound });
        }
        let Some(&first) = items.first() else { return Err(Error::EmptyGraph { operation: OPERATION }) };
        let graphs: Vec<&Hierarchy> = items.iter().map(|&item| &self.graphs[item as usize]).collect();
        let features: Vec<&Tensor> = items.iter().map(|&item| &self.features[item as usize]).collect();
        let labels: Vec<u32> = items.iter().map(|&item| self.labels[item as usize]).collect();
        let first = &self.features[first as usize];
        Ok(LabelledBatch {
            batch: Hierarchy::batch(&graphs, first.dtype(), first.device())?,
            x: Tensor::cat(&features, 0)?,
            labels: Tensor::from_vec(labels, items.len(), first.device())?,
            items: items.to_vec(),
        })
    }

    /// An epoch over the graphs `items` (a [`Split`]'s training set, say): in an order drawn from `rng`, `size` at a time, the last batch smaller
    /// where they do not divide. A batch is made when the iterator comes to it. For budgets of nodes instead of graphs, or to drop the rest, see
    /// [`core_tensor::train`], and make the batches with [`GraphSet::batch`].
    ///
    /// # Errors
    /// A size of 0; each batch as [`GraphSet::batch`].
    pub fn minibatches<'a>(
        &'a self,
        items: &[u32],
        size: usize,
        rng: &mut Rng,
    ) -> Result<impl Iterator<Item = Result<LabelledBatch>> + use<'a>> {
        let batches = minibatches(items.len(), size, Rest::Keep, rng)?;
        let chosen: Vec<Vec<u32>> =
            batches.iter().map(|batch| batch.iter().map(|&place| items[place as usize]).collect()).collect();
        Ok(chosen.into_iter().map(|items| self.batch(&items)))
    }
}
