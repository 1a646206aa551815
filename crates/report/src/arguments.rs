//! The command line of a reproduction.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::run_directory::DEFAULT_OUT;
use crate::{Scale, ShardChoice};

/// The option by which xtask tells a paper's program that its standard input is a line to xtask: nothing comes through it, and
/// when it is closed, xtask has ended, and the program ends too. Not for people, so no help shows it.
pub const LIFELINE: &str = "--lifeline";

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
    #[serde(serialize_with = "path_as_text")]
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
    #[serde(serialize_with = "path_as_text")]
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

    /// The command line that means these arguments. Values stand behind an equals sign: one may begin with a dash.
    pub fn words(&self) -> Vec<OsString> {
        let text = |text: String| Some(OsString::from(text));
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.as_os_str().to_owned());
        let values = [
            ("--scale=", text(self.scale.name().to_owned())),
            ("--device=", text(self.device.clone())),
            ("--seed=", text(self.seed.to_string())),
            ("--data-dir=", path(&self.data_dir)),
            ("--jobs=", self.jobs.and_then(|jobs| text(jobs.to_string()))),
            ("--shard=", self.shard.and_then(|shard| text(shard.to_string()))),
            ("--out=", path(&self.out)),
        ];
        let flags = [("--resume", self.resume), ("--offline", self.offline), ("--synthetic", self.synthetic)];
        let joined = |(name, value): (&str, Option<OsString>)| {
            let mut word = OsString::from(name);
            word.push(value?);
            Some(word)
        };
        let values = values.into_iter().filter_map(joined);
        values.chain(flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name.into())).collect()
    }
}

/// A path in a file of text. One that is not Unicode is changed where it is not: serde would refuse it.
fn path_as_text<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.display().to_string()).serialize(serializer)
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
        let words = arguments.words().join(std::ffi::OsStr::new(" "));
        assert_eq!(words, "--scale=laptop --device=cuda:1 --seed=3 --jobs=2 --resume");
    }

    #[test]
    fn words_are_read_back_as_the_same_arguments() {
        for words in [
            "--scale paper --device metal:0 --seed 18446744073709551615 --shard 2/3 --out /a --offline",
            "--data-dir b --shard auto --synthetic --jobs 1 --resume",
            "--device=-1 --data-dir=--out --out=-x",
        ] {
            let arguments = parse(&words.split(' ').collect::<Vec<_>>());
            assert_eq!(parse_words(arguments.words()), arguments, "{words}");
        }
    }

    fn parse_words(words: Vec<OsString>) -> Arguments {
        CommandLine::try_parse_from([OsString::from("program")].into_iter().chain(words)).unwrap().arguments
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_unicode_is_handed_on_and_can_be_written_down() {
        use std::os::unix::ffi::OsStringExt;
        let path = PathBuf::from(OsString::from_vec(b"runs-\xff\xfe".to_vec()));
        let arguments = Arguments { out: Some(path.clone()), data_dir: Some(path), ..Arguments::default() };
        assert_eq!(parse_words(arguments.words()), arguments);
        let text = serde_json::to_string(&arguments).unwrap();
        assert!(text.contains("runs-\u{fffd}\u{fffd}"), "{text}");
    }

    #[test]
    fn no_number_makes_the_command_line_panic() {
        let numbers = [
            "0",
            "1",
            "2147483648",
            "4294967296",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "-1",
            "-9223372036854775808",
            "NaN",
            "inf",
            "-inf",
            "1e300",
            "-0.0",
            "0.5",
            "",
            " ",
            "x",
            "1_000",
            "\u{661}",
        ];
        for option in ["--seed", "--jobs", "--shard", "--device", "--scale", "--out", "--data-dir"] {
            let pairs = numbers.iter().flat_map(|one| numbers.map(|other| format!("{one}/{other}")));
            for value in numbers.iter().map(|&number| number.to_owned()).chain(pairs) {
                let parsed = CommandLine::try_parse_from(["program".to_owned(), format!("{option}={value}")]);
                let Ok(CommandLine { arguments }) = parsed else { continue };
                assert_eq!(parse_words(arguments.words()), arguments, "{option} {value}");
                assert!(serde_json::to_string(&arguments).is_ok());
                let Some(Ok(shard)) = arguments.shard.map(ShardChoice::resolve) else { continue };
                for index in [0, 1, 1 << 31, 1 << 32, usize::MAX] {
                    shard.owns("a group", index);
                }
            }
        }
    }
}
