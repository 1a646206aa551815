//! Reading files of reference values.

use reproduction::Golden;

fn golden() -> Golden {
    Golden::of("sep", env!("CARGO_MANIFEST_DIR"))
}

/// The bytes of one file; none, said aloud, where it is not there.
pub(crate) fn read(name: &str) -> Option<Vec<u8>> {
    golden().read(name)
}

#[test]
fn at_least_one_reference_file_is_there() {
    golden().assert_not_empty();
}
