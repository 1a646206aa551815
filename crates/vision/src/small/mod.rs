//! Small convolutional networks that papers train on MNIST and CIFAR.

mod conv_pool;
mod mnist;
mod nine_layer;
mod plain;

pub use conv_pool::{ConvPoolCnn, ConvPoolCnnConfig, conv_pool_cnn};
pub use mnist::{MnistCnn, MnistCnnConfig, mnist_cnn};
pub use nine_layer::{NineLayerCnn, NineLayerCnnConfig, nine_layer_cnn};
pub use plain::{PlainCnn, PlainCnnConfig, plain_cnn};
