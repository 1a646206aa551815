//! TRAM: Collier, Jenatton, Kokiopoulou and Berent, "Transfer and Marginalize: Explaining Away Label Noise with Privileged Information" (ICML 2022).
//!
//! Training labels come with privileged information `a`: who labelled, how long it took. Features `φ(x)` are learned through a head that sees it, and a second head without it is trained on the same features behind a stop of the
//! gradient: it fits `p(y | x) = E p(y | x, a)` at no cost when it is used.
//!
//! | the paper and its authors' program | here |
//! |---|---|
//! | the head with privileged information, `π(φ, a)` | [`PiTower`] |
//! | full marginalisation over given information | [`PiTower::marginal`] |
//! | the heteroscedastic head | [`HetHead`] |
//! | the loss of both heads over annotations | [`two_head_loss`] |
//!
//! So far the parts: encoders of information, training, the other strategies and the reproduction are to come.

mod heteroscedastic;
mod loss;
mod tower;

pub use heteroscedastic::{HetConfig, HetHead, HetNoise, het_head};
pub use loss::{TwoHeadLoss, two_head_loss};
pub use tower::{PiTower, PiTowerConfig, pi_tower};
