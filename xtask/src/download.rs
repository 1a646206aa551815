//! `cargo xtask download`: brings data sets onto this machine ahead of a run.

use std::path::PathBuf;

use clap::Args;
use datasets::registry;

use crate::data_sets::{Source, obtain};
use crate::error::{Error, Result};
use crate::papers::PAPERS;
use crate::{exit, nearest};

/// Download data sets: one, those of a paper, or all
///
/// Every file is verified against the registry's checksum, also those that are here already. Downloads go to the user's
/// cache folder and continue where an interruption stopped them.
#[derive(Debug, Args)]
pub(crate) struct Download {
    /// A data set, a paper, or `all`
    name: String,
    /// Folder with data sets as SET/FILE, searched first; what is found there is not downloaded
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Downloads what was named; failures of one set do not keep the others away. Returns 0 or 1.
///
/// # Errors
/// For an unknown name.
pub(crate) fn run(arguments: &Download) -> Result<u8> {
    let names = names(&arguments.name)?;
    if names.is_empty() {
        say!("{} needs no data sets", arguments.name);
    }
    let source = Source { data_dir: arguments.data_dir.clone(), is_offline: false };
    let mut failed = 0;
    for name in &names {
        if let Err(error) = obtain(&[name], &source) {
            complain!("error: {name}: {error}");
            failed += 1;
        }
    }
    if failed > 0 {
        return Err(Error::Failed(format!("{failed} of {} data sets are not complete", names.len())));
    }
    Ok(exit::OK)
}

fn names(name: &str) -> Result<Vec<&'static str>> {
    if name == "all" {
        return Ok(registry::all().iter().map(|set| set.name).collect());
    }
    if let Some(set) = registry::find(name) {
        return Ok(vec![set.name]);
    }
    if let Some(paper) = PAPERS.iter().find(|paper| paper.slug == name) {
        return Ok(paper.all_data());
    }
    Err(unknown(name))
}

/// The error for a name that is neither a data set nor a paper.
pub(crate) fn unknown(name: &str) -> Error {
    let known = registry::all().iter().map(|set| set.name).chain(PAPERS.iter().map(|paper| paper.slug));
    Error::UnknownData { name: name.to_owned(), nearest: nearest::suggestion(name, known) }
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_papers_name_stands_for_its_data_sets() {
        assert_eq!(names("linac").unwrap(), ["cifar-10"]);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        assert!(names("planetoid-core").unwrap_err().to_string().contains("planetoid-cora"));
    }
}
