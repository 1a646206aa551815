//! Certificates of bagging against data poisoning, after "On Collective Robustness of Bagging Against Data Poisoning" (Chen, Li, Li, Yan, Wu; ICML 2022, PMLR 162).
//!
//! An ensemble of G sub-classifiers, each trained on a sub-trainset of its own, predicts by majority. An attacker who changes r training samples controls the
//! sub-classifiers whose sub-trainsets hold them, and wants to change as many of the N predictions as possible *at once*. A collective certificate bounds how many by one optimisation over
//! all of them; counting the predictions that are certified one at a time lets the attacker use another attack for each.
//!
//! | symbol | meaning | here |
//! |---|---|---|
//! | G, N, C | sub-classifiers, test samples, classes | [`Votes`] |
//! | Ĝ, m | sub-trainsets of one hash function; number of hash functions | [`HashPartitioner`], [`Structure::hash`] |
//! | r | budget: sub-trainsets touched for each hash function | [`PoisonBudget::radius`] |
//! | p, V, gap | prediction, counts of votes, vote units that a class must win | [`Problem`] |
//! | X | controlled sub-classifiers | [`Certificate::attack`] |
//! | M_ATK(r) | most predictions changed at once | [`Certificate::max_changed_upper`] |
//! | CR, CA | collective robustness N - M_ATK, certified accuracy | [`Certificate::certified`] in [`Scope::all`], [`Scope::correct`] |
//! | Π | training samples that an attack changes | [`poisoned_samples`] |
//! | r̄ | upper bound of the tolerable budget | [`tolerable_budget`] |
//! | Δ | samples of a sub-problem | [`CertifyConfig::group_size`] |
//!
//! | idea of the paper | item |
//! |---|---|
//! | sample-wise certificate | [`samplewise::radii`], and sharper [`samplewise::attackable`] |
//! | the integer programme and its solvers | [`Problem`], [`solve`] |
//! | collective certificate, decomposition | [`certify`], [`certify_curve`] |
//! | tolerable budget of vanilla bagging | [`tolerable_budget`] |
//! | hash bagging | [`HashPartitioner`], [`train`] |
//! | vanilla bagging, its probabilistic certificate (Jia, Cao, Gong, 2021) | [`vanilla_sub_trainsets`], [`probabilistic_radii`] |

mod bits;
mod certificate;
mod cover;
pub mod learners;
mod limits;
mod partition;
mod probabilistic;
mod problem;
pub mod samplewise;
pub mod solve;
mod structure;
mod tolerable;
mod training;
mod votes;

pub use certificate::{Certificate, CertifyConfig, certify, certify_curve, certify_curve_watched, changed_by};
pub use cover::poisoned_samples;
#[doc(hidden)] // for the reproduction's own use of the same hash
pub use partition::fnv_1a;
pub use partition::{HashPartitioner, Record, SubTrainsets, vanilla_sub_trainsets};
pub use probabilistic::{VanillaBagging, probabilistic_radii};
pub use problem::{Problem, Scope};
pub use structure::{PoisonBudget, Structure};
pub use tolerable::{TolerableBudget, tolerable_budget, tolerable_budget_within};
pub use training::{BaseLearner, BoxError, Ensemble, Examples, SubClassifier, train, train_votes};
pub use votes::Votes;
