//! `cargo xtask data`: which data sets there are, where they are on this machine, and whether they are intact.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use datasets::registry::{self, DataSet};
use datasets::{Error as DataError, Store};

use crate::data_sets::{Presence, Source, bytes};
use crate::download::unknown;
use crate::error::Result;
use crate::papers::PAPERS;
use crate::{exit, text_table};

/// List or verify data sets
#[derive(Debug, Args)]
pub(crate) struct Data {
    #[command(subcommand)]
    command: Command,
    /// Folder with data sets as SET/FILE, searched before $DATA_DIR and the user's cache
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All data sets, or one with its files, licence and citation
    List {
        /// A data set [default: all]
        set: Option<String>,
    },
    /// Compare the files that are here with the registry's checksums; exit code 1 when one differs
    ///
    /// A named set must be complete; without a name, sets that are absent are passed over.
    Verify {
        /// A data set [default: all]
        set: Option<String>,
    },
}

/// Lists or verifies; returns the exit code.
///
/// # Errors
/// For an unknown name, or when no cache folder is known.
pub(crate) fn run(arguments: &Data) -> Result<u8> {
    let store = Source { data_dir: arguments.data_dir.clone(), is_offline: true }.store()?;
    match &arguments.command {
        Command::List { set: None } => list(&store),
        Command::List { set: Some(name) } => show(find(name)?, &store),
        Command::Verify { set: None } => return Ok(verify(&store, registry::all(), false)),
        Command::Verify { set: Some(name) } => return Ok(verify(&store, std::slice::from_ref(find(name)?), true)),
    }
    Ok(exit::OK)
}

fn find(name: &str) -> Result<&'static DataSet> {
    registry::find(name).ok_or_else(|| unknown(name))
}

fn list(store: &Store) {
    let mut rows = Vec::new();
    for set in registry::all() {
        let users = PAPERS.iter().filter(|paper| paper.all_data().contains(&set.name)).map(|paper| paper.slug);
        rows.push(vec![
            set.name.to_owned(),
            Presence::of(set, store).name().to_owned(),
            users.collect::<Vec<_>>().join(" "),
            set.title.to_owned(),
        ]);
    }
    say!("{}", text_table::render(&["set", "state", "papers", "title"], &rows));
    let folders: Vec<String> = store.search_path().iter().map(|folder| folder.display().to_string()).collect();
    say!("\nSearched: {}", folders.join(", "));
    say!("Licence, citation and files of one: cargo xtask data list <set>");
}

fn show(set: &DataSet, store: &Store) {
    say!("{}: {}", set.name, set.title);
    say!("state:    {}", Presence::of(set, store).name());
    say!("licence:  {}", set.licence);
    say!("citation: {}", set.citation);
    say!("origin:   {}", set.homepage);
    say!("read by:  {}", set.parser);
    if !set.preparation.is_empty() {
        say!("by hand:  {}", set.preparation);
    }
    for either in set.alternatives {
        say!("either {}, or {}", either.converted.join(" and "), either.original.join(" and "));
    }
    say!("files:");
    for file in set.files {
        let length = file.bytes.map_or_else(|| "length unknown".to_owned(), bytes);
        say!("  {} ({length}, {})", file.name, file.checksum);
        let path = store.locate(set.name, file.name);
        say!("    here:     {}", path.map_or_else(|| "no".to_owned(), |path| path.display().to_string()));
        say!("    download: {}", file.url.unwrap_or("no public copy of exactly this file"));
    }
}

fn verify(store: &Store, sets: &[DataSet], must_be_complete: bool) -> u8 {
    let mut code = exit::OK;
    for set in sets {
        let presence = Presence::of(set, store);
        if must_be_complete && presence != Presence::Complete {
            complain!("error: {} is {}; get it with: cargo xtask download {}", set.name, presence.name(), set.name);
            code = exit::ERROR;
        }
        for file in set.files.iter().filter(|file| store.locate(set.name, file.name).is_some()) {
            match store.file(set.name, file.name) {
                Ok(path) => say!("ok     {}/{} ({})", set.name, file.name, path.display()),
                Err(error @ DataError::WrongChecksum { .. }) => {
                    say!("WRONG  {}/{}: {error}", set.name, file.name);
                    code = exit::ERROR;
                }
                Err(error) => {
                    say!("ERROR  {}/{}: {error}", set.name, file.name);
                    code = exit::ERROR;
                }
            }
        }
    }
    code
}
