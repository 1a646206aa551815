//! Reports of hostile, synthetic and incomplete runs.

use clap::Parser;
use report::Scale;

use super::*;
use crate::command_line::CommandLine;
use crate::context::{Content, Table};
use crate::interruption::Interruption;
use crate::paper::{Judge, Published};
use crate::plot::{Axis, Plot, Series};
use crate::progress::Progress;
use crate::run_directory::{Entry, RunDirectory};
use crate::verdict::Measured;

const HOSTILE: &str = "</td></title><script>alert('x')</script>\" onload=\"y\" | `a` &\n# b";

static PAPER: Paper = Paper {
    slug: "hostile",
    title: HOSTILE,
    authors: HOSTILE,
    venue: HOSTILE,
    url: "javascript:alert(1)",
    claims: &[
        Claim {
            id: HOSTILE,
            statement: HOSTILE,
            published: Some(Published { value: 42.5, spread: Some(f64::NAN), source: HOSTILE }),
            judge: Judge::AtLeast(1.0),
            unit: HOSTILE,
            scales: &[Scale::Smoke],
        },
        Claim {
            id: "second",
            statement: "",
            published: None,
            judge: Judge::AtMost(1.0),
            unit: "",
            scales: &[Scale::Smoke, Scale::Laptop],
        },
    ],
};

/// Makes a report from a run whose parts the test fills in.
fn with_report(is_complete: bool, fill: impl FnOnce(&mut Context), test: impl FnOnce(&FullReport<'_>)) {
    let folder = tempfile::tempdir().unwrap();
    let arguments = CommandLine::parse_from(["test", "--device", HOSTILE]).arguments;
    let details = RunDetails::collect("hostile", vec![HOSTILE.into()], &arguments);
    let entry = Entry { shard: None, resume: false, seed: 0, is_synthetic: false, commit: None };
    let mut context = Context {
        paper: &PAPER,
        data_dir: None,
        arguments,
        shard: None,
        commit: details.commit_words(),
        directory: RunDirectory::enter(folder.path(), &entry).unwrap(),
        interruption: Interruption::default(),
        progress: Progress::new(),
        content: Content::default(),
    };
    fill(&mut context);
    let report = FullReport::new(&context, &details, is_complete, Duration::from_millis(1500));
    report.write().unwrap();
    test(&report);
}

fn measured(value: f64, is_synthetic: bool) -> Measured {
    let note = Some(HOSTILE.to_owned());
    Measured {
        value,
        spread: Some(f64::INFINITY),
        trials: 3,
        data: HOSTILE.into(),
        is_synthetic,
        is_timed: false,
        note,
    }
}

fn fill_with_hostile_texts(context: &mut Context) {
    context.claim(HOSTILE, measured(2.0, true)).unwrap();
    let series = vec![Series::new(HOSTILE, vec![1.0], vec![1.0])];
    let plot = Plot::lines(HOSTILE, Axis::linear(HOSTILE), Axis::linear(HOSTILE), series);
    context.plot(HOSTILE, plot.description(HOSTILE)).unwrap();
    let cells = || vec![HOSTILE.to_owned()];
    context.table(HOSTILE, Table { columns: cells(), rows: vec![cells(), vec![], [cells(), cells()].concat()] });
    context.note(HOSTILE);
    let run = |fold: &u64, _: &crate::TrialContext| Ok(*fold);
    context.trials(HOSTILE, vec![crate::Trial::new(HOSTILE, 1)], run).unwrap();
}

#[test]
fn hostile_texts_stay_texts_in_the_page() {
    with_report(true, fill_with_hostile_texts, |report| {
        let page = report.html().unwrap();
        assert!(!page.contains("<script") && !page.contains(" onload=\"y\"") && !page.contains("href=\"javascript"));
        assert_eq!(page.matches("<tr").count(), page.matches("</tr>").count());
        assert_eq!(page.matches("</html>").count(), 1);
    });
}

#[test]
fn hostile_texts_stay_texts_in_markdown() {
    with_report(true, fill_with_hostile_texts, |report| {
        let text = report.markdown();
        let outside_code: Vec<&str> = text.lines().filter(|line| !line.starts_with("    ")).collect();
        let text = outside_code.join("\n");
        assert!(!text.contains("<script") && !text.contains("\n# b"));
        let claim_rows: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("| Claim")).take(4).collect();
        for row in claim_rows {
            let bars = row.replace("\\|", "").matches('|').count();
            assert_eq!(bars, 7, "{row}");
        }
    });
}

