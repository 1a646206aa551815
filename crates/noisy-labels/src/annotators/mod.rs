//! Labels from several annotators: what they agree on, whom to believe, and what the items are.
//!
//! | function | model of an annotator | source |
//! |---|---|---|
//! | [`majority_vote`] | all are equal | – |
//! | [`dawid_skene`] | a confusion matrix | Dawid and Skene 1979 |
//! | [`one_coin`] | one probability of being right | Dawid and Skene's model with one parameter |
//! | [`glad`] | an ability, and each item has an ease | Whitehill et al. 2009 |
//! | [`mace`] | knows the class, or says something whatever the item is | Hovy et al. 2013 |
//! | [`kos`] | a weight from messages; two classes | Karger, Oh and Shah 2011 |
//! | [`crowdlab`] | a weight from agreement, beside a classifier | Goh, Tkachenko and Mueller 2022 |
//!
//! All start from the votes, work in the logarithmic domain, give the same bits for any number of threads and any order of the annotations, and leave items and annotators without annotations out.

mod agreement;
mod annotations;
mod consensus;
mod crowdlab;
mod dawid_skene;
mod em;
mod glad;
mod kos;
mod mace;

pub use agreement::{Agreement, agreement};
pub use annotations::{Annotation, Annotations, Named};
pub(crate) use consensus::most_probable;
pub use consensus::{Consensus, majority_vote};
pub use crowdlab::{Crowdlab, crowdlab};
pub use dawid_skene::{DawidSkene, DawidSkeneConfig, dawid_skene, one_coin};
pub use em::{Progress, Stopping};
pub use glad::{Glad, GladConfig, glad};
pub use kos::{Kos, KosConfig, kos};
pub use mace::{Mace, MaceConfig, mace};
