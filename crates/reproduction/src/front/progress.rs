use super::lines::tell;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// A plain line comes at most this often.
const EVERY: Duration = Duration::from_secs(10);

/// When the time that is left is said first: after one unit, and not before this.
const FIRST: Duration = Duration::from_secs(1);

/// Progress of a long piece of work on standard error: a bar with the time that is left on a terminal; elsewhere a line with that time after the first second, and one every ten seconds. Work that ends
/// within a second says nothing there.
#[derive(Debug)]
pub struct Progress {
    what: String,
    unit: String,
    of: usize,
    done: usize,
    started: Instant,
    said: Option<Instant>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `of` units of work, called `unit` in the plural: `Progress::new("fitting", "epochs", 400)`.
    pub fn new(what: &str, unit: &str, of: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = format!("{{prefix}} {{bar:30}} {{pos}}/{{len}} {unit}, {{eta}} left, {{wide_msg}}");
            let bar = ProgressBar::new(of as u64).with_prefix(what.to_owned());
            bar.set_style(ProgressStyle::with_template(&style).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        Self { what: what.to_owned(), unit: unit.to_owned(), of, done: 0, started: Instant::now(), said: None, bar }
    }

    /// One unit more is done.
    pub fn step(&mut self) {
        self.at(self.done + 1, String::new);
    }

    /// `done` units are done; the message is made only when it is shown.
    pub fn at(&mut self, done: usize, message: impl FnOnce() -> String) {
        self.done = done;
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            bar.set_message(message());
            return;
        }
        let is_due = match self.said {
            None => self.started.elapsed() >= FIRST,
            Some(last) => last.elapsed() >= EVERY,
        };
        if is_due && done < self.of {
            self.said = Some(Instant::now());
            let message = message();
            let message = if message.is_empty() { message } else { format!("; {message}") };
            tell(&format!("{}: {done} of {} {}, {} left{message}", self.what, self.of, self.unit, self.left()));
        }
    }

    fn left(&self) -> String {
        let elapsed = self.started.elapsed().as_secs_f64();
        let left = elapsed * (self.of.saturating_sub(self.done)) as f64 / (self.done.max(1)) as f64;
        words(Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `about 2 h 5 min`, `about 3 min`, `about 12 s`.
fn words(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match seconds {
        0..90 => format!("about {} s", seconds.max(1)),
        90..5400 => format!("about {} min", (seconds + 30) / 60),
        _ => format!("about {} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded() {
        let of = |seconds| words(Duration::from_secs_f64(seconds));
        assert_eq!(
            [of(0.2), of(12.4), of(119.), of(7500.)],
            ["about 1 s", "about 12 s", "about 2 min", "about 2 h 05 min"]
        );
        assert!(words(Duration::MAX).contains(" h "));
    }

    #[test]
    fn no_units_and_too_many_do_no_harm() {
        let mut none = Progress::new("x", "y", 0);
        none.step();
        none.at(7, String::new);
        assert!(none.left().starts_with("about"));
    }
}
