//! The reconstruction after OEPG against an independent program in f64: clusters, descriptors in the explicit and in the matrix form, propagation, losses with gradients, momentum; and the imbalance
//! tools against the published formula and the official weights.
//!
//! The values are in `tests/golden/oepg`; with `GOLDEN_DIR` set they are read from `$GOLDEN_DIR/oepg`, where a missing file skips its test.

#[path = "oepg_golden/core.rs"]
mod core;
#[path = "oepg_golden/imbalance.rs"]
mod imbalance;
#[path = "shared/tensors.rs"]
mod tensors;

use reproduction::Golden;

fn golden() -> Golden {
    Golden::of("oepg", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn at_least_one_reference_file_is_there() {
    golden().assert_not_empty();
}
