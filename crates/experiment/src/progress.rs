//! Live progress: bars on a terminal, a plain line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::terminal::tell;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use report::text::printable;

/// Plain lines about epochs come at most this often: a log of a long run stays readable.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The progress of a run.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    bars: Option<MultiProgress>,
    last_line: Arc<Mutex<Option<Instant>>>,
}

/// The progress of a group of trials.
#[derive(Debug)]
pub(crate) struct GroupProgress {
    run: Progress,
    bar: Option<ProgressBar>,
    group: String,
    started: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug, Clone, Copy)]
struct Counts {
    done: usize,
    total: usize,
    done_here: usize,
    to_do_here: usize,
}

/// The progress of one trial.
#[derive(Debug)]
pub(crate) struct TrialProgress {
    run: Progress,
    bar: Option<ProgressBar>,
    name: String,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, last_line: Arc::default() }
    }

    /// `done` of `total` trials have results already; `to_do_here` are this process's.
    pub(crate) fn group(&self, group: &str, total: usize, done: usize, to_do_here: usize) -> GroupProgress {
        let bar = self.bars.as_ref().map(|bars| {
            let style = "{prefix:>20} {bar:30} {pos}/{len} trials, {elapsed} elapsed, {msg}";
            let bar = bars.add(ProgressBar::new(total as u64).with_style(style_of(style)));
            bar.set_prefix(printable(group).into_owned());
            bar.set_position(done as u64);
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        if self.bars.is_none() {
            tell(&format!("{group}: {total} trials, {done} done before, {to_do_here} to do here"));
        }
        let counts = Mutex::new(Counts { done, total, done_here: 0, to_do_here });
        GroupProgress { run: self.clone(), bar, group: group.to_owned(), started: Instant::now(), counts }
    }

    /// Prints a line without breaking the bars.
    pub(crate) fn line(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| tell(text)),
            None => tell(text),
        }
    }

    /// Whether enough time has passed for another line about epochs.
    fn is_line_due(&self) -> bool {
        let Ok(mut last) = self.last_line.lock() else { return false };
        let is_due = last.is_none_or(|last| last.elapsed() >= LINE_INTERVAL);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

impl GroupProgress {
    pub(crate) fn trial(&self, id: &str) -> TrialProgress {
        let bar = self.run.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(0).with_style(style_of("{prefix:>20} {spinner} {elapsed} elapsed")));
            bar.set_prefix(printable(id).into_owned());
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        TrialProgress { run: self.run.clone(), bar, name: format!("{}/{id}", self.group) }
    }

    pub(crate) fn trial_done(&self, id: &str, seconds: f64) {
        let Ok(mut counts) = self.counts.lock() else { return };
        counts.done += 1;
        counts.done_here += 1;
        let remaining = counts.to_do_here.saturating_sub(counts.done_here);
        let ahead = self.started.elapsed().as_secs_f64() * (remaining as f64 / counts.done_here as f64);
        let left = Duration::try_from_secs_f64(ahead).unwrap_or(Duration::MAX);
        let left = if remaining == 0 { "done".to_owned() } else { format!("about {} left", duration_words(left)) };
        match &self.bar {
            Some(bar) => {
                bar.set_position(counts.done as u64);
                bar.set_message(left);
            }
            None => {
                let Counts { done, total, .. } = *counts;
                tell(&format!("{}: {done}/{total} trials, {id} took {seconds:.1} s, {left}", self.group));
            }
        }
    }

    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish();
        }
    }
}

impl TrialProgress {
    pub(crate) fn epoch(&self, epoch: usize, of: usize, message: &str) {
        match &self.bar {
            Some(bar) => {
                if bar.length() == Some(0) {
                    // Only now is it known that the trial counts epochs.
                    bar.set_style(style_of("{prefix:>20} {bar:30.dim} {pos}/{len} epochs, {eta} left, {wide_msg}"));
                }
                bar.set_length(of as u64);
                bar.set_position(epoch as u64);
                bar.set_message(printable(message).into_owned());
            }
            None if self.run.is_line_due() => tell(&format!("{}: epoch {epoch}/{of} {message}", self.name)),
            None => {}
        }
    }
}

impl Drop for TrialProgress {
    fn drop(&mut self) {
        if let (Some(bar), Some(bars)) = (&self.bar, &self.run.bars) {
            bar.finish_and_clear();
            bars.remove(bar);
        }
    }
}

/// `1 h 05 min`, `3 min 20 s`, `12 s`, `0.4 s`.
pub(crate) fn duration_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

fn style_of(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let words = |seconds| duration_words(Duration::from_secs_f64(seconds));
        assert_eq!(words(0.42), "0.4 s");
        assert_eq!(words(12.7), "12 s");
        assert_eq!(words(200.0), "3 min 20 s");
        assert_eq!(words(3900.0), "1 h 05 min");
    }
}
