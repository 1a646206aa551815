//! What the paper's code sees of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use report::{Arguments, Scale, Shard};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::command_line;
use crate::error::{Error, Result};
use crate::interruption::Interruption;
use crate::paper::Paper;
use crate::plot::Plot;
use crate::progress::Progress;
use crate::run_directory::RunDirectory;
use crate::trial::{Outcome, Trial, TrialContext};
use crate::trial_group::{self, GroupRun};
use crate::trial_store::{file_name, shared_seed};
use crate::verdict::Measured;

/// A table of the report.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// The headings.
    pub columns: Vec<String>,
    /// The cells; every row is as long as `columns`. Cells that read as numbers are set flush right.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings and no rows yet.
    pub fn new(columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { columns: columns.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }
}

/// A finished trial, for the report's list.
#[derive(Debug, Clone)]
pub(crate) struct TrialRecord {
    pub(crate) group: String,
    pub(crate) id: String,
    pub(crate) device: String,
    pub(crate) seconds: Option<f64>,
    /// Whether it was made by another commit, in a run that this one resumes.
    pub(crate) is_of_other_commit: bool,
}

/// Everything that the paper's code gave to the report.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) measured: BTreeMap<String, Measured>,
    pub(crate) plots: Vec<(String, Plot)>,
    pub(crate) tables: Vec<(String, Table)>,
    pub(crate) notes: Vec<String>,
    pub(crate) trials: Vec<TrialRecord>,
}

/// A run: its settings, its trials, and what it reports.
pub struct Context {
    pub(crate) paper: &'static Paper,
    pub(crate) arguments: Arguments,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) shard: Option<Shard>,
    pub(crate) commit: Option<String>,
    pub(crate) directory: RunDirectory,
    pub(crate) interruption: Interruption,
    pub(crate) progress: Progress,
    pub(crate) content: Content,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("paper", &self.paper.slug)
            .field("scale", &self.arguments.scale)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// How much of the paper's protocol to carry out.
    pub fn scale(&self) -> Scale {
        self.arguments.scale
    }

    /// The run's seed. Trials have seeds of their own: [`TrialContext::seed`] and [`TrialContext::seed_of`].
    pub fn seed(&self) -> u64 {
        self.arguments.seed
    }

    /// The same seed as [`TrialContext::seed_of`], for data that is made before the trials start.
    pub fn seed_of(&self, name: &str) -> u64 {
        shared_seed(self.arguments.seed, name)
    }

    /// The device as it was typed: `cpu`, `cuda:0`.
    pub fn device(&self) -> &str {
        &self.arguments.device
    }

    /// The folder with data sets from `--data-dir` or `$DATA_DIR`.
    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    /// Whether nothing may be downloaded.
    pub fn is_offline(&self) -> bool {
        self.arguments.offline
    }

    /// Whether generated data was asked for in place of real data.
    pub fn is_synthetic(&self) -> bool {
        self.arguments.synthetic
    }

    /// The run's folder, `<out>/<slug>/<scale>`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs every trial that has no result yet and returns all results that exist, in the order of `trials`.
    ///
    /// `--jobs` trials run side by side; with `--shard` only this shard's run. Each result is stored in
    /// `trials/<group>/<id>.json` as soon as it is there, NaN and infinities included. A stored result that was made from
    /// other parameters, another seed or other data, or that was damaged, is made again. Parameters and results must
    /// come back equal from serde's self-describing data model; every result is read back from its stored form.
    ///
    /// # Errors
    /// When a trial fails or panics: no further trial starts, those under way are finished and stored, and the error
    /// names the first that failed. When ids repeat. When a result cannot be stored.
    pub fn trials<P: Serialize + Sync, R: Serialize + DeserializeOwned + Send>(
        &mut self,
        group: &str,
        trials: Vec<Trial<P>>,
        work: impl Fn(&P, &TrialContext) -> Result<R> + Sync,
    ) -> Result<Outcome<R>> {
        let run = GroupRun {
            group,
            directory: &self.directory,
            seed: self.arguments.seed,
            is_synthetic: self.arguments.synthetic,
            device: &self.arguments.device,
            commit: self.commit.as_deref(),
            jobs: command_line::jobs(&self.arguments).get(),
            shard: self.shard,
            interruption: &self.interruption,
            progress: &self.progress,
        };
        let slots = run.run(&trials, work)?;
        self.content.trials.extend(trials.iter().zip(&slots).map(|(trial, slot)| TrialRecord {
            group: group.to_owned(),
            id: trial.id.clone(),
            device: slot.as_ref().map(|stored| stored.device.clone()).unwrap_or_default(),
            seconds: slot.as_ref().map(|stored| stored.seconds),
            is_of_other_commit: slot.as_ref().is_some_and(|stored| stored.commit != self.commit),
        }));
        Ok(Outcome { group: group.to_owned(), slots: trial_group::results(&slots)? })
    }

    /// Gives the measured value of a claim.
    ///
    /// # Errors
    /// [`Error::UnknownClaim`] when the paper does not list `id`; [`Error::ClaimMeasuredTwice`] on a second value.
    pub fn claim(&mut self, id: &str, measured: Measured) -> Result<()> {
        if !self.paper.claims.iter().any(|claim| claim.id == id) {
            let known: Vec<_> = self.paper.claims.iter().map(|claim| claim.id).collect();
            return Err(Error::UnknownClaim { id: id.to_owned(), known: known.join(", ") }.into());
        }
        if self.content.measured.contains_key(id) {
            return Err(Error::ClaimMeasuredTwice { id: id.to_owned() }.into());
        }
        self.content.measured.insert(id.to_owned(), measured);
        Ok(())
    }

    /// Adds a plot to the report, as `plots/<name>.svg` with its numbers in `plots/<name>.csv`.
    ///
    /// # Errors
    /// [`Error::Plot`] when the data does not fit together or the name is empty or taken.
    pub fn plot(&mut self, name: &str, plot: Plot) -> Result<()> {
        let wrong = |reason: &str| Error::Plot { name: name.to_owned(), reason: reason.to_owned() };
        if name.is_empty() || file_name(name).len() > 180 {
            return Err(wrong("its name must have 1 to 180 bytes").into());
        }
        if self.content.plots.iter().any(|(earlier, _)| earlier == name) {
            return Err(wrong("duplicate name: another plot has it").into());
        }
        plot.check(name)?;
        self.content.plots.push((name.to_owned(), plot));
        Ok(())
    }

    /// Adds a table to the report. A row that is shorter than the headings is filled with empty cells.
    pub fn table(&mut self, title: &str, table: Table) {
        self.content.tables.push((title.to_owned(), table));
    }

    /// Adds a paragraph to the report's notes and prints it.
    pub fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.progress.line(&format!("note: {text}"));
        self.content.notes.push(text);
    }

    /// Whether every trial of every group has a result.
    pub(crate) fn is_complete(&self) -> bool {
        self.content.trials.iter().all(|trial| trial.seconds.is_some())
    }

    /// How many trials were made by another commit than this run's.
    pub(crate) fn trials_of_other_commits(&self) -> usize {
        self.content.trials.iter().filter(|trial| trial.is_of_other_commit).count()
    }

    /// Time that all finished trials took together, in this run and in those before.
    pub(crate) fn trial_time(&self) -> Duration {
        let seconds = self.content.trials.iter().filter_map(|trial| trial.seconds).sum::<f64>();
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }
}
