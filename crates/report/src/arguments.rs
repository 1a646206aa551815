//! The command line of a reproduction.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::run_directory::DEFAULT_OUT;
use crate::{Scale, ShardChoice};

/// The options of a reproduction, as they were typed.
#[derive(Debug, Clone, PartialEq, Serialize, clap::Args)]
pub struct Arguments {
    /// How much of the paper's protocol to carry out
    #[arg(long, value_enum, default_value_t = Scale::Smoke)]
    pub scale: Scale,
    /// Where tensors live: cpu, cuda:N or metal:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// The seed from which every random number follows
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Folder with data sets as SET/FILE; searched before $DATA_DIR and the user's cache
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Trials that run side by side [default: as many as cores on the CPU, one on another device]
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// Run one part of the trials: K/N counts from 1, `auto` asks Slurm, Open MPI or PMI
    #[arg(long, value_name = "K/N|auto")]
    pub shard: Option<ShardChoice>,
    /// Keep the trials that an earlier run finished; without it the run's folder is cleared first
    #[arg(long)]
    pub resume: bool,
    /// Download nothing: data that are absent are an error
    #[arg(long)]
    pub offline: bool,
    /// Use generated data in place of every data set; the report says so beside every number
    #[arg(long)]
    pub synthetic: bool,
    /// Folder for the results, which go to DIR/PAPER/SCALE [default: target/reproduce]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

impl Default for Arguments {
    /// What an empty command line means.
    fn default() -> Self {
        Self {
            scale: Scale::Smoke,
            device: "cpu".to_owned(),
            seed: 0,
            data_dir: None,
            jobs: None,
            shard: None,
            resume: false,
            offline: false,
            synthetic: false,
            out: None,
        }
    }
}

impl Arguments {
    /// The folder of all runs: `--out`, or [`DEFAULT_OUT`] below the current folder.
    pub fn out(&self) -> &Path {
        self.out.as_deref().unwrap_or(Path::new(DEFAULT_OUT))
    }

    /// The command line that means these arguments. Paths that are not Unicode are changed to some that are.
    pub fn words(&self) -> Vec<String> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let values = [
            ("--scale", Some(self.scale.name().to_owned())),
            ("--device", Some(self.device.clone())),
            ("--seed", Some(self.seed.to_string())),
            ("--data-dir", path(&self.data_dir)),
            ("--jobs", self.jobs.map(|jobs| jobs.to_string())),
            ("--shard", self.shard.map(|shard| shard.to_string())),
            ("--out", path(&self.out)),
        ];
        let flags = [("--resume", self.resume), ("--offline", self.offline), ("--synthetic", self.synthetic)];
        let values = values.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?])).flatten();
        values.chain(flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// About the command
    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(words: &[&str]) -> Arguments {
        CommandLine::try_parse_from([&["program"], words].concat()).unwrap().arguments
    }

    #[test]
    fn the_help_is_about_the_command_that_takes_the_options_in() {
        use clap::CommandFactory;
        assert_eq!(CommandLine::command().get_about().unwrap().to_string(), "About the command");
    }

    #[test]
    fn an_empty_command_line_means_the_defaults() {
        assert_eq!(parse(&[]), Arguments::default());
        assert_eq!(parse(&[]).out(), Path::new("target/reproduce"));
    }

    #[test]
    fn what_was_given_is_handed_on_and_nothing_else() {
        let arguments = Arguments {
            scale: Scale::Laptop,
            device: "cuda:1".to_owned(),
            seed: 3,
            jobs: NonZeroUsize::new(2),
            resume: true,
            ..Arguments::default()
        };
        assert_eq!(arguments.words().join(" "), "--scale laptop --device cuda:1 --seed 3 --jobs 2 --resume");
    }

    #[test]
    fn words_are_read_back_as_the_same_arguments() {
        for words in [
            "--scale paper --device metal:0 --seed 18446744073709551615 --shard 2/3 --out /a --offline",
            "--data-dir b --shard auto --synthetic --jobs 1 --resume",
        ] {
            let arguments = parse(&words.split(' ').collect::<Vec<_>>());
            let again = arguments.words();
            assert_eq!(parse(&again.iter().map(String::as_str).collect::<Vec<_>>()), arguments, "{words}");
        }
    }
}
