//! Learning representations of nodes and graphs without labels: one encoder, one trainer, several objectives.
//!
//! | part | what it is | from |
//! |---|---|---|
//! | [`EncoderConfig`], [`Encoder`] | convolutions with batch norms; an embedding for each node or graph | |
//! | [`Unlabelled`] | the data | |
//! | [`SelfSupervised`] | `new`, `fit`, `embed`, `save`, `load` | |
//! | [`Objective::LaGraph`] | reconstruction and invariance | [`lagraph`](crate::lagraph) |
//! | [`Objective::GraphCl`], [`nt_xent`] | contrast between views of graphs | You et al., NeurIPS 2020 |
//! | [`Objective::InfoGraph`], [`info_graph`] | mutual information of nodes and graphs | Sun et al., ICLR 2020 |
//! | [`Objective::Grace`], [`grace`] | contrast between views of nodes, in blocks | Zhu et al. 2020 |
//! | [`Objective::Dgi`] | nodes and a summary | Veličković et al., ICLR 2019 |
//! | [`Objective::Bgrl`] | a second encoder that follows, no negatives | Thakoor et al., ICLR 2022 |
//! | [`Objective::Gae`], [`Objective::Vgae`] | edges | Kipf & Welling 2016 |
//! | [`Collapse`] | whether embeddings still tell things apart | |
//!
//! Views are drawn by [`augment`](crate::augment); embeddings are evaluated, beside raw features and the untrained encoder, by [`probe`](crate::probe).

mod collapse;
mod contrast;
mod data;
mod encoder;
mod heads;
mod info_graph;
mod momentum;
mod objective;
mod trainer;

pub use collapse::Collapse;
pub use contrast::{grace, nt_xent, nt_xent_symmetric};
pub use data::Unlabelled;
pub use encoder::{Encoder, EncoderActivation, EncoderConfig, Level, NormStatistics, encoder};
pub use info_graph::{info_graph, jensen_shannon_views};
pub use momentum::follow;
pub use objective::Objective;
pub use trainer::{EpochReport, FitOptions, FitSummary, SelfSupervised, Shuffle};

pub(crate) use contrast::normalize_rows;
pub(crate) use heads::view;
