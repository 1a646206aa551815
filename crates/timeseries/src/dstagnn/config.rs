//! Sizes and settings of DSTAGNN.

use super::attention::AttentionNormalisation;
use serde::{Deserialize, Serialize};

/// Sizes and settings of a network; the defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DstagnnConfig {
    /// N, the sensors.
    pub num_nodes: usize,
    /// T, the steps that are seen, at least 7; 12.
    pub input_steps: usize,
    /// H, the steps that are forecast; 12.
    pub horizon: usize,
    /// C, the readings of a sensor at each step; 1. With more, which the paper does not have, the second block is given the mean of the scores of the first one's channels.
    pub input_channels: usize,
    /// L, the number of blocks; 4.
    pub num_blocks: usize,
    /// F, the channels of a block; 32.
    pub filters: usize,
    /// h, the heads of temporal attention; 3, and 4 for PEMS07.
    pub temporal_heads: usize,
    /// d_k, the width of temporal and spatial heads; 32.
    pub head_width: usize,
    /// d_model, the width of the spatial embedding; 512.
    pub embedding: usize,
    /// The probability of dropout; 0.05.
    pub dropout: f64,
    /// Over which axis temporal attention sums to one; queries, as in the authors' program.
    pub attention: AttentionNormalisation,
}

impl DstagnnConfig {
    /// The paper's network for `num_nodes` sensors.
    pub fn new(num_nodes: usize) -> Self {
        Self {
            num_nodes,
            input_steps: 12,
            horizon: 12,
            input_channels: 1,
            num_blocks: 4,
            filters: 32,
            temporal_heads: 3,
            head_width: 32,
            embedding: 512,
            dropout: 0.05,
            attention: AttentionNormalisation::Query,
        }
    }
}
