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
    /// [`report::LIFELINE`]: standard input is a line to xtask
    #[arg(long, hide = true)]
    pub(crate) lifeline: bool,
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

/// The arguments that this process got, without the program and without what only concerns xtask. What is not Unicode is
/// changed where it is not.
pub(crate) fn words() -> Vec<String> {
    let words = std::env::args_os().skip(1).filter(|word| word != report::LIFELINE);
    words.map(|word| word.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lifeline_is_understood_and_in_no_help() {
        use clap::CommandFactory;
        assert!(CommandLine::parse_from(["program", report::LIFELINE]).lifeline);
        assert!(!CommandLine::command().render_long_help().to_string().contains(report::LIFELINE));
    }

    #[test]
    fn any_number_of_jobs_is_one_that_can_be_counted() {
        for number in ["1", "4294967296", "18446744073709551615"] {
            let CommandLine { arguments, .. } = CommandLine::parse_from(["program", "--jobs", number]);
            assert_eq!(jobs(&arguments).to_string(), number);
        }
        for number in ["0", "-1", "18446744073709551616", "NaN", "1e300", "x"] {
            assert!(
                CommandLine::try_parse_from(["program".to_owned(), format!("--jobs={number}")]).is_err(),
                "{number}"
            );
        }
    }
}
