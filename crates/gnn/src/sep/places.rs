//! The part of a coding tree above the items that refinement moves, and the best place in it for one item.
//!
//! Costs are in weight times bits: half of the change of `VOL · H_T(G) = Σ_a 2 e(a) log2 vol(a) - const`, with `e(a)` the weight of the edges whose
//! ends have `a` as lowest common ancestor. With an item of volume `v` taken out and put below a node `a` instead of `a`'s parent, `e(a)` is coded
//! at `log2(vol(a) + v)` instead of `log2 vol(a)`, and the item's edges into `a` at that instead of the same of the parent. So costs add up on the
//! way down from the root.

use super::items::Items;

/// A gain per volume of an item that is taken for rounding.
const LEAST_GAIN: f64 = 1e-10;

/// The nodes of one layer.
#[derive(Debug, Default)]
struct Level {
    volume: Vec<f64>,
    /// Edge weight with this node as lowest common ancestor.
    inner: Vec<f64>,
    /// log2 of the volume.
    log: Vec<f64>,
    parent: Vec<u32>,
    /// Number of children; of items in the lowest layer.
    children: Vec<u32>,
    free: Vec<u32>,
    /// For the item at hand: its edge weight into each node, and the nodes with any.
    weight: Vec<f64>,
    touched: Vec<u32>,
    /// For those nodes: the cost of a place below them, and log2 of their volume with the item in it.
    cost: Vec<f64>,
    log_with: Vec<f64>,
}

impl Level {
    fn touch(&mut self, node: u32, weight: f64) {
        let slot = &mut self.weight[node as usize];
        if *slot == 0.0 {
            self.touched.push(node);
        }
        *slot += weight;
    }

    fn forget(&mut self) {
        for node in self.touched.drain(..) {
            self.weight[node as usize] = 0.0;
        }
    }

    fn push(&mut self, parent: u32) -> u32 {
        self.volume.push(0.0);
        self.inner.push(0.0);
        self.log.push(0.0);
        self.parent.push(parent);
        self.children.push(0);
        self.weight.push(0.0);
        self.cost.push(0.0);
        self.log_with.push(0.0);
        (self.volume.len() - 1) as u32
    }

    /// A node without children, an old one that is free or a new one.
    fn take(&mut self, parent: u32) -> u32 {
        match self.free.pop() {
            Some(node) => {
                self.parent[node as usize] = parent;
                node
            }
            None => self.push(parent),
        }
    }
}

/// An ancestor of the item at hand, as it is without the item.
#[derive(Debug, Clone, Copy)]
struct Ancestor {
    node: u32,
    volume: f64,
    inner: f64,
    is_empty: bool,
}

/// Layers of nodes, the parents of the items first; above the last of them is the root.
#[derive(Debug, Default)]
pub(super) struct Places {
    levels: Vec<Level>,
    log_root: f64,
    offset: f64,
    path: Vec<Ancestor>,
}

/// Parts that items must not leave: the part of each item, and log2 of the volume that the node above each part has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds<'a> {
    pub(super) part: &'a [u32],
    pub(super) log_above: &'a [f64],
}

impl Places {
    /// The tree above `items`: `parents[0]` are theirs, `parents[l]` those of layer `l`; the last are all the root.
    pub(super) fn new(items: &Items, parents: &[Vec<u32>], total_volume: f64, offset: f64) -> Self {
        let mut places = Self { log_root: (total_volume + offset).log2(), offset, ..Self::default() };
        for above in &parents[1..] {
            let mut level = Level::default();
            for &parent in above {
                level.push(parent);
            }
            places.levels.push(level);
        }
        for item in 0..items.len() {
            let mut node = parents[0][item];
            for level in &mut places.levels {
                level.volume[node as usize] += items.volumes[item];
                node = level.parent[node as usize];
            }
            let lowest = parents[0][item] as usize;
            places.levels[0].inner[lowest] += items.internal[item];
            for (other, weight) in items.neighbors(item).filter(|&(other, _)| (other as usize) < item) {
                let (mut a, mut b) = (parents[0][item], parents[0][other as usize]);
                for level in &mut places.levels {
                    if a == b {
                        level.inner[a as usize] += weight;
                        break;
                    }
                    (a, b) = (level.parent[a as usize], level.parent[b as usize]);
                }
            }
        }
        for (level, children) in places.levels.iter_mut().zip(parents) {
            for &parent in children {
                level.children[parent as usize] += 1;
            }
            level.log = level.volume.iter().map(|volume| (volume + offset).log2()).collect();
        }
        places
    }

