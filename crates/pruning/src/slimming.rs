//! Network slimming: channels go by the scale of the batch norm behind them.

use crate::network::{Network, Operation};
use crate::{Error, Mask, Masks, Result, Scope};
use candle_core::{DType, Tensor};
use core_tensor::ops;
use core_tensor::params::ParamStore;

const OPERATION: &str = "Slimming";

/// Network slimming (Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017): train with `λ Σ |γ|` added to the loss, then delete the channels with the smallest `|γ|`, over all
/// layers together. Of a deleted channel the convolution's weights, γ and β go.
#[derive(Debug, Clone, PartialEq)]
pub struct Slimming {
    /// Batch norms whose channels may go, by the names of their `weight`; those of shortcuts (`*downsample*`) are left out by default.
    pub scope: Scope,
    /// Whether a layer keeps one channel at least, true.
    pub keeps_channels: bool,
}

impl Default for Slimming {
    fn default() -> Self {
        let scope = Scope { include: vec!["*".into()], exclude: vec!["*downsample*".into()], only_convolutions: false };
        Self { scope, keeps_channels: true }
    }
}

impl Slimming {
    /// The convolution and the norm behind it, of those that may lose channels.
    fn layers<'a>(&self, network: &'a Network) -> Vec<(&'a str, &'a str)> {
        let of = |node: &'a crate::network::Node| {
            let before = &network.nodes[*node.inputs.first()?];
            let is_norm = node.operation == Operation::BatchNorm;
            let is_behind = matches!(before.operation, Operation::Convolution { .. });
            let is_included = self.scope.includes(&format!("{}.weight", node.name));
            (is_norm && is_behind && is_included).then_some((before.name.as_str(), node.name.as_str()))
        };
        network.nodes.iter().filter_map(of).collect()
    }

    /// `Σ |γ|` of the norms in scope, for the loss; a gradient goes to them.
    ///
    /// # Errors
    /// A store without a norm of the network, or no norm in scope.
    pub fn penalty(&self, network: &Network, store: &ParamStore) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        let vars: std::collections::BTreeMap<_, _> = store.vars().into_iter().collect();
        for (_, norm) in self.layers(network) {
            let name = format!("{norm}.weight");
            let Some(var) = vars.get(&name) else {
                return Err(Error::invalid(OPERATION, format!("the store has no parameter `{name}`")));
            };
            let own = ops::sum_all(&ops::abs(var.as_tensor())?)?;
            sum = Some(match sum {
                Some(sum) => ops::add(&sum, &own)?,
                None => own,
            });
        }
        sum.ok_or_else(|| Error::invalid(OPERATION, "no batch norm behind a convolution is in scope"))
    }

    /// Masks without the share `rate` of the channels in scope, rounded down: those with the smallest `|γ|`, equal ones in the order of the layers.
    ///
    /// # Errors
    /// A rate outside [0, 1), a store without a parameter of the network, scales that are not finite, or no norm in scope.
    pub fn masks(&self, network: &Network, store: &ParamStore, rate: f64) -> Result<Masks> {
        if !(0.0..1.0).contains(&rate) {
            return Err(Error::value(OPERATION, "the rate", rate, "in [0, 1)"));
        }
        let values = store.snapshot()?;
        let shapes = network.parameters();
        let layers = self.layers(network);
        let mut scales = Vec::new();
        for (layer, (_, norm)) in layers.iter().enumerate() {
            let name = format!("{norm}.weight");
            let Some(gamma) = values.get(&name) else {
                return Err(Error::invalid(OPERATION, format!("the store has no parameter `{name}`")));
            };
            if shapes[&name] != gamma.dims() {
                let (got, expected, what) = (gamma.dims().to_vec(), shapes[&name].clone(), format!("`{name}`"));
                return Err(Error::Shape { operation: OPERATION, what, got, expected });
            }
            let gamma: Vec<f64> = gamma.to_dtype(DType::F64)?.to_vec1()?;
            if let Some(at) = gamma.iter().position(|value| !value.is_finite()) {
                return Err(Error::value(OPERATION, format!("`{name}`[{at}]"), gamma[at], "a finite number"));
            }
            scales.extend(gamma.into_iter().enumerate().map(|(channel, value)| (value.abs(), layer, channel)));
        }
        if scales.is_empty() {
            return Err(Error::invalid(OPERATION, "no batch norm behind a convolution is in scope"));
        }
        // stable: equal scales keep the order of the layers
        scales.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = core_tensor::rounding::floor_to_count(rate * scales.len() as f64);
        let mut kept: Vec<Vec<u8>> =
            layers.iter().map(|(convolution, _)| vec![1; shapes[&format!("{convolution}.weight")][0]]).collect();
        for &(_, layer, channel) in &scales[..count] {
            let is_last = kept[layer].iter().filter(|&&kept| kept == 1).count() == 1;
            if !(is_last && self.keeps_channels) {
                kept[layer][channel] = 0;
            }
        }
        let mut masks = Masks::default();
        for ((convolution, norm), kept) in layers.into_iter().zip(kept) {
            let name = format!("{convolution}.weight");
            let shape = &shapes[&name];
            let columns: usize = shape[1..].iter().product();
            let rows = kept.iter().flat_map(|&kept| std::iter::repeat_n(kept, columns)).collect();
            masks.insert(name, Mask::new(shape, rows)?);
            for suffix in ["weight", "bias"] {
                masks.insert(format!("{norm}.{suffix}"), Mask::new(&[kept.len()], kept.clone())?);
            }
        }
        Ok(masks)
    }
}
