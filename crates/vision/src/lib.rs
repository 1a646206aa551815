#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod augmentation;
mod error;
mod image_shape;
mod layers;
mod mobilenet;
mod network;
mod network_in_network;
mod normalization;
mod resnet;
pub mod small;
mod vgg;
mod wide_resnet;

pub use augmentation::{Augmentation, Crop};
pub use error::{Error, Result};
pub use image_shape::ImageShape;
pub use mobilenet::{MobileNet, MobileNetConfig, mobilenet};
pub use network::ImageNetwork;
pub use network_in_network::{NetworkInNetwork, NetworkInNetworkConfig, network_in_network};
pub use normalization::Normalization;
pub use resnet::{ResNet, ResNetConfig, ResidualBlock, Stem, resnet};
pub use vgg::{Vgg, VggConfig, VggHead, vgg};
pub use wide_resnet::{WideResNet, WideResNetConfig, WideResNetForm, wide_resnet};
