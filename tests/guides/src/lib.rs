//! The Rust snippets of the guides in `docs/guides`, as documentation tests. The guides' commands are run by `tests/tests/guides.rs`; the example
//! `guide_data` makes the files that they work on.

#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/cluster-graph.md")]
struct ClusterGraph;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/compress-gradients.md")]
struct CompressGradients;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/mixture-of-experts.md")]
struct MixtureOfExperts;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/any-speed.md")]
struct AnySpeed;
