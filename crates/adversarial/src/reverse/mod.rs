//! Which class does an attacked signal belong to, which kind of attack was it, and what was it before?
//!
//! D. Thaker, P. Giampouras, R. Vidal: *Reverse Engineering l_p attacks: A block-sparse optimization approach with recovery guarantees*, ICML 2022.
//!
//! Signals of class i lie near the span of some of its training signals, `D_s[i]`, and perturbations by attack j of signals of class i near the span of such perturbations, `D_a[i][j]`. So an attacked signal is a combination of few blocks of
//! `[D_s D_a]`, and a convex problem that likes few blocks finds them.
//!
//! | paper | here |
//! |---|---|
//! | the dictionaries | [`BlockDictionary`] |
//! | the penalised problem, alone useful | [`GroupElasticNet`] |
//! | the active-set homotopy | [`Homotopy`] |
//! | class (SBSC), kind of attack (SBSAD), clean signal | [`ReverseEngineer`], [`Analysis`] |
//! | recovery conditions | [`recovery_report`] |
//! | block-sparse classifier (BSC) | [`block_sparse_class`] |
//! | controls that cost microseconds | [`NearestSubspace`] |

mod baselines;
mod dictionary;
mod elastic_net;
mod engineer;
mod homotopy;
mod recovery;
mod vector;

pub use baselines::{NearestSubspace, block_sparse_class};
pub use dictionary::{Block, BlockDictionary};
pub use elastic_net::{GroupElasticNet, Prepared, Solution, Solver};
pub use engineer::{Analysis, AttackPart, ReverseEngineer};
pub use homotopy::{Homotopy, Round};
pub use recovery::{PairRecovery, Reference, recovery_report};
