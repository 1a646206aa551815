//! A list of named parameters that is searched by gradients.

use candle_core::backprop::GradStore;
use candle_core::{TensorId, Var};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Parameters with their names: what optimisers train.
///
/// Made by [`ParamStore::trainable`](super::ParamStore::trainable) and [`ParamStore::select`](super::ParamStore::select), from `(name, variable)` pairs, or from the variables of a
/// `candle_nn::VarMap`, which are then named by their positions. It is a slice of pairs; clones are handles to the same parameters.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    list: Arc<Vec<(String, Var)>>,
    /// Set by [`ParamStore::freeze`](super::ParamStore::freeze); parameters from elsewhere have none.
    frozen: Arc<Vec<Option<Arc<AtomicBool>>>>,
    positions: Arc<HashMap<TensorId, usize>>,
}

impl Parameters {
    pub(super) fn new(entries: impl IntoIterator<Item = (String, Var, Option<Arc<AtomicBool>>)>) -> Self {
        let (mut list, mut frozen) = (Vec::new(), Vec::new());
        for (name, var, is_frozen) in entries {
            list.push((name, var));
            frozen.push(is_frozen);
        }
        let positions = list.iter().enumerate().map(|(at, (_, var))| (var.as_tensor().id(), at)).collect();
        Self { list: Arc::new(list), frozen: Arc::new(frozen), positions: Arc::new(positions) }
    }

    /// The positions of the parameters that have a gradient and are not frozen, in ascending order. The cost follows the number of gradients, not of parameters.
    pub fn found(&self, gradients: &GradStore) -> Vec<usize> {
        let position = |id| self.positions.get(id).copied();
        let mut found: Vec<usize> =
            gradients.get_ids().filter_map(position).filter(|&at| !self.is_frozen(at)).collect();
        found.sort_unstable();
        found
    }

    /// Whether the parameter at this position is frozen now.
    pub fn is_frozen(&self, position: usize) -> bool {
        matches!(self.frozen.get(position), Some(Some(frozen)) if frozen.load(Ordering::Relaxed))
    }

    /// The parameters whose names match a pattern, see [`ParamStore::select`](super::ParamStore::select); none is no error here.
    pub fn matching(&self, pattern: &str) -> Self {
        let all = self.list.iter().zip(self.frozen.iter());
        let chosen = all.filter(|((name, _), _)| super::pattern::matches(pattern, name));
        Self::new(chosen.map(|((name, var), frozen)| (name.clone(), var.clone(), frozen.clone())))
    }
}

impl Deref for Parameters {
    type Target = [(String, Var)];

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

impl IntoIterator for Parameters {
    type Item = (String, Var);
    type IntoIter = std::vec::IntoIter<(String, Var)>;

    fn into_iter(self) -> Self::IntoIter {
        Arc::unwrap_or_clone(self.list).into_iter()
    }
}

impl<'a> IntoIterator for &'a Parameters {
    type Item = &'a (String, Var);
    type IntoIter = std::slice::Iter<'a, (String, Var)>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl From<Vec<(String, Var)>> for Parameters {
    fn from(list: Vec<(String, Var)>) -> Self {
        Self::new(list.into_iter().map(|(name, var)| (name, var, None)))
    }
}

impl From<Vec<Var>> for Parameters {
    fn from(list: Vec<Var>) -> Self {
        Self::new(list.into_iter().enumerate().map(|(at, var)| (at.to_string(), var, None)))
    }
}
