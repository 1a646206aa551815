//! Settings for groups of parameters, chosen by their names.

use crate::params::{Parameters, pattern};
use crate::{Error, Result};
use candle_core::Var;

/// Settings for some of the parameters of an optimiser; the first group that a parameter belongs to decides.
///
/// ```
/// # use candle_core::{DType, Device};
/// use core_tensor::optim::{AdamConfig, AdamW, ParamGroup};
/// use core_tensor::{nn, params::ParamStore};
/// let store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// nn::linear(3, 2, store.var_builder().pp("encoder"))?;
/// nn::linear(2, 2, store.var_builder().pp("head"))?;
/// let config = AdamConfig { weight_decay: 0.1, ..Default::default() };
/// // no decay of biases; the encoder learns ten times slower
/// let groups = [
///     ParamGroup::vectors(AdamConfig { weight_decay: 0., ..config }),
///     ParamGroup::matching("encoder.*", AdamConfig { learning_rate: 1e-4, ..config }),
/// ];
/// let optimizer = AdamW::with_groups(&store, config, &groups)?;
/// # let _ = optimizer;
/// # Ok::<(), core_tensor::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ParamGroup<C> {
    members: Members,
    config: C,
}

#[derive(Debug, Clone, PartialEq)]
enum Members {
    Matching(String),
    Vectors,
}

impl<C> ParamGroup<C> {
    /// The parameters whose names match `pattern`, see [`ParamStore::select`](crate::params::ParamStore::select).
    pub fn matching(pattern: impl Into<String>, config: C) -> Self {
        Self { members: Members::Matching(pattern.into()), config }
    }

    /// The parameters with at most one axis: biases, and scales and offsets of norms.
    pub fn vectors(config: C) -> Self {
        Self { members: Members::Vectors, config }
    }

    fn has(&self, (name, var): &(String, Var)) -> bool {
        match &self.members {
            Members::Matching(pattern) => pattern::matches(pattern, name),
            Members::Vectors => var.rank() <= 1,
        }
    }
}

/// The settings of an optimiser.
pub(super) trait Settings: Clone {
    /// Every number must be in its range.
    fn check(&self, operation: &'static str) -> Result<()>;

    fn learning_rate(&self) -> f64;

    fn set_learning_rate(&mut self, learning_rate: f64);
}

/// The settings of each parameter. The learning rates of all groups keep their ratios.
pub(super) struct Grouped<C> {
    pub(super) config: C,
    groups: Vec<C>,
    /// Learning rates of the groups over that of `config`.
    ratios: Vec<f64>,
    /// The group of each parameter, none for `config`.
    of: Vec<Option<usize>>,
}

impl<C: Settings> Grouped<C> {
    pub(super) fn new(
        operation: &'static str,
        parameters: &Parameters,
        config: C,
        groups: &[ParamGroup<C>],
    ) -> Result<Self> {
        check_parameters(operation, parameters)?;
        config.check(operation)?;
        groups.iter().try_for_each(|group| group.config.check(operation))?;
        for group in groups {
            if let Members::Matching(text) = &group.members {
                let names: Vec<String> = parameters.iter().map(|(name, _)| name.clone()).collect();
                pattern::at_least_one(text, parameters.iter().filter(|entry| group.has(entry)).count(), &names)?;
            }
        }
        let base = config.learning_rate();
        let ratio = |group: &ParamGroup<C>| match group.config.learning_rate() {
            rate if rate == base => Ok(1.),
            rate if base > 0. => Ok(rate / base),
            _ => Err(Error::InvalidConfig {
                what: "learning_rate",
                reason: "is 0, and that of a group is not: the groups keep their ratios to it".to_string(),
            }),
        };
        let ratios = groups.iter().map(ratio).collect::<Result<_>>()?;
        let of = parameters.iter().map(|entry| groups.iter().position(|group| group.has(entry))).collect();
        Ok(Self { config, groups: groups.iter().map(|group| group.config.clone()).collect(), ratios, of })
    }

    /// The settings of the parameter at this position.
    pub(super) fn of(&self, position: usize) -> &C {
        self.of.get(position).copied().flatten().and_then(|group| self.groups.get(group)).unwrap_or(&self.config)
    }

    pub(super) fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.set_learning_rate(learning_rate);
        for (group, ratio) in self.groups.iter_mut().zip(&self.ratios) {
            group.set_learning_rate(learning_rate * ratio);
        }
    }
}

/// There must be parameters, every name once, and all of them floats.
pub(super) fn check_parameters(operation: &'static str, parameters: &Parameters) -> Result<()> {
    if parameters.is_empty() {
        let reason = format!("{operation} would train nothing; build the model before its optimiser");
        return Err(Error::InvalidConfig { what: "parameters", reason });
    }
    let mut names = std::collections::BTreeSet::new();
    for (name, var) in parameters {
        if !var.dtype().is_float() {
            let (what, expected) = ("a parameter", "a floating-point type");
            return Err(Error::DType { operation, what, got: var.dtype(), expected });
        }
        if !names.insert(name) {
            return Err(Error::Parameter { name: name.clone(), reason: "duplicate name".to_string() });
        }
    }
    Ok(())
}

/// `is_valid` must hold for the hyperparameter `what`.
pub(super) fn check_value(
    operation: &'static str,
    what: &'static str,
    got: f64,
    expected: &'static str,
    is_valid: bool,
) -> Result<()> {
    if is_valid { Ok(()) } else { Err(Error::Value { operation, what, got, expected }) }
}
