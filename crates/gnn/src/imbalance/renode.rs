//! Weights by conflict.

use crate::{Error, Result};

/// The range of [`renode_weights`].
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ReNodeConfig {
    /// The smallest weight, of the node that is most in conflict; 0.5.
    pub least: f64,
    /// What the largest exceeds it by; 1.
    pub scale: f64,
}

impl Default for ReNodeConfig {
    fn default() -> Self {
        Self { least: 0.5, scale: 1.0 }
    }
}

/// `w_v = least + ½ scale (1 + cos(π rank_v / (n − 1)))`, where rank 0 has the least conflict; equal values have ranks in their order. One node alone has the largest weight.
///
/// # Errors
/// No value, one that is not finite, or a range that is not.
///
/// ```
/// use gnn::imbalance::{ReNodeConfig, renode_weights};
/// assert_eq!(renode_weights(&[0.3, 0.1, 0.2], ReNodeConfig::default())?, [0.5, 1.5, 1.0]);
/// # Ok::<(), gnn::Error>(())
/// ```
pub fn renode_weights(conflict: &[f64], config: ReNodeConfig) -> Result<Vec<f64>> {
    const OPERATION: &str = "renode_weights";
    if conflict.is_empty() {
        return Err(Error::invalid_data(OPERATION, "no labelled node"));
    }
    if let Some(position) = conflict.iter().position(|value| !value.is_finite()) {
        let got = conflict[position];
        return Err(Error::NotFinite { operation: OPERATION, what: "conflict", position, got });
    }
    for (what, value) in [("least", config.least), ("scale", config.scale)] {
        if !value.is_finite() {
            return Err(Error::InvalidConfig { what, got: value.to_string(), expected: "a finite number" });
        }
    }
    let mut order: Vec<usize> = (0..conflict.len()).collect();
    order.sort_by(|&a, &b| conflict[a].total_cmp(&conflict[b]).then(a.cmp(&b)));
    let last = (conflict.len() - 1).max(1) as f64;
    let mut weights = vec![0.0; conflict.len()];
    for (rank, node) in order.into_iter().enumerate() {
        let angle = std::f64::consts::PI * rank as f64 / last;
        weights[node] = config.least + 0.5 * config.scale * (1.0 + angle.cos());
    }
    Ok(weights)
}
