//! Classifiers trained on noisy labels, by every method that NPC is compared on top of.
//!
//! [`train`] takes any network of Candle as a function that builds it, inputs, labels and an [`Objective`]; what a method needs to know about the noise (a rate, a transition matrix) is estimated unless it is given. Nothing looks at clean
//! labels: validation is on noisy ones.
//!
//! Post-processors, which leave the network as it is: [`GenerativeClassifier`] (RoG), the votes of neighbours alone ([`neighbour_votes_of`](crate::npc::neighbour_votes_of)), and LRT*, which is [`Objective::LikelihoodRatio`] with the network's predictions
//! in the place of the labels.
//!
//! Where the authors' program for the comparison departs from what its methods are named after, the method is meant: label smoothing and SCE are really trained with; forward correction multiplies by the matrix and keeps Adam; DualT multiplies its
//! factors in the published order; the second phase of joint optimisation trains its fresh network with a fresh optimiser; co-teaching and JoCoR keep the first network instead of the one that is better on test data. Left out: the fall of the
//! learning rate of co-teaching and JoCoR (and its change of Adam's `β₁`), the learned transition of TVR. Absent, since they are methods of their own: CORES2, CausalNL, MLC.

mod checkpoint;
mod generative;
mod hook;
mod objective;
mod predict;
mod run;
mod settings;

pub use generative::{GenerativeClassifier, GenerativeConfig};
pub use objective::Objective;
pub use predict::predict;
pub use run::{cross_validated, train};
pub use settings::{Build, EpochRecord, Trained, TrainingConfig};
