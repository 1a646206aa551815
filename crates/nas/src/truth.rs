//! What architectures are worth when they are trained alone: a table that runs share.

use crate::ranking::Direction;
use crate::space::Architecture;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const OPERATION: &str = "TruthTable";

/// Values of architectures trained alone, seed by seed. Its key says of which space, data and training settings they are, and not with which seed a run was started, so that resumed, re-seeded and sharded runs share it.
#[derive(Debug, Clone, PartialEq)]
pub struct TruthTable {
    /// What the values belong to; empty for tables from elsewhere.
    pub key: String,
    /// Which values are better.
    pub direction: Direction,
    rows: BTreeMap<Architecture, BTreeMap<u64, f64>>,
}

impl TruthTable {
    /// An empty table.
    pub fn new(key: impl Into<String>, direction: Direction) -> Self {
        Self { key: key.into(), direction, rows: BTreeMap::new() }
    }

    /// A key from everything that the values depend on: FNV-1a of the parts, each with its length.
    pub fn key_of(parts: &[&str]) -> String {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for part in parts {
            let bytes = (part.len() as u64).to_le_bytes().into_iter().chain(part.bytes());
            bytes.for_each(|byte| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        }
        format!("{hash:016x}")
    }

    /// Sets a value.
    ///
    /// # Errors
    /// A value that is not finite, or another one that the table has for this architecture and seed, which stays.
    pub fn insert(&mut self, architecture: Architecture, seed: u64, value: f64) -> Result<()> {
        if !value.is_finite() {
            let what = format!("the value of {architecture}, seed {seed}");
            return Err(Error::value(OPERATION, what, value, "a finite number"));
        }
        match self.get(&architecture, seed).filter(|known| *known != value) {
            Some(known) => {
                let reason = format!("{architecture}, seed {seed} is both {known} and {value}");
                Err(Error::invalid(OPERATION, reason))
            }
            None => {
                self.rows.entry(architecture).or_default().insert(seed, value);
                Ok(())
            }
        }
    }

    /// The value of an architecture and seed.
    pub fn get(&self, architecture: &Architecture, seed: u64) -> Option<f64> {
        self.rows.get(architecture)?.get(&seed).copied()
    }

    /// The mean over the seeds of an architecture: none of them is picked.
    pub fn mean(&self, architecture: &Architecture) -> Option<f64> {
        let values: Vec<f64> = self.rows.get(architecture)?.values().copied().collect();
        Some(core_tensor::metrics::mean(&values))
    }

    /// Architectures in their order, with the values of each seed.
    pub fn iter(&self) -> impl Iterator<Item = (&Architecture, &BTreeMap<u64, f64>)> {
        self.rows.iter()
    }

    /// Number of architectures.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as CSV: a first line with key and direction, then `architecture,seed,value`.
    pub fn to_csv(&self) -> String {
        let direction = match self.direction {
            Direction::LowerIsBetter => "lower",
            Direction::HigherIsBetter => "higher",
        };
        let mut text = format!("# key={} better={direction}\narchitecture,seed,value\n", self.key);
        for (architecture, values) in &self.rows {
            for (seed, value) in values {
                // as many digits as bring the same number back
                text.push_str(&format!("{architecture},{seed},{value:?}\n"));
            }
        }
        text
    }

    /// A table from CSV with the columns `architecture`, `value` and, perhaps, `seed` (0 without). A first line `# key=… better=lower|higher` is read where there is one; without it, `direction` holds.
    ///
    /// # Errors
    /// No such columns, a row of another length (a cut file), numbers that are none, or rows that contradict each other: each with its line.
    pub fn parse(text: &str, direction: Direction) -> Result<Self> {
        let wrong = |line: usize, reason: String| Error::invalid(OPERATION, format!("line {}: {reason}", line + 1));
        let mut table = Self::new("", direction);
        let mut columns: Option<(Vec<String>, usize)> = None;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if let Some(comment) = line.strip_prefix('#') {
                for part in comment.split_whitespace() {
                    match part.split_once('=') {
                        Some(("key", key)) => table.key = key.to_owned(),
                        Some(("better", "lower")) => table.direction = Direction::LowerIsBetter,
                        Some(("better", "higher")) => table.direction = Direction::HigherIsBetter,
                        _ => {}
                    }
                }
                continue;
            }
            if line.trim().is_empty() {
                continue;
            }
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            let Some((names, width)) = &columns else {
                let names: Vec<String> = cells.iter().map(|&cell| cell.to_owned()).collect();
                let has = |name: &str| names.iter().any(|known| known == name);
                if !has("architecture") || !has("value") {
                    return Err(wrong(at, format!("the columns are {names:?}, expected `architecture` and `value`")));
                }
                columns = Some((names, cells.len()));
                continue;
            };
            if cells.len() != *width {
                return Err(wrong(at, format!("{} cells, expected {width}", cells.len())));
            }
            let cell = |name: &str| names.iter().position(|known| known == name).map(|column| cells[column]);
            let architecture: Architecture = cell("architecture")
                .unwrap_or_default()
                .parse()
                .map_err(|error: Error| wrong(at, error.to_string()))?;
            let seed = match cell("seed") {
                Some(seed) => seed.parse().map_err(|_| wrong(at, format!("`{seed}` is no seed")))?,
                None => 0,
            };
            let value = cell("value").unwrap_or_default();
            let value: f64 = value.parse().map_err(|_| wrong(at, format!("`{value}` is no number")))?;
            table.insert(architecture, seed, value).map_err(|error| wrong(at, error.to_string()))?;
        }
        match columns {
            Some(_) => Ok(table),
            None => Err(Error::invalid(OPERATION, "no line with the names of columns")),
        }
    }

