//! Arguments, exit codes, and what a run writes.

mod toy_process;

use std::fs;

use toy_process::{exit_code, folder, report, results, run, stderr, toy, trial_files};

#[test]
fn wrong_arguments_exit_with_2_and_write_nothing() {
    let out = tempfile::tempdir().unwrap();
    for arguments in [
        &["--scale", "huge"][..],
        &["--seed", "-1"],
        &["--seed", "x"],
        &["--jobs", "0"],
        &["--shard", "0/2"],
        &["--shard", "3/2"],
        &["--shard", "auto"],
        &["--bench"],
        &["--test"],
        &["leftover"],
        &["--resume", "--resume"],
        &["--version"],
    ] {
        let output = run(out.path(), arguments);
        assert_eq!(exit_code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty());
    }
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}

#[test]
fn help_names_every_flag_and_exit_code() {
    let output = run(std::path::Path::new("unused"), &["--help"]);
    assert_eq!(exit_code(&output), 0);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "--scale",
        "--device",
        "--seed",
        "--data-dir",
        "--jobs",
        "--shard",
        "--resume",
        "--offline",
        "--synthetic",
        "--out",
        "130",
    ] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn the_number_of_jobs_does_not_change_the_results() {
    let (one, four) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(exit_code(&run(one.path(), &["--jobs", "1"])), 0);
    assert_eq!(exit_code(&run(four.path(), &["--jobs", "4"])), 0);
    assert_eq!(results(one.path()), results(four.path()));
}

#[test]
fn seeds_change_the_measured_numbers() {
    let (zero, one) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(zero.path(), &[]);
    run(one.path(), &["--seed", "1"]);
    assert_ne!(report(zero.path())["claims"][0]["measured"], report(one.path())["claims"][0]["measured"]);
}

#[test]
fn a_failing_trial_ends_the_run_with_1_names_it_and_keeps_the_others() {
    let out = tempfile::tempdir().unwrap();
    // one at a time: a trial beside the failing one may be finished or not
    let output = toy(out.path(), &["--jobs", "1"]).env("TOY_FAILS", "method/fold 3").output().unwrap();
    assert_eq!(exit_code(&output), 1);
    assert!(stderr(&output).contains("trial `folds/method/fold 3` failed: told to fail"), "{}", stderr(&output));
    assert_eq!(trial_files(out.path()).len(), 3);
    assert!(!folder(out.path()).join("report.json").exists());
    let resumed = run(out.path(), &["--resume"]);
    assert!(stderr(&resumed).contains("3 done before, 9 to do here"), "{}", stderr(&resumed));
    assert_eq!(exit_code(&resumed), 0);
}

#[test]
fn a_panicking_trial_ends_the_run_with_1_and_names_it() {
    let out = tempfile::tempdir().unwrap();
    let output = toy(out.path(), &[]).env("TOY_PANICS", "baseline/fold 0").output().unwrap();
    assert_eq!(exit_code(&output), 1);
    assert!(stderr(&output).contains("trial `folds/baseline/fold 0` panicked: told to panic"), "{}", stderr(&output));
}

#[test]
fn a_claim_that_is_not_reproduced_exits_with_3() {
    let out = tempfile::tempdir().unwrap();
    let output = toy(out.path(), &[]).env("TOY_ACCURACY", "NaN").output().unwrap();
    assert_eq!(exit_code(&output), 3, "{}", stderr(&output));
    let report = report(out.path());
    assert_eq!(report["claims"][0]["verdict"], "not-reproduced");
    assert!(report["claims"][0]["measured"].is_null());
}

