//! The command line of every reproduction.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Parser;
use report::Arguments;

/// The command line of a paper's program.
#[derive(Debug, Parser)]
#[command(version = None, disable_version_flag = true, after_help = EXIT_CODES)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) arguments: Arguments,
}

const EXIT_CODES: &str = "Exit codes:
  0    every tested claim is reproduced
  1    error
  2    wrong arguments
  3    finished, and some tested claim is not reproduced
  4    this shard is done, trials of others are missing
  130  interrupted; --resume continues";

/// How many trials run side by side: `--jobs`, or as many as cores on the CPU and one on another device.
pub(crate) fn jobs(arguments: &Arguments) -> NonZeroUsize {
    let of_device = || match arguments.device.as_str() {
        "cpu" => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        _ => NonZeroUsize::MIN,
    };
    arguments.jobs.unwrap_or_else(of_device)
}

/// The folder with data: `--data-dir`, then `$DATA_DIR`, where an empty variable counts as unset.
pub(crate) fn data_dir(arguments: &Arguments) -> Option<PathBuf> {
    let from_environment = || std::env::var_os("DATA_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    arguments.data_dir.clone().or_else(from_environment)
}
