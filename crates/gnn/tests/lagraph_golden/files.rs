//! Reading files of reference values.

use super::tensors::Golden as Tensors;
use reproduction::Golden;

pub(crate) fn golden() -> Golden {
    Golden::of("lagraph", env!("CARGO_MANIFEST_DIR"))
}

/// The tensors of one file.
pub(crate) fn tensors(name: &str) -> Option<Tensors> {
    Some(Tensors::parse(&golden().read(name)?))
}

#[test]
fn at_least_one_reference_file_is_there() {
    golden().assert_not_empty();
}
