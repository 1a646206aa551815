//! Keyed codes of images from coordinate networks, and what attackers who know more and more do to them.
//!
//! A. A. Rusu, D. A. Calian, S. Gowal, R. Hadsell: *Hindering Adversarial Attacks with Implicit Neural Representations*, ICML 2022.
//!
//! For each image a small network is fitted that gives the colour at a place, always from the same secret first weights and with the same secret orders of pixels. The colours are thrown away: a classifier sees the outputs of a middle layer at every pixel. Codes
//! are lossy, depend on the key, and their gradient with respect to the image leads through the whole fit. This hinders attacks, and less so the more the attacker knows; nothing is certified.
//!
//! | paper | here |
//! |---|---|
//! | the encoding of places, the network | [`encode`], [`CoordinateNetwork`] |
//! | fitting | [`Training`], [`FitPlan`], [`fit_images`] |
//! | the transform | [`Linac`], [`Cache`], [`Key`] |
//! | parametric bypass approximation (PBA) | [`Bypass`] in the place of the transform, trained by the classifier's loss |
//! | BPDA | [`attacks::Bpda`](crate::attacks::Bpda) with a [`Bypass`] as the way back |
//! | gradients through the fit | [`ThroughFit`] |
//! | the earlier key-based defence | [`PixelShuffle`] |

mod cache;
mod fit;
mod key;
mod models;
mod network;
mod transform;
mod unrolled;

pub use cache::Cache;
pub use fit::{FitPlan, LayerGradients, Training};
pub use key::Key;
pub use models::{Bypass, PixelShuffle, ThroughFit};
pub use network::{Activation, CoordinateNetwork, NetworkConfig, encode, grid};
pub use transform::{FitOptions, FittedNetworks, Linac, fit_images};
