//! LaGraph against reference values: the official modules in f64, both losses, gradients, a training step and what follows; contrastive losses; the official preparation of data.
//!
//! The values are in `tests/golden/lagraph`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/lagraph`, where a missing file skips its test. The evaluation's values (probes, splits) are tested in
//! the crate `classifiers`.

#[path = "lagraph_golden/files.rs"]
mod files;
#[path = "lagraph_golden/models.rs"]
mod models;
#[path = "lagraph_golden/objectives.rs"]
mod objectives;
#[path = "shared/tensors.rs"]
mod tensors;