#[test]
fn the_report_has_the_fields_that_tools_read() {
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &[]);
    let report = report(out.path());
    assert_eq!(report["schema"], 1);
    assert_eq!(report["paper"], "toy");
    assert_eq!(report["scale"], "smoke");
    assert!(report["seconds"].is_number());
    let claims = report["claims"].as_array().unwrap();
    assert_eq!(claims.len(), 4);
    let verdicts: Vec<_> = claims.iter().map(|claim| claim["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["reproduced", "reproduced", "not-tested", "not-tested"]);
    for claim in claims {
        assert!(claim["id"].is_string() && claim["statement"].is_string() && claim["data"].is_string());
        assert!(claim["published"].is_number() || claim["published"].is_null());
        assert!(claim["measured"].is_number() || claim["measured"].is_null());
        assert!(claim["trials"].is_u64() && claim["is_synthetic"].is_boolean());
    }
    // A published number never stands in for a measured one.
    assert_eq!(claims[3]["published"], 120.0);
    assert!(claims[3]["measured"].is_null());
}

#[test]
fn run_json_says_where_the_run_comes_from() {
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &["--seed", "5", "--jobs", "2"]);
    let text = fs::read_to_string(folder(out.path()).join("run.json")).unwrap();
    let details: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(details["arguments"]["seed"], 5);
    assert_eq!(details["arguments"]["jobs"], 2);
    assert!(details["machine"]["cores"].as_u64().unwrap() >= 1);
    assert!(details["started"].as_str().unwrap().ends_with('Z'));
}

#[cfg(target_os = "linux")]
#[test]
fn folders_that_are_not_unicode_are_used_as_they_are() {
    use std::os::unix::ffi::OsStrExt;
    let out = tempfile::tempdir().unwrap();
    let named = out.path().join(std::ffi::OsStr::from_bytes(b"runs-\xff\xfe"));
    let output = toy(&named, &[]).arg("--data-dir").arg(&named).output().unwrap();
    assert_eq!(exit_code(&output), 0, "{}", stderr(&output));
    assert_eq!(report(&named)["complete"], true);
    let text = fs::read_to_string(folder(&named).join("run.json")).unwrap();
    assert!(text.contains("runs-\u{fffd}\u{fffd}"), "{text}");
}

#[test]
fn launchers_with_impossible_numbers_are_answered_with_2() {
    let out = tempfile::tempdir().unwrap();
    for number in ["4294967296", "18446744073709551615", "-1", "1e300"] {
        let mut command = toy(out.path(), &["--shard", "auto"]);
        command.env("SLURM_PROCID", "1").env("SLURM_NTASKS", number);
        command.env("SLURM_ARRAY_TASK_ID", "1").env("SLURM_ARRAY_TASK_COUNT", number);
        let output = command.output().unwrap();
        assert_eq!(exit_code(&output), 2, "{}", stderr(&output));
        assert!(stderr(&output).starts_with("error: shard: "), "{}", stderr(&output));
    }
}

#[test]
fn what_a_terminal_would_act_on_is_not_printed() {
    let out = tempfile::tempdir().unwrap();
    let output = toy(&out.path().join("a\u{1b}[2Jb\u{202e}c"), &[]).output().unwrap();
    assert_eq!(exit_code(&output), 0);
    assert!(!stderr(&output).contains(['\u{1b}', '\u{202e}']) && stderr(&output).contains("a\u{fffd}[2Jb\u{fffd}c"));
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &[]);
    let page = fs::read_to_string(folder(out.path()).join("report.html")).unwrap();
    assert!(page.contains("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src"));
    assert_eq!(page.matches("'unsafe-inline'").count(), 1);
    for tag in ["<script", "<img", "<iframe", "<object", "<embed", "@import", "url(", "src=", "srcset=", "@font-face"] {
        assert!(!page.contains(tag), "{tag}");
    }
    // What is left: the link to the paper, the empty icon, and the name of the SVG format.
    for (at, _) in page.match_indices("://") {
        let before = &page[at.saturating_sub(40)..at];
        let is_known =
            before.contains("<a href=\"https") || before.contains(">https") || before.contains("xmlns=\"http");
        assert!(is_known, "{before}");
    }
    assert!(page.contains("<link rel=\"icon\" href=\"data:,\">"));
    assert_eq!(page.matches("<link").count(), 1);
    assert!(
        page.contains("lang=\"en\"") && page.contains("name=\"viewport\"") && page.contains("prefers-color-scheme")
    );
}
