//! What a layer gained.

use super::plan::{Form, Times};
use super::program::{Layer, Program, Step};
use serde::{Deserialize, Serialize};

/// What became of a network, layer by layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The convolutions and linear layers, in the order of the network.
    pub layers: Vec<LayerReport>,
    /// Bytes of all weights and biases, before and after.
    pub bytes: (u64, u64),
}

/// What became of one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Its name.
    pub name: String,
    /// Input channels before, and those that are still computed.
    pub inputs: (usize, usize),
    /// Output channels before, and those that the layer still computes.
    pub outputs: (usize, usize),
    /// The share of weights that the masks keep.
    pub density: f64,
    /// Multiplications of an image before, and those of the form that was chosen (without what Winograd saves).
    pub multiplications: (u64, u64),
    /// How it is computed for many images.
    pub form: Form,
    /// Seconds of the layer before anything was removed, its faster dense form, for sixteen images on one thread. `None` where nothing was measured.
    pub dense_seconds: Option<f64>,
    /// Seconds of the form that was chosen, likewise.
    pub seconds: Option<f64>,
    /// All forms that were tried, with their seconds.
    pub tried: Vec<(Form, f64)>,
}

impl Report {
    /// Multiplications of an image before and after.
    pub fn multiplications(&self) -> (u64, u64) {
        // a report may come from a file
        let sum = |of: fn(&LayerReport) -> u64| self.layers.iter().map(of).fold(0, u64::saturating_add);
        (sum(|layer| layer.multiplications.0), sum(|layer| layer.multiplications.1))
    }

    /// Seconds of all layers for sixteen images on one thread, dense and as chosen; `None` where nothing was measured.
    pub fn seconds(&self) -> Option<(f64, f64)> {
        self.layers
            .iter()
            .try_fold((0.0, 0.0), |(dense, own), layer| Some((dense + layer.dense_seconds?, own + layer.seconds?)))
    }
}

/// The table by layer.
impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.layers.iter().map(|layer| layer.name.len()).max().unwrap_or(0).max(5);
        writeln!(
            f,
            "{:name$}  {:>11}  {:>11}  {:>7}  {:>15}  {:>8}  {:>8}  {:>5}",
            "layer", "inputs", "outputs", "density", "form", "dense ms", "now ms", "gain"
        )?;
        let time = |seconds: Option<f64>| seconds.map_or("-".to_owned(), |seconds| format!("{:.3}", 1e3 * seconds));
        let gain = |dense: Option<f64>, own: Option<f64>| match (dense, own) {
            (Some(dense), Some(own)) if own > 0.0 => format!("{:.2}", dense / own),
            _ => "-".to_owned(),
        };
        for layer in &self.layers {
            writeln!(
                f,
                "{:name$}  {:>11}  {:>11}  {:>7.3}  {:>15}  {:>8}  {:>8}  {:>5}",
                layer.name,
                format!("{}/{}", layer.inputs.1, layer.inputs.0),
                format!("{}/{}", layer.outputs.1, layer.outputs.0),
                layer.density,
                layer.form.to_string(),
                time(layer.dense_seconds),
                time(layer.seconds),
                gain(layer.dense_seconds, layer.seconds),
            )?;
        }
        let (before, after) = self.multiplications();
        write!(
            f,
            "{:.1} of {:.1} million multiplications an image, {:.2} of {:.2} MB",
            after as f64 / 1e6,
            before as f64 / 1e6,
            self.bytes.1 as f64 / 1e6,
            self.bytes.0 as f64 / 1e6
        )?;
        if let Some((dense, own)) = self.seconds() {
            write!(f, ", {:.2} of {:.2} ms for sixteen images on one thread", 1e3 * own, 1e3 * dense)?;
        }
        Ok(())
    }
}

impl Layer {
    /// The weights that a form multiplies with.
    fn weights_of(&self, form: Form) -> usize {
        match form {
            Form::Dense | Form::DensePadded | Form::DenseWinograd => self.targets.len() * self.inputs * self.taps(),
            Form::BlocksWinograd => {
                let blocks = super::lanes::channel_blocks(self);
                blocks.iter().map(|block| block.rows.len() * block.columns.len() * self.taps()).sum()
            }
            Form::Blocks | Form::Depthwise => self.weights(),
        }
    }

    pub(super) fn weights_before(&self) -> usize {
        self.before.outputs * (self.before.inputs / self.before.groups.max(1)) * self.taps()
    }
}

impl Program {
    pub(super) fn convolutions(&self) -> impl Iterator<Item = &Layer> {
        self.steps.iter().filter_map(|step| match step {
            Step::Convolution { layer, .. } => self.layers.get(*layer),
            _ => None,
        })
    }

    /// `forms` and `times` have an entry for each convolution; `dense` the seconds before.
    pub(super) fn report(&self, forms: &[Form], times: &[Times], dense: &[Option<f64>], bytes_each: usize) -> Report {
        let mut layers = Vec::new();
        let mut bytes = (0, 0);
        let steps = self.steps.iter().filter_map(|step| match step {
            Step::Convolution { layer, output, .. } => Some((&self.layers[*layer], self.values[*output])),
            _ => None,
        });
        for (at, (layer, [_, height, width])) in steps.enumerate() {
            let positions = (height * width) as u64;
            let (form, before) = (forms[at], layer.weights_before());
            let tried = times.get(at).cloned().unwrap_or_default();
            layers.push(LayerReport {
                name: layer.name.clone(),
                inputs: (layer.before.inputs, layer.inputs),
                outputs: (layer.before.outputs, layer.targets.len()),
                density: if before == 0 { 1.0 } else { layer.before.kept as f64 / before as f64 },
                multiplications: (positions * before as u64, positions * layer.weights_of(form) as u64),
                form,
                dense_seconds: dense.get(at).copied().flatten(),
                seconds: tried.iter().find(|(tried, _)| *tried == form).map(|(_, seconds)| *seconds),
                tried,
            });
            let indices: usize = layer.blocks.iter().map(|(rows, columns)| rows.len() + columns.len()).sum();
            let indices = if layer.is_whole() { 0 } else { 4 * indices };
            bytes.0 += ((before + layer.before.outputs) * bytes_each) as u64;
            let map = layer.map.as_ref().map_or(0, Vec::len);
            bytes.1 += ((layer.weights() + layer.bias.len() + map) * bytes_each + indices) as u64;
        }
        Report { layers, bytes }
    }
}
