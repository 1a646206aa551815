//! The command line of every reproduction.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Parser;
use serde::Serialize;

use crate::paper::Scale;
use crate::shard::ShardChoice;

/// The arguments, as they were typed.
#[derive(Debug, Clone, Parser, Serialize)]
#[command(version = None, disable_version_flag = true, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// How much of the paper's protocol to carry out.
    #[arg(long, value_enum, default_value = "smoke")]
    pub(crate) scale: Scale,
    /// Device: cpu, cuda:0, metal:0.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Seed from which every trial's seed is derived.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder with the data sets [default: the environment variable DATA_DIR].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Trials run side by side [default: as many as cores on the CPU, one on another device].
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Run one part of the trials: K/N counts from 1, `auto` asks Slurm, Open MPI or PMI.
    #[arg(long, value_name = "K/N|auto")]
    pub(crate) shard: Option<ShardChoice>,
    /// Keep the trials that are finished. Without it the folder is cleared first.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Download nothing.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Use generated data in place of the real data.
    #[arg(long)]
    pub(crate) synthetic: bool,
    /// Folder for the results; a run writes to DIR/<paper>/<scale>.
    #[arg(long, value_name = "DIR", default_value = "target/reproduce")]
    pub(crate) out: PathBuf,
}

const EXIT_CODES: &str = "Exit codes:
  0    every tested claim is reproduced
  1    error
  2    wrong arguments
  3    finished, and some tested claim is not reproduced
  4    this shard is done, trials of others are missing
  130  interrupted; --resume goes on";

impl Arguments {
    /// How many trials run side by side.
    pub(crate) fn jobs(&self) -> NonZeroUsize {
        let of_device = || match self.device.as_str() {
            "cpu" => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            _ => NonZeroUsize::MIN,
        };
        self.jobs.unwrap_or_else(of_device)
    }

    /// The folder with data: the flag, then `$DATA_DIR`, where an empty variable counts as unset.
    pub(crate) fn data_dir(&self) -> Option<PathBuf> {
        let from_environment = || std::env::var_os("DATA_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        self.data_dir.clone().or_else(from_environment)
    }
}
