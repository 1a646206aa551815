//! Regroup: dense blocks of rows and columns in the place of scattered weights.

use crate::mask::{Mask, Masks};
use crate::partition::hypergraph;
use crate::select::{Scores, Selection, select};
use crate::{Error, Result};

/// Into how many clusters the rows of a layer are partitioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Parts {
    /// So many; 8 in the paper. Layers of few rows then have no cluster that is large enough.
    Fixed(usize),
    /// One for so many rows, rounded, at least one; 32 is the row block of the paper.
    PerRows(usize),
}

/// How many columns a cluster's block has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum BlockRule {
    /// The fewest of the most used columns so that each row loses less than that number over the density threshold.
    Exact,
    /// As the official training program has it: counts fall by columns in their original order, and rows after the first that fails are not looked at. Blocks come out wider.
    OfficialTraining,
    /// As the official inference program has it.
    OfficialInference,
}

/// What columns a block is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Granularity {
    /// Single columns: an input channel and a place of the kernel; the paper's.
    Column,
    /// Whole input channels of `kernel` columns each, ours: fast forms of convolutions stay possible.
    Channel {
        /// Places of the kernel.
        kernel: usize,
    },
}

/// Regroup's settings.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Regroup {
    /// Clusters of rows.
    pub parts: Parts,
    /// t1: a block of i columns is wide enough when every row has fewer than i / t1 kept weights outside; 1.5.
    pub density_threshold: f64,
    /// b1: rows of a block; 32.
    pub row_block: usize,
    /// b2: clusters with at most so many rows are deleted; 16.
    pub min_rows: usize,
    /// How many columns a block has.
    pub rule: BlockRule,
    /// What columns it is made of.
    pub granularity: Granularity,
    /// The share by which parts may differ in size; 0.1.
    pub imbalance: f64,
    /// The seed of the partition.
    pub seed: u64,
}

impl Default for Regroup {
    fn default() -> Self {
        Self {
            parts: Parts::Fixed(8),
            density_threshold: 1.5,
            row_block: 32,
            min_rows: 16,
            rule: BlockRule::Exact,
            granularity: Granularity::Column,
            imbalance: 0.1,
            seed: 0,
        }
    }
}

/// Rows and columns whose weights are all kept, both ascending in rows; columns by use, the most used first.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Block {
    /// Rows of the layer.
    pub rows: Vec<usize>,
    /// Columns of the layer.
    pub columns: Vec<usize>,
}

/// What regrouping a layer gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Regrouped {
    /// The union of the blocks; the original mask where there is no block.
    pub mask: Mask,
    /// The blocks, disjoint in rows.
    pub blocks: Vec<Block>,
    /// Rows of each cluster, the largest cluster first.
    pub clusters: Vec<Vec<usize>>,
    /// Clusters that were asked for.
    pub parts: usize,
}

impl Regrouped {
    /// Whether the layer has blocks; without, its mask is the scattered one.
    pub fn has_blocks(&self) -> bool {
        !self.blocks.is_empty()
    }
}

impl Regroup {
    fn check(&self) -> Result<()> {
        const OPERATION: &str = "Regroup";
        if !(self.density_threshold.is_finite() && self.density_threshold > 0.0) {
            let got = self.density_threshold;
            return Err(Error::value(OPERATION, "density_threshold", got, "a finite number above 0"));
        }
        if self.row_block == 0 {
            return Err(Error::value(OPERATION, "row_block", 0.0, "at least 1"));
        }
        let parts = match self.parts {
            Parts::Fixed(parts) | Parts::PerRows(parts) => parts,
        };
        if parts == 0 {
            return Err(Error::value(OPERATION, "parts", 0.0, "at least 1"));
        }
        if self.granularity == (Granularity::Channel { kernel: 0 }) {
            return Err(Error::value(OPERATION, "kernel", 0.0, "at least 1"));
        }
        Ok(())
    }

    /// The number of clusters for a layer with so many rows that are not empty.
    pub fn num_parts(&self, rows: usize) -> usize {
        match self.parts {
            Parts::Fixed(parts) => parts,
            Parts::PerRows(rows_of_part) => ((rows as f64 / rows_of_part.max(1) as f64).round() as usize).max(1),
        }
    }

