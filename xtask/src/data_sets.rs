//! Data sets on this machine: which are here, and how the others get here.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use datasets::registry::DataSet;
use datasets::store::download::{Progress, ProgressCallback};
use datasets::{Store, StoreConfig};
use report::text::printable;

use crate::error::Result;

/// Where to look, and whether the network may be used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) is_offline: bool,
}

impl Source {
    /// A store that tells the terminal about downloads.
    ///
    /// # Errors
    /// When no cache folder is known.
    pub(crate) fn store(&self) -> Result<Store> {
        Ok(Store::new(StoreConfig {
            data_dir: self.data_dir.clone(),
            is_offline: self.is_offline,
            progress: Some(progress_line()),
            ..StoreConfig::default()
        })?)
    }
}

/// Makes sure that every named set is complete on this machine and intact; downloads what is not. Where that fails, a converted form that is here stands in for the original, which is said.
///
/// # Errors
/// When a set cannot be had; the message says how to get it by hand.
pub(crate) fn obtain(names: &[&str], source: &Source) -> Result<()> {
    let store = source.store()?;
    for name in names {
        let files = match store.download_set(name) {
            Ok(files) => files.len(),
            Err(error) => {
                let is_here =
                    datasets::registry::find(name).is_some_and(|set| Presence::of(set, &store) == Presence::Complete);
                if !is_here {
                    return Err(error.into());
                }
                // What is here is checked as the run itself would find it.
                let offline = Source { is_offline: true, ..source.clone() }.store()?;
                let files = offline.download_set(name)?.len();
                say!("data: {name}: the original could not be had, its converted form is here and is used");
                files
            }
        };
        say!("data: {name}: {files} files ready");
    }
    Ok(())
}

/// How much of a data set is on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Complete,
    Partial,
    Absent,
}

impl Presence {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Complete => "here",
            Self::Partial => "partly here",
            Self::Absent => "absent",
        }
    }

    /// What the store finds of `set` without the network. Of files that can stand for each other one side is enough.
    pub(crate) fn of(set: &DataSet, store: &Store) -> Self {
        Self::among(set, |file| store.locate(set.name, file).is_some())
    }

    fn among(set: &DataSet, is_here: impl Fn(&str) -> bool) -> Self {
        let all_here = |files: &[&str]| files.iter().all(|file| is_here(file));
        let has_alternative = |name: &str| {
            set.alternatives.iter().any(|either| either.converted.contains(&name) || either.original.contains(&name))
        };
        let needed_alone: Vec<&str> =
            set.files.iter().map(|file| file.name).filter(|name| !has_alternative(name)).collect();
        let is_complete = all_here(&needed_alone)
            && set.alternatives.iter().all(|either| all_here(either.converted) || all_here(either.original));
        if is_complete {
            Self::Complete
        } else if set.files.iter().any(|file| is_here(file.name)) {
            Self::Partial
        } else {
            Self::Absent
        }
    }
}

/// Shows downloads: one line that is written over on a terminal, otherwise one line for each finished file.
fn progress_line() -> ProgressCallback {
    const PAUSE: Duration = Duration::from_millis(100);
    let is_terminal = std::io::stderr().is_terminal();
    let last: Mutex<Option<Instant>> = Mutex::new(None);
    ProgressCallback::new(move |progress: Progress<'_>| {
        if progress.is_finished {
            if is_terminal {
                // Clears the line of the progress.
                let _ = write!(std::io::stderr(), "\r\x1b[K");
            }
            complain!("downloaded {}", text(&progress));
            return;
        }
        // A poisoned lock only means that another thread died while it printed.
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if is_terminal && last.is_none_or(|last| last.elapsed() >= PAUSE) {
            // Nothing is lost when a progress line cannot be shown.
            let mut terminal = std::io::stderr();
            let _ = write!(terminal, "\r\x1b[K{}", printable(&text(&progress))).and_then(|()| terminal.flush());
            *last = Some(Instant::now());
        }
    })
}

/// `los_speed.csv 1.2 of 3.4 MB (35 %)`.
fn text(progress: &Progress<'_>) -> String {
    let name = progress.destination.file_name().unwrap_or_default().to_string_lossy();
    let attempt = if progress.attempt > 1 { format!(", attempt {}", progress.attempt) } else { String::new() };
    match progress.total.filter(|total| *total > 0 && !progress.is_finished) {
        Some(total) => format!(
            "{name} {} of {} ({} %){attempt}",
            bytes(progress.received),
            bytes(total),
            progress.received.saturating_mul(100) / total
        ),
        None => format!("{name} {}{attempt}", bytes(progress.received)),
    }
}

/// A length for people: `32.4 kB`.
pub(crate) fn bytes(length: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if length < 1000 {
        return format!("{length} B");
    }
    let mut value = length as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_side_of_an_alternative_is_enough() {
        let set = datasets::registry::find("tu-imdb-binary").unwrap();
        assert_eq!(Presence::among(set, |_| false), Presence::Absent);
        assert_eq!(Presence::among(set, |_| true), Presence::Complete);
        let converted = ["IMDBBINARY.txt.gz", "folds.json"];
        assert_eq!(Presence::among(set, |file| converted.contains(&file)), Presence::Complete);
        assert_eq!(Presence::among(set, |file| !converted.contains(&file)), Presence::Complete);
        assert_eq!(Presence::among(set, |file| file == "folds.json"), Presence::Partial);
    }

    #[test]
    fn lengths_are_rounded_for_people() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500), "1.5 kB");
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(bytes(3_402_125), "3.4 MB");
    }
}
