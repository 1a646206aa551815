//! The classifiers, in two parts for NPC.

use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;
use core_tensor::nn::{Linear, linear};
use core_tensor::params::ParamStore;
use core_tensor::train::Classifier;
use core_tensor::{Mode, ops};
use serde::{Deserialize, Serialize};
use vision::ImageNetwork;
use vision::small::{
    MnistCnn, MnistCnnConfig, NineLayerCnn, NineLayerCnnConfig, PlainCnn, PlainCnnConfig, mnist_cnn, nine_layer_cnn,
    plain_cnn,
};

/// Which classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// 20-256-256-5 with dropout 0.3 on the second hidden layer.
    Mlp,
    /// The paper's network for MNIST and Fashion-MNIST.
    Mnist,
    /// The paper's network for CIFAR-10.
    Nine,
    /// Three convolutions of 32, 64 and 128 channels, each at stride 2.
    Three,
}

pub(crate) enum Net {
    Mlp([Linear; 2], Linear),
    Mnist(Box<MnistCnn>),
    Nine(Box<NineLayerCnn>),
    Three(PlainCnn),
}

type Result<T> = core_tensor::Result<T>;

fn core(error: vision::Error) -> core_tensor::Error {
    candle_core::Error::from(error).into()
}

impl Net {
    /// A classifier, or the copy that NPC trains along: there the statistics of the batch norm before the shared dropout follow as those of two passes do.
    pub(crate) fn new(kind: Kind, is_copy: bool, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(match kind {
            Kind::Mlp => {
                let hidden = [linear(20, 256, vb.pp("hidden1"))?, linear(256, 256, vb.pp("hidden2"))?];
                Self::Mlp(hidden, linear(256, 5, vb.pp("last"))?)
            }
            Kind::Mnist => {
                let momentum = if is_copy { 0.19 } else { 0.1 };
                let config = MnistCnnConfig { momentum, ..Default::default() };
                Self::Mnist(Box::new(mnist_cnn(&config, vb).map_err(core)?))
            }
            Kind::Nine => Self::Nine(Box::new(nine_layer_cnn(&NineLayerCnnConfig::new(10), vb).map_err(core)?)),
            Kind::Three => {
                let layers = vec![(32, 2), (64, 2), (128, 2)];
                let config = PlainCnnConfig { input_channels: 3, num_classes: 10, layers };
                Self::Three(plain_cnn(&config, vb).map_err(core)?)
            }
        })
    }

    /// The last layer's name, which NPC's copy begins anew.
    fn last(kind: Kind) -> &'static str {
        match kind {
            Kind::Mlp => "last.",
            Kind::Mnist => "linear3.",
            Kind::Nine => "l_c1.",
            Kind::Three => "fc.",
        }
    }

    /// What two passes that differ in dropout share.
    pub(crate) fn trunk(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        match self {
            Self::Mlp([first, second], _) => ops::relu(&second.forward(&ops::relu(&first.forward(x)?)?)?),
            Self::Mnist(network) => network.before_dropout(x, mode).map_err(core),
            Self::Nine(_) | Self::Three(_) => Ok(x.clone()),
        }
    }

    /// The embedding of what [`Net::trunk`] gives.
    pub(crate) fn embedding(&self, trunk: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        match self {
            Self::Mlp(..) => mode.dropout(trunk, 0.3),
            Self::Mnist(network) => network.after_dropout(trunk, mode).map_err(core),
            Self::Nine(network) => network.features(trunk, mode).map_err(core),
            Self::Three(network) => network.features(trunk, mode).map_err(core),
        }
    }

    pub(crate) fn head(&self, embedding: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Mlp(_, last) => last.forward(embedding)?,
            Self::Mnist(network) => network.head().forward(embedding)?,
            Self::Nine(network) => network.head().forward(embedding)?,
            Self::Three(network) => network.head().forward(embedding)?,
        })
    }
}

impl Classifier for Net {
    fn logits(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let trunk = self.trunk(x, mode)?;
        self.head(&self.embedding(&trunk, mode)?)
    }
}

/// A copy of a classifier in another store, with a fresh last layer.
pub(crate) fn copy(kind: Kind, from: &ParamStore, to: &ParamStore) -> Result<Net> {
    let net = Net::new(kind, true, to.var_builder().pp("copy"))?;
    for (name, value) in from.snapshot()? {
        if !name.starts_with(Net::last(kind)) {
            to.set(&format!("copy.{name}"), &value)?;
        }
    }
    Ok(net)
}
