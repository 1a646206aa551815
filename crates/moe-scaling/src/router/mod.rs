//! Routers, which decide the experts of each token: the trait [`Router`] and five implementations.
//!
//! | router | built by | decides by | from |
//! |---|---|---|---|
//! | [`TopK`] | [`top_k`] | the largest logits, with balance and z losses | Shazeer et al. 2017; GShard; Switch Transformer; ST-MoE |
//! | [`SBase`] | [`s_base`] | the largest logits after a Sinkhorn balance over the batch | the paper, section 3 |
//! | [`Reinforce`] (RL-R) | [`reinforce()`] | sampling from a policy that is trained by rewards | the paper, section 3 |
//! | [`Hash`](struct@Hash) | [`hash()`] | the token's id | Hash Layers (Roller et al. 2021) |
//! | [`Base`] | [`base()`] | an exact balanced assignment over the batch | BASE Layers (Lewis et al. 2021) |
//!
//! A router that balances over the batch makes the output for a token depend on the other tokens in training. In evaluation no router does.

mod assignment;
mod balanced;
mod base;
mod hash;
mod logits;
mod losses;
mod policy;
mod reinforce;
mod s_base;
mod sinkhorn;
mod top_k;

pub use assignment::{Assignment, Router, Tokens};
pub use balanced::balanced_assignment;
pub use base::{Base, base};
pub use hash::{Hash, HashConfig, hash};
pub use losses::{balance_loss, z_loss};
pub use policy::Policy;
#[doc(hidden)]
pub use reinforce::sample_actions;
pub use reinforce::{PolicyGate, Reinforce, ReinforceConfig, reinforce};
pub use s_base::{SBase, SBaseConfig, s_base};
pub use sinkhorn::{SinkhornConfig, SinkhornPlan, sinkhorn};
pub use top_k::{Noise, TopK, TopKConfig, top_k};