#[test]
fn hostile_texts_come_back_from_json() {
    with_report(true, fill_with_hostile_texts, |report| {
        let json: serde_json::Value = serde_json::from_str(&report.for_tools().text().unwrap()).unwrap();
        assert_eq!(json["claims"][0]["id"], HOSTILE);
        assert!(json["claims"][0]["published_spread"].is_null() && json["claims"][0]["spread"].is_null());
        assert_eq!(json["seconds"], 1.5);
    });
}

#[test]
fn synthetic_data_is_named_beside_every_number() {
    with_report(true, fill_with_hostile_texts, |report| {
        let page = report.html().unwrap();
        // The banner, the claim, the plot's title, text and label, and the table.
        assert!(page.matches("synthetic data").count() >= 6, "{page}");
        assert!(report.measured_words(&report.claims[0]).ends_with("(synthetic data)"));
    });
    let mix = |context: &mut Context| {
        context.claim(HOSTILE, measured(2.0, true)).unwrap();
        context.claim("second", measured(2.0, false)).unwrap();
    };
    with_report(true, mix, |report| assert_eq!(report.synthetic(), Synthetic::Some));
    let real = |context: &mut Context| context.claim("second", measured(2.0, false)).unwrap();
    with_report(true, real, |report| {
        assert_eq!(report.synthetic(), Synthetic::None);
        assert!(!report.html().unwrap().contains("measured on synthetic data"));
    });
}

#[test]
fn a_published_number_is_never_shown_as_measured() {
    with_report(
        true,
        |_| (),
        |report| {
            let claim = &report.claims[0];
            assert_eq!((claim.published, claim.measured, claim.verdict), (Some(42.5), None, Verdict::NotTested));
            assert_eq!(report.measured_words(claim), "–");
            assert_eq!(claim.note.as_deref(), Some("this run gave no value"));
            assert_eq!(report.html().unwrap().matches("42.5").count(), 1);
        },
    );
}

#[test]
fn an_incomplete_run_judges_nothing_and_says_so() {
    let fill = |context: &mut Context| context.claim(HOSTILE, measured(2.0, false)).unwrap();
    with_report(false, fill, |report| {
        assert!(report.claims.iter().all(|claim| claim.verdict == Verdict::NotTested));
        assert!(report.html().unwrap().contains("This run is not complete"));
        assert!(report.markdown().contains("the run is not complete"));
    });
}

#[test]
fn unknown_and_repeated_claims_plots_and_trials_are_errors() {
    with_report(
        true,
        |context| {
            assert!(context.claim("third", measured(1.0, false)).unwrap_err().to_string().contains("second"));
            context.claim("second", measured(1.0, false)).unwrap();
            assert!(context.claim("second", measured(1.0, false)).is_err());
            let plot = || Plot::graph("t", vec![], vec![]);
            context.plot("a", plot()).unwrap();
            assert!(context.plot("a", plot()).is_err() && context.plot("", plot()).is_err());
            let twice = vec![crate::Trial::new("a", 1), crate::Trial::new("a", 2)];
            assert!(context.trials("g", twice, |_, _| Ok(0)).is_err());
            assert!(context.trials("", vec![crate::Trial::new("a", 1)], |_, _| Ok(0)).is_err());
        },
        |report| assert_eq!(report.count(Verdict::Reproduced), 1),
    );
}

#[test]
fn results_of_several_commits_make_the_commit_dirty() {
    let fill = |context: &mut Context| {
        fill_with_hostile_texts(context);
        context.content.trials[0].is_of_other_commit = true;
    };
    with_report(true, fill, |report| {
        let Some(commit) = report.commit_words() else { return };
        assert!(commit.ends_with("-dirty") && !commit.ends_with("-dirty-dirty"), "{commit}");
        assert!(report.markdown().contains("1 of 1 trials were made by other commits"));
    });
}

#[test]
fn checkpoint_paths_keep_their_names_under_an_extension_and_differ_by_trial() {
    let fill = |context: &mut Context| {
        let trials = ["rate-0.1", "rate-0.2"].map(|id| crate::Trial::new(id, 0)).to_vec();
        let run = |_: &u64, trial: &crate::TrialContext| Ok(trial.checkpoint_path().with_extension("safetensors"));
        let paths = context.trials("rates", trials, run).unwrap().all().unwrap();
        assert_ne!(paths[0], paths[1]);
        assert!(paths[0].parent().unwrap().is_dir() && !paths[0].exists());
    };
    with_report(true, fill, |_| ());
}