    /// A table from a file; see [`parse`](Self::parse).
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and a file that cannot be read.
    pub fn read(path: impl AsRef<Path>, direction: Direction) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| file_error(path, &error))?;
        Self::parse(&text, direction).map_err(|error| file_error(path, &error))
    }
}

fn file_error(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::File { path: path.display().to_string(), reason: error.to_string() }
}

/// A [`TruthTable`] in a file that several processes fill.
#[derive(Debug, Clone)]
pub struct TruthFile {
    path: PathBuf,
    table: TruthTable,
}

/// How long a process waits for another that writes.
const PATIENCE: Duration = Duration::from_secs(30);

impl TruthFile {
    /// The table of a file, or an empty one where there is none yet.
    ///
    /// # Errors
    /// A file with another key, and as [`TruthTable::read`].
    pub fn open(path: impl Into<PathBuf>, key: &str, direction: Direction) -> Result<Self> {
        let path = path.into();
        let table = match path.exists() {
            true => TruthTable::read(&path, direction)?,
            false => TruthTable::new(key, direction),
        };
        if table.key != key {
            let reason = format!("its key is `{}`, this training has `{key}`", table.key);
            return Err(file_error(&path, &reason));
        }
        Ok(Self { path, table })
    }

    /// What is known.
    pub fn table(&self) -> &TruthTable {
        &self.table
    }

    /// Adds a value: under a lock the file is read again, joined with what is known here, written beside and renamed.
    ///
    /// # Errors
    /// A lock that another process holds for half a minute, files that cannot be written, or values that contradict each other.
    pub fn record(&mut self, architecture: Architecture, seed: u64, value: f64) -> Result<()> {
        let failed = |error: std::io::Error| file_error(&self.path, &error);
        let lock = self.path.with_extension("lock");
        let start = Instant::now();
        let held = loop {
            match std::fs::OpenOptions::new().write(true).create_new(true).open(&lock) {
                Ok(file) => break file,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    if start.elapsed() > PATIENCE {
                        let reason = "another process holds it; remove it if none is running";
                        return Err(file_error(&lock, &reason));
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Err(failed(error)),
            }
        };
        let joined = self.joined(architecture, seed, value);
        drop(held);
        let removed = std::fs::remove_file(&lock);
        self.table = joined?;
        removed.map_err(failed)
    }

    fn joined(&self, architecture: Architecture, seed: u64, value: f64) -> Result<TruthTable> {
        let failed = |error: std::io::Error| file_error(&self.path, &error);
        let mut table = match self.path.exists() {
            true => TruthTable::read(&self.path, self.table.direction)?,
            false => self.table.clone(),
        };
        table.insert(architecture, seed, value)?;
        let beside = self.path.with_extension("new");
        let mut file = std::fs::File::create(&beside).map_err(failed)?;
        file.write_all(table.to_csv().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&beside, &self.path).map_err(failed)?;
        Ok(table)
    }
}
