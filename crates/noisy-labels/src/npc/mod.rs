//! NPC: Bae, Shin, Na, Jang, Song and Moon, "From Noisy Prediction to True Label: Noisy Prediction Calibration via Generative Model" (ICML 2022).
//!
//! A classifier was trained on noisy labels. Its predictions `ŷ` are taken as they are, and a small conditional variational auto-encoder learns `H_kj(x) = p(y = j | ŷ = k, x)`: the latent variable is the distribution of the
//! true label, a Dirichlet with a prior from the neighbours in the classifier's features; what is observed is `ŷ`. Then `p(y | x) = Σ_k H_k(x) p(ŷ = k | x)`. Neither clean labels nor a noise rate are needed.
//!
//! | the paper | here |
//! |---|---|
//! | `ȳ`, votes of the neighbours | [`references`], [`neighbour_votes`] |
//! | the prior's parameter `α` | [`prior_of_classes`], [`prior_of_votes`] |
//! | encoder, sampler and decoder; the loss, equation 8 | [`PredictionVae`] |
//! | training, and corrected predictions | [`fit`], [`calibrate`] |
//! | all steps from probabilities and features of a black box | [`Calibrator`] |
//! | the control: the neighbours' votes alone | [`neighbour_votes_of`] |
//! | `H`, and the corrected probabilities of a batch | [`PredictionVae::transition`], [`corrected`] |
//!
//! `p(ŷ | x)` is always that of the original classifier, whatever is trained along with the auto-encoder. Left out of the authors' program, because it is a fault: dropout that is active in evaluation.

mod black_box;
mod calibrator;
mod prior;
mod vae;

pub use black_box::{Calibrator, CalibratorConfig, Prior};
pub use calibrator::{Calibrated, Extract, Network, NpcConfig, calibrate, fit};
pub use prior::{References, neighbour_votes, neighbour_votes_of, prior_of_classes, prior_of_votes, references};
pub use vae::{LossParts, PredictionVae, corrected, dirichlet_kl, gamma_sample, prediction_vae};
