//! What may be pruned.

use crate::{Error, Result};
use candle_core::Var;
use core_tensor::params::ParamStore;

/// Which parameters may be pruned, by patterns of names: `*` stands for any characters, `?` for one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Scope {
    /// A parameter must match one of these.
    pub include: Vec<String>,
    /// And none of these.
    pub exclude: Vec<String>,
    /// Only weights of convolutions, which have four dimensions.
    pub only_convolutions: bool,
}

impl Scope {
    /// The paper's: the weight of every convolution but that of the stem, `conv1.weight` by its full name (`layer1.0.conv1.weight` is prunable). A stem of another name is to be added to `exclude`.
    pub fn convolutions() -> Self {
        Self { include: vec!["*".into()], exclude: vec!["conv1.weight".into()], only_convolutions: true }
    }

    /// Every matrix and convolution whose name matches a pattern.
    pub fn matching(pattern: impl Into<String>) -> Self {
        Self { include: vec![pattern.into()], exclude: Vec::new(), only_convolutions: false }
    }

    /// Whether a parameter of this name and shape may be pruned. Vectors (biases, norms) never are.
    pub fn contains(&self, name: &str, shape: &[usize]) -> bool {
        let is_weight = if self.only_convolutions { shape.len() == 4 } else { shape.len() >= 2 };
        is_weight && self.includes(name)
    }

    /// Whether the patterns include this name, whatever its shape.
    pub fn includes(&self, name: &str) -> bool {
        self.include.iter().any(|pattern| matches(pattern, name))
            && !self.exclude.iter().any(|pattern| matches(pattern, name))
    }

    /// The parameters of a store that may be pruned, in the order of their names.
    ///
    /// # Errors
    /// None that may be.
    pub fn select(&self, store: &ParamStore) -> Result<Vec<(String, Var)>> {
        let all = store.vars();
        let chosen: Vec<(String, Var)> =
            all.iter().filter(|(name, var)| self.contains(name, var.dims())).cloned().collect();
        if chosen.is_empty() {
            let reason = match all.iter().find(|(_, var)| var.dims().len() >= 2) {
                None => "the store has no weights: Network::build makes them".to_owned(),
                Some((name, var)) => {
                    format!("no parameter may be pruned by {self:?}; there is `{name}` of shape {:?}", var.dims())
                }
            };
            return Err(Error::invalid("Scope::select", reason));
        }
        Ok(chosen)
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // where the last star was, and how far it reaches
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&letter) if letter == '?' || letter == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, reached)) => {
                    star = Some((at, reached + 1));
                    p = at + 1;
                    n = reached + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&letter| letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*.weight", "a.weight", true),
            ("conv1.weight", "layer1.0.conv1.weight", false),
            ("layer?.*.conv*", "layer2.1.conv2.weight", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b", "ab c", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert!(Scope::convolutions().contains("layer1.0.conv1.weight", &[4, 4, 3, 3]));
        assert!(!Scope::convolutions().contains("conv1.weight", &[4, 3, 3, 3]));
        assert!(!Scope::convolutions().contains("fc.weight", &[4, 3]));
        assert!(!Scope::matching("*").contains("bn.weight", &[4]));
    }
}
