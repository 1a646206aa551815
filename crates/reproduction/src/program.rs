//! Programs among a crate's examples, for tests that run them as a user does.

use std::path::PathBuf;

/// The example `name`, which `cargo test` builds beside the test that asks; none, said aloud, where only that test was built.
pub fn example(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let program = test.parent()?.parent()?.join("examples").join(file);
    if !program.is_file() {
        println!("skipped: {} is not built", program.display());
        return None;
    }
    Some(program)
}