    /// Partitions the rows of a layer and makes the blocks. A layer with fewer rows than parts is left as it is.
    ///
    /// # Errors
    /// Settings out of range.
    pub fn apply(&self, mask: &Mask) -> Result<Regrouped> {
        self.check()?;
        let (rows, columns) = (mask.rows(), mask.columns());
        let counts = mask.row_counts();
        let used: Vec<usize> = (0..rows).filter(|&row| counts[row] > 0).collect();
        let parts = self.num_parts(used.len());
        if used.len() < parts {
            return Ok(Regrouped { mask: mask.clone(), blocks: Vec::new(), clusters: Vec::new(), parts });
        }
        let mut edges = Vec::new();
        for column in 0..columns {
            let edge: Vec<u32> =
                (0..used.len() as u32).filter(|&at| mask.kept()[used[at as usize] * columns + column] == 1).collect();
            if !edge.is_empty() {
                edges.push(edge);
            }
        }
        let found = hypergraph(used.len(), &edges, parts, self.imbalance, self.seed)?;
        let mut of_rows = vec![0u32; rows];
        for (&row, &part) in used.iter().zip(&found.parts) {
            of_rows[row] = part;
        }
        self.apply_partition(mask, &of_rows)
    }

    /// Blocks of a layer of this shape that keep about the share `density` of its weights, found by their scores (such as magnitudes): the scattered mask that they come from is made denser or sparser until
    /// its blocks are within 2 % of the goal, at most five times; the closest is taken. What a full mask keeps, `t1 / (1 + t1)`, bounds the density, so t1 is raised to `2.25 · density / (1 − density)` where it is
    /// lower. A layer of too few rows for blocks comes back with a scattered mask ([`Regrouped::has_blocks`]).
    ///
    /// # Errors
    /// Settings out of range, a density outside (0, 1), another number of scores than the shape has entries, or scores that are not finite.
    pub fn at_density(&self, shape: &[usize], scores: &[f64], density: f64) -> Result<Regrouped> {
        if !(density > 0.0 && density < 1.0) {
            return Err(Error::value("Regroup::at_density", "density", density, "in (0, 1)"));
        }
        let entries = shape.iter().product();
        if scores.len() != entries {
            return Err(Error::length("Regroup::at_density", "scores", scores.len(), entries));
        }
        if let Some(at) = scores.iter().position(|score| !score.is_finite()) {
            return Err(Error::value("Regroup::at_density", format!("score {at}"), scores[at], "a finite number"));
        }
        let odds = density / (1.0 - density);
        let own = Self { density_threshold: self.density_threshold.max(2.25 * odds), ..*self };
        let scores: Scores = [(String::new(), scores.to_vec())].into_iter().collect();
        let full = Masks::full([("", shape)]);
        // a scattered mask of density p leaves blocks of density t p / (1 + t p), about
        let mut scattered = odds / own.density_threshold;
        let mut best: Option<(f64, Regrouped)> = None;
        for _ in 0..5 {
            let masks = select(&scores, &full, scattered.min(1.0), Selection::Layer, true)?;
            let Some(mask) = masks.get("") else { break };
            let found = own.apply(mask)?;
            let reached = found.mask.density();
            let distance = (reached / density).ln().abs();
            let is_last = distance < 0.02 || !found.has_blocks() || !(reached > 0.0 && reached < 1.0);
            if best.as_ref().is_none_or(|(least, _)| distance < *least) {
                best = Some((distance, found));
            }
            if is_last {
                break;
            }
            scattered *= odds * (1.0 - reached) / reached;
        }
        best.map(|(_, found)| found).ok_or_else(|| Error::invalid("Regroup::at_density", "no mask"))
    }

    /// The blocks for a given partition, the part of each row; parts of empty rows do not count.
    ///
    /// # Errors
    /// Settings out of range, or another number of parts than rows.
    pub fn apply_partition(&self, mask: &Mask, part_of_row: &[u32]) -> Result<Regrouped> {
        self.check()?;
        let rows = mask.rows();
        if part_of_row.len() != rows {
            return Err(Error::length("Regroup", "the part of each row", part_of_row.len(), rows));
        }
        let counts = mask.row_counts();
        // clusters in the order in which they first appear, then by size
        let mut order: Vec<u32> = Vec::new();
        let mut clusters: Vec<Vec<usize>> = Vec::new();
        for row in (0..rows).filter(|&row| counts[row] > 0) {
            match order.iter().position(|&part| part == part_of_row[row]) {
                Some(at) => clusters[at].push(row),
                None => {
                    order.push(part_of_row[row]);
                    clusters.push(vec![row]);
                }
            }
        }
        clusters.sort_by_key(|cluster| std::cmp::Reverse(cluster.len()));
        let mut blocks = Vec::new();
        for cluster in &clusters {
            let Some(columns) = self.columns(mask, cluster) else { continue };
            let block = |rows: &[usize]| Block { rows: rows.to_vec(), columns: columns.clone() };
            if cluster.len() > self.row_block {
                let whole = cluster.len() / self.row_block * self.row_block;
                blocks.push(block(&cluster[..whole]));
                if whole < cluster.len() {
                    blocks.push(block(&cluster[whole..]));
                }
            } else if cluster.len() > self.min_rows {
                blocks.push(block(cluster));
            }
        }
        let is_whole_layer = blocks.is_empty() && self.rule == BlockRule::OfficialInference;
        if is_whole_layer {
            blocks.push(Block { rows: (0..rows).collect(), columns: (0..mask.columns()).collect() });
        }
        let regrouped = if blocks.is_empty() { mask.clone() } else { union(mask, &blocks)? };
        Ok(Regrouped { mask: regrouped, blocks, parts: clusters.len(), clusters })
    }