    /// Every item below a parent of its own, for parts of a tree.
    pub(super) fn singletons(items: &Items, offset: f64) -> Self {
        let n = items.len();
        let level = Level {
            volume: items.volumes.clone(),
            inner: items.internal.clone(),
            log: items.volumes.iter().map(|volume| (volume + offset).log2()).collect(),
            parent: vec![0; n],
            children: vec![1; n],
            weight: vec![0.0; n],
            cost: vec![0.0; n],
            log_with: vec![0.0; n],
            ..Level::default()
        };
        Self { levels: vec![level], offset, ..Self::default() }
    }

    /// For each parent of items: log2 of the volume above it.
    pub(super) fn logs_above(&self) -> Vec<f64> {
        let above = |parent: &u32| self.levels.get(1).map_or(self.log_root, |level| level.log[*parent as usize]);
        self.levels[0].parent.iter().map(above).collect()
    }

    /// Counts the items anew, after some became one.
    pub(super) fn recount(&mut self, group: &[u32]) {
        let children = &mut self.levels[0].children;
        children.fill(0);
        group.iter().for_each(|&parent| children[parent as usize] += 1);
    }

    /// The parents of the parents, layer by layer; nodes without children have any.
    pub(super) fn into_parents(self) -> impl Iterator<Item = Vec<u32>> {
        self.levels.into_iter().map(|level| level.parent)
    }

    /// Moves an item to the place of the least cost; the change of the cost if there is a better one than its own.
    pub(super) fn relocate(
        &mut self,
        items: &Items,
        group: &mut [u32],
        item: usize,
        bounds: Option<Bounds<'_>>,
    ) -> Option<f64> {
        self.weigh(items, group, item, bounds);
        let log_root = bounds.map_or(self.log_root, |bounds| bounds.log_above[bounds.part[item] as usize]);
        let volume = items.volumes[item];
        let stay = self.leave(items, group[item], item, log_root);
        let log_own = (volume + self.offset).log2();
        let internal = items.internal[item];

        // a new parent right below the root
        let mut best = (stay - LEAST_GAIN * volume, None);
        let mut consider = |cost: f64, level: usize, node: u32| {
            if cost < best.0 {
                best = (cost, Some((level, node)));
            }
        };
        let coded = |log: f64| if internal > 0.0 { internal * log } else { 0.0 };
        let height = self.levels.len();
        consider(coded(log_own), height, 0);
        for l in (0..height).rev() {
            let (lower, upper) = self.levels.split_at_mut(l + 1);
            let level = &mut lower[l];
            for &node in &level.touched {
                let at = node as usize;
                let (above_cost, above_log) = match upper.first() {
                    Some(above) => {
                        let parent = level.parent[at] as usize;
                        (above.cost[parent], above.log_with[parent])
                    }
                    None => (0.0, log_root),
                };
                let (old_volume, inner, log) = match self.path[l].node == node {
                    true => {
                        let ancestor = self.path[l];
                        (ancestor.volume, ancestor.inner, (ancestor.volume + self.offset).log2())
                    }
                    false => (level.volume[at], level.inner[at], level.log[at]),
                };
                let log_with = (old_volume + volume + self.offset).log2();
                let pushed = if inner > 0.0 { inner * (log_with - log) } else { 0.0 };
                let cost = above_cost + level.weight[at] * (log_with - above_log) + pushed;
                level.cost[at] = cost;
                level.log_with[at] = log_with;
                consider(cost + coded(if l == 0 { log_with } else { log_own }), l, node);
            }
        }
        let change = match best {
            (cost, Some((level, node))) => {
                self.remove();
                group[item] = self.insert(level, node, volume, internal);
                Some(cost - stay)
            }
            _ => None,
        };
        self.levels.iter_mut().for_each(Level::forget);
        change
    }

