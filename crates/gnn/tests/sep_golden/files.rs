//! Reading files of reference values.

use super::tensors::Golden as Tensors;
use reproduction::Golden;

fn golden() -> Golden {
    Golden::of("sep", env!("CARGO_MANIFEST_DIR"))
}

/// The bytes of one file; none, said aloud, where it is not there.
pub(crate) fn read(name: &str) -> Option<Vec<u8>> {
    golden().read(name)
}

/// The tensors of one file.
pub(crate) fn tensors(name: &str) -> Option<Tensors> {
    Some(Tensors::parse(&read(name)?))
}

#[test]
fn at_least_one_reference_file_is_there() {
    golden().assert_not_empty();
}
