//! How each layer is computed.

use serde::{Deserialize, Serialize};

/// How a layer of a compiled network is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Form {
    /// All weights that are left, zeros between them too.
    Dense,
    /// The same by Winograd's F(2×2, 3×3).
    DenseWinograd,
    /// As [`Form::Dense`], with channels of zeros up to multiples of sixteen, so that core-tensor's convolution takes Winograd's F(2×2, 3×3): for few images.
    DensePadded,
    /// Dense blocks alone.
    Blocks,
    /// Blocks of whole input channels by Winograd's F(2×2, 3×3).
    BlocksWinograd,
    /// A kernel for each channel.
    Depthwise,
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dense => "dense",
            Self::DenseWinograd => "dense, Winograd",
            Self::DensePadded => "dense, padded",
            Self::Blocks => "blocks",
            Self::BlocksWinograd => "blocks, Winograd",
            Self::Depthwise => "depthwise",
        })
    }
}

/// The forms of all layers, and for which machine they were chosen. Stored with a compiled network, and on its own by serde.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Architecture and vector instructions.
    pub machine: String,
    /// The layers in the order of the network.
    pub layers: Vec<LayerPlan>,
}

/// How one layer is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerPlan {
    /// Its name.
    pub name: String,
    /// For six images and more, which lie sixteen side by side.
    pub many: Form,
    /// For fewer images, or other devices.
    pub few: Form,
}

/// Architecture and vector instructions of this machine: what a [`Plan`] holds for.
pub fn machine() -> String {
    #[cfg(target_arch = "x86_64")]
    let instructions = format!(" {:?}", core_tensor::kernel::instructions()).to_lowercase();
    #[cfg(not(target_arch = "x86_64"))]
    let instructions = "";
    format!("{}{instructions}", std::env::consts::ARCH)
}

/// Channels of which core-tensor's convolution wants multiples for Winograd's form.
pub(super) const MULTIPLE: usize = 16;

/// Seconds of each form that a layer can take, for sixteen images.
pub(super) type Times = Vec<(Form, f64)>;