    /// The edge weight between an item and every node that holds a neighbour of it.
    fn weigh(&mut self, items: &Items, group: &[u32], item: usize, bounds: Option<Bounds<'_>>) {
        for (neighbor, weight) in items.neighbors(item) {
            if bounds.is_none_or(|bounds| bounds.part[neighbor as usize] == bounds.part[item]) {
                self.levels[0].touch(group[neighbor as usize], weight);
            }
        }
        for l in 1..self.levels.len() {
            let (lower, upper) = self.levels.split_at_mut(l);
            let below = &lower[l - 1];
            for &node in &below.touched {
                upper[0].touch(below.parent[node as usize], below.weight[node as usize]);
            }
        }
    }

    /// Notes the ancestors of an item as they are without it; returns the cost of its present place.
    fn leave(&mut self, items: &Items, parent: u32, item: usize, log_root: f64) -> f64 {
        self.path.clear();
        let (mut node, mut is_empty, mut weight_below) = (parent, true, 0.0);
        for (l, level) in self.levels.iter().enumerate() {
            let at = node as usize;
            is_empty &= level.children[at] == 1;
            let own = if l == 0 { items.internal[item] } else { 0.0 };
            let (volume, inner) = match is_empty {
                true => (0.0, 0.0),
                false => (
                    (level.volume[at] - items.volumes[item]).max(0.0),
                    (level.inner[at] - (level.weight[at] - weight_below) - own).max(0.0),
                ),
            };
            self.path.push(Ancestor { node, volume, inner, is_empty });
            weight_below = level.weight[at];
            node = level.parent[at];
        }
        let (mut cost, mut above_log) = (0.0, log_root);
        for (level, ancestor) in self.levels.iter().zip(&self.path).rev() {
            let at = ancestor.node as usize;
            let log_with = (ancestor.volume + items.volumes[item] + self.offset).log2();
            if level.weight[at] > 0.0 {
                cost += level.weight[at] * (log_with - above_log);
            }
            if ancestor.inner > 0.0 {
                cost += ancestor.inner * (log_with - (ancestor.volume + self.offset).log2());
            }
            above_log = log_with;
        }
        match items.internal[item] > 0.0 {
            true => cost + items.internal[item] * above_log,
            false => cost,
        }
    }

    /// Takes the item of `leave` out of the tree.
    fn remove(&mut self) {
        let mut was_emptied = true;
        for (level, ancestor) in self.levels.iter_mut().zip(&self.path) {
            let at = ancestor.node as usize;
            level.volume[at] = ancestor.volume;
            level.inner[at] = ancestor.inner;
            level.log[at] = (ancestor.volume + self.offset).log2();
            if was_emptied {
                level.children[at] -= 1;
            }
            was_emptied = ancestor.is_empty;
            if was_emptied {
                level.free.push(ancestor.node);
            }
        }
    }

    /// Puts an item below `node` of `level`, with new nodes in the layers between; `level` may be that of the root. Returns the item's parent.
    fn insert(&mut self, level: usize, node: u32, volume: f64, internal: f64) -> u32 {
        let (mut weight_below, mut above) = (0.0, node);
        for (l, current) in self.levels.iter_mut().enumerate().skip(level) {
            let at = above as usize;
            if l == level {
                current.children[at] += 1;
            }
            current.volume[at] += volume;
            current.inner[at] += current.weight[at] - weight_below + if l == 0 { internal } else { 0.0 };
            current.log[at] = (current.volume[at] + self.offset).log2();
            weight_below = current.weight[at];
            above = current.parent[at];
        }
        let mut parent = node;
        for (l, current) in self.levels[..level].iter_mut().enumerate().rev() {
            let made = current.take(parent);
            let at = made as usize;
            current.volume[at] = volume;
            current.inner[at] = if l == 0 { internal } else { 0.0 };
            current.log[at] = (volume + self.offset).log2();
            current.children[at] = 1;
            parent = made;
        }
        parent
    }
}