    /// The columns of a cluster's block, the most used first; none where no width is enough.
    fn columns(&self, mask: &Mask, cluster: &[usize]) -> Option<Vec<usize>> {
        let columns = mask.columns();
        let width = match self.granularity {
            Granularity::Column => 1,
            Granularity::Channel { kernel } => kernel,
        };
        let groups = columns.div_ceil(width);
        let of_group = |group: usize| group * width..((group + 1) * width).min(columns);
        let has = |row: usize, column: usize| mask.kept()[row * columns + column] == 1;
        let uses = |group: usize| -> usize {
            of_group(group).map(|column| cluster.iter().filter(|&&row| has(row, column)).count()).sum()
        };
        let counts: Vec<usize> = (0..groups).map(uses).collect();
        let mut sorted: Vec<usize> = (0..groups).collect();
        sorted.sort_by_key(|&group| std::cmp::Reverse(counts[group]));
        let mut left: Vec<f64> =
            cluster.iter().map(|&row| (0..columns).filter(|&column| has(row, column)).count() as f64).collect();
        let in_group = |row: usize, group: usize| of_group(group).filter(|&column| has(row, column)).count() as f64;
        let taken = |groups: &[usize]| groups.iter().flat_map(|&group| of_group(group)).collect::<Vec<_>>();
        match self.rule {
            BlockRule::Exact => {
                let mut count = 0;
                for i in 1..=groups {
                    let group = sorted[i - 1];
                    count += of_group(group).len();
                    left.iter_mut().zip(cluster).for_each(|(left, &row)| *left -= in_group(row, group));
                    if left.iter().all(|&left| count as f64 > self.density_threshold * left) {
                        return Some(taken(&sorted[..i]));
                    }
                }
                None
            }
            BlockRule::OfficialTraining => {
                for i in 1..groups {
                    if self.is_accepted(cluster, i, &mut left, |row| in_group(row, i)) {
                        return Some(taken(&sorted[..i]));
                    }
                }
                None
            }
            BlockRule::OfficialInference => {
                for i in 0..groups {
                    if self.is_accepted(cluster, i, &mut left, |row| in_group(row, sorted[i])) {
                        return Some(taken(&sorted[..=i]));
                    }
                }
                None
            }
        }
    }

    /// The official test: counts fall row by row, and it stops at the first row that loses too much.
    fn is_accepted(&self, cluster: &[usize], i: usize, left: &mut [f64], falls: impl Fn(usize) -> f64) -> bool {
        for (left, &row) in left.iter_mut().zip(cluster) {
            *left -= falls(row);
            if i as f64 <= self.density_threshold * *left {
                return false;
            }
        }
        true
    }
}

/// The mask that keeps exactly some blocks.
///
/// # Errors
/// A row or column that the layer does not have.
pub fn union(layer: &Mask, blocks: &[Block]) -> Result<Mask> {
    let columns = layer.columns();
    let mut kept = vec![0; layer.len()];
    for block in blocks {
        for (what, indices, bound) in
            [("a row of a block", &block.rows, layer.rows()), ("a column of a block", &block.columns, columns)]
        {
            if let Some(&wrong) = indices.iter().find(|&&index| index >= bound) {
                let (operation, what) = ("union", what.to_owned());
                return Err(Error::OutOfRange { operation, what, index: wrong as u64, bound });
            }
        }
        for &row in &block.rows {
            for &column in &block.columns {
                kept[row * columns + column] = 1;
            }
        }
    }
    Mask::new(layer.shape(), kept)
}
