//! The exit codes; `cargo xtask --help` prints [`HELP`].

pub(crate) use report::exit::{ERROR, INTERRUPTED, NOT_IMPLEMENTED, NOT_REPRODUCED, OK, OTHER_SHARDS_MISSING, USAGE};

/// What the codes mean, for the end of a help text.
pub(crate) const HELP: &str = "\
Exit codes:
  0    all went well; of `reproduce`: every tested claim is reproduced
  1    an error, or a check that failed
  2    the command line is wrong, or names something unknown
  3    `reproduce` finished, and some tested claim is not reproduced
  4    `reproduce --shard`: this shard is done, results of other shards are missing
  5    the paper is not implemented yet
  130  interrupted; `reproduce --resume` continues";

/// The code to end with when several runs ended in different ones: what most needs attention wins.
pub(crate) fn worst(codes: impl IntoIterator<Item = u8>) -> u8 {
    let severity = |code: u8| match code {
        OK => 0,
        OTHER_SHARDS_MISSING => 1,
        NOT_IMPLEMENTED => 2,
        NOT_REPRODUCED => 3,
        INTERRUPTED => 5,
        _ => 4,
    };
    codes.into_iter().max_by_key(|code| severity(*code)).unwrap_or(OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_outweighs_an_unreproduced_claim() {
        assert_eq!(worst([OK, ERROR, NOT_REPRODUCED]), ERROR);
    }

    #[test]
    fn nothing_run_is_success() {
        assert_eq!(worst([]), OK);
    }
}
