//! The law, the routers and the language model against reference values: the law's from the authors' released losses, the layers' from an
//! independent float64 implementation (the authors released no code for them).
//!
//! The values stand in `tests/golden/routed-scaling-laws`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/routed-scaling-laws`, where a
//! missing file skips its test.

#![allow(clippy::unwrap_used)]

#[path = "routed_scaling_laws_golden/files.rs"]
mod files;
#[cfg(feature = "layers")]
#[path = "routed_scaling_laws_golden/language_model.rs"]
mod language_model;
#[path = "routed_scaling_laws_golden/law.rs"]
mod law;
#[cfg(feature = "layers")]
#[path = "routed_scaling_laws_golden/layers.rs"]
mod layers;
#[path = "routed_scaling_laws_golden/robust.rs"]
mod robust;
#[cfg(feature = "layers")]
#[path = "routed_scaling_laws_golden/tensors.rs"]
mod tensors;
