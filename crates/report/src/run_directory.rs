//! Where a run writes.

use std::path::{Path, PathBuf};

use crate::Scale;

/// The folder of all runs, in the workspace's root, unless `--out` names another.
pub const DEFAULT_OUT: &str = "target/reproduce";

/// The name of the report for tools in a run's folder. It is written last: where it lies, the rest does too.
pub const REPORT_FILE: &str = "report.json";

/// The folder of one paper's run at one scale: `<out>/<slug>/<scale>`.
pub fn run_directory(out: &Path, slug: &str, scale: Scale) -> PathBuf {
    out.join(slug).join(scale.name())
}
