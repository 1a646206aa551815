//! Where the reference values are.

use reproduction::Golden;

fn golden() -> Golden {
    Golden::of("routed-scaling-laws", env!("CARGO_MANIFEST_DIR"))
}

/// The bytes of one file; none, said aloud, where it is not there.
pub(crate) fn read(name: &str) -> Option<Vec<u8>> {
    golden().read(name)
}

/// The names of the files there that begin and end so, in order.
#[cfg(feature = "layers")]
pub(crate) fn names(start: &str, end: &str) -> Vec<String> {
    golden().names(start, end)
}

#[test]
fn at_least_one_reference_file_is_there() {
    golden().assert_not_empty();
}
