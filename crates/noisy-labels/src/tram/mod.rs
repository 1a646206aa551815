//! TRAM: Collier, Jenatton, Kokiopoulou and Berent, "Transfer and Marginalize: Explaining Away Label Noise with Privileged Information" (ICML 2022).
//!
//! Training labels come with privileged information `a`: who labelled, how long it took. Features `φ(x)` are learned through a head that sees it, and a second head without it is trained on the same features behind a stop of the
//! gradient: it fits `p(y | x) = E p(y | x, a)` at no cost when it is used.
//!
//! | the paper and its authors' program | here |
//! |---|---|
//! | privileged information `a`, its encoding | [`Information`], [`PiEncoder`] |
//! | the features `φ(x)` | [`Backbone`] |
//! | both heads on one backbone, linear or heteroscedastic (Het-TRAM) | [`Tram`], [`HeadKind`] |
//! | the head with privileged information, `π(φ, a)` | [`PiTower`] |
//! | the loss of both heads over annotations | [`two_head_loss`] |
//! | training: no information, TRAM, TRAM with zeros, information only, distillation | [`fit`], [`Strategy`] |
//! | prediction by the head without information, `ψ(φ)` | [`Tram::predict`] |
//! | full marginalisation, imputation | [`Tram::predict_marginal`] |
//! | a model without anything that sees information | [`export`], [`without_information`] |
//! | what the heads say about annotations and annotators | [`annotation_report`] |
//!
//! A choice of ours: in Het-TRAM both heads end in a [`HetHead`], the authors' networks for it are not public.

mod fit;
mod heteroscedastic;
mod information;
mod loss;
mod model;
mod report;
mod tower;

pub use fit::{Annotated, Strategy, Teacher, TramEpoch, TramTraining, fit};
pub use heteroscedastic::{HetConfig, HetHead, HetNoise, het_head};
pub use information::{Information, PiColumn, PiEncoder, PiEncoderConfig};
pub use loss::{TwoHeadLoss, two_head_loss};
pub use model::{Backbone, HeadKind, PlainModel, Tram, TramConfig, export, tram, without_information};
pub use report::{AnnotationReport, AnnotatorRow, annotation_report};
pub use tower::{PiTower, PiTowerConfig, pi_tower};
