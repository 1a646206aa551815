//! A run that ends in any way goes on with `--resume` and comes to the same results.

mod toy_process;

use std::fs;
use std::time::{Duration, Instant};

use toy_process::{exit_code, folder, report, results, run, start, stderr, trial_files};

#[test]
fn a_run_killed_at_any_moment_resumes_to_the_same_results() {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(exit_code(&run(whole.path(), &[])), 0);
    let mut kills = 0;
    // Delays that share no factor with the length of an epoch land in all phases of a trial, and of the start.
    for attempt in 0..60_u64 {
        let mut child = start(killed.path(), &["--resume", "--jobs", "2"], 10);
        std::thread::sleep(Duration::from_millis(7 + attempt * 37 % 211));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            None => kills += 1,
            Some(code) => {
                assert_eq!(code, 0, "{}", stderr(&output));
                break;
            }
        }
    }
    assert!(kills >= 3, "the run ended after {kills} kills; the test needs a longer run");
    let last = run(killed.path(), &["--resume"]);
    assert_eq!(exit_code(&last), 0, "{}", stderr(&last));
    assert_eq!(results(killed.path()), results(whole.path()));
}

#[test]
fn finished_trials_are_kept_and_only_missing_ones_run() {
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &[]);
    let expected = results(out.path());
    fs::remove_file(&trial_files(out.path())[4]).unwrap();
    let output = run(out.path(), &["--resume"]);
    assert!(stderr(&output).contains("folds: 12 trials, 11 done before, 1 to do here"), "{}", stderr(&output));
    assert_eq!(results(out.path()), expected);
}

#[test]
fn without_resume_everything_runs_again() {
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &[]);
    let output = run(out.path(), &[]);
    assert!(stderr(&output).contains("folds: 12 trials, 0 done before, 12 to do here"), "{}", stderr(&output));
}

#[test]
fn damaged_trial_files_are_made_again() {
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &[]);
    let expected = results(out.path());
    let files = trial_files(out.path());
    let text = fs::read(&files[0]).unwrap();
    fs::write(&files[0], &text[..text.len() / 2]).unwrap();
    fs::write(&files[1], "").unwrap();
    fs::write(&files[2], "not json at all").unwrap();
    let changed =
        String::from_utf8(fs::read(&files[3]).unwrap()).unwrap().replacen("\"accuracy\": ", "\"accuracy\": 9", 1);
    fs::write(&files[3], changed).unwrap();
    fs::remove_file(&files[4]).unwrap();
    fs::create_dir(files[4].with_extension("")).unwrap();
    let output = run(out.path(), &["--resume"]);
    assert!(stderr(&output).contains("7 done before, 5 to do here"), "{}", stderr(&output));
    assert_eq!(results(out.path()), expected);
}

#[test]
fn a_kill_between_write_and_rename_leaves_nothing_behind_after_resume() {
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &[]);
    let expected = results(out.path());
    let file = trial_files(out.path()).remove(0);
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    fs::rename(&file, file.with_file_name(format!(".{name}.1234-5678.partial"))).unwrap();
    let report = folder(out.path()).join("report.json");
    fs::rename(&report, report.with_file_name(".report.json.1234-5678.partial")).unwrap();
    assert_eq!(exit_code(&run(out.path(), &["--resume"])), 0);
    assert_eq!(results(out.path()), expected);
    let left = fs::read_dir(folder(out.path())).unwrap().chain(fs::read_dir(file.parent().unwrap()).unwrap());
    for entry in left {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(!name.ends_with(".partial"), "{name}");
    }
}

#[test]
fn another_seed_makes_stored_results_out_of_date() {
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &[]);
    let output = run(out.path(), &["--resume", "--seed", "1"]);
    assert!(stderr(&output).contains("0 done before, 12 to do here"), "{}", stderr(&output));
    assert_eq!(report(out.path())["seed"], 1);
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_trial_is_replaced_and_does_not_hang() {
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &[]);
    let expected = results(out.path());
    let report_json = folder(out.path()).join("report.json");
    for file in [&trial_files(out.path())[0], &report_json] {
        fs::remove_file(file).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(file).status().unwrap().success());
    }
    let output = run(out.path(), &["--resume"]);
    assert!(stderr(&output).contains("11 done before, 1 to do here"), "{}", stderr(&output));
    assert_eq!(results(out.path()), expected);
}

#[cfg(unix)]
#[test]
fn a_run_ends_with_the_xtask_that_started_it() {
    let out = tempfile::tempdir().unwrap();
    // An epoch of a minute: only the end of the line can end it.
    let mut command = toy_process::toy(out.path(), &["--lifeline"]);
    command.env("TOY_MILLISECONDS", "60000").stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !folder(out.path()).join("checkpoints/folds").exists() {
        assert!(Instant::now() < deadline, "the first trial did not start within a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(exit_code(&output), 130);
    assert!(stderr(&output).contains("--resume continues"), "{}", stderr(&output));
    assert_eq!(exit_code(&run(out.path(), &["--resume"])), 0);
    let text = fs::read_to_string(folder(out.path()).join("run.json")).unwrap();
    assert!(!text.contains("lifeline"));
}

#[cfg(unix)]
fn signal(child: &std::process::Child, name: &str) {
    let command = format!("kill -{name} {}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &command]).status().is_ok_and(|status| status.success()));
}

#[cfg(unix)]
fn wait_for_trials(out: &std::path::Path, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while trial_files(out).len() < count {
        assert!(Instant::now() < deadline, "no {count} trials after a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_and_termination_end_with_130_and_can_be_resumed() {
    let whole = tempfile::tempdir().unwrap();
    run(whole.path(), &[]);
    for name in ["INT", "TERM"] {
        let out = tempfile::tempdir().unwrap();
        let child = start(out.path(), &["--jobs", "2"], 20);
        wait_for_trials(out.path(), 2);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(exit_code(&output), 130, "{}", stderr(&output));
        let partial = report(out.path());
        assert_eq!(partial["complete"], false);
        assert!(partial["claims"].as_array().unwrap().iter().all(|claim| claim["verdict"] == "not-tested"));
        let resumed = run(out.path(), &["--resume"]);
        assert!(!stderr(&resumed).contains("folds: 12 trials, 0 done before"), "{}", stderr(&resumed));
        assert_eq!(results(out.path()), results(whole.path()));
    }
}

#[cfg(unix)]
#[test]
fn a_second_ctrl_c_ends_at_once() {
    let out = tempfile::tempdir().unwrap();
    let started = Instant::now();
    // An epoch of a minute does not look at the first Ctrl-C.
    let mut child = start(out.path(), &[], 60_000);
    std::thread::sleep(Duration::from_millis(500));
    while !folder(out.path()).join("checkpoints/folds").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Two signals together are one, as `timeout` sends them.
    let command = format!("kill -INT {0}; kill -TERM {0}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &command]).status().is_ok_and(|status| status.success()));
    std::thread::sleep(Duration::from_millis(400));
    assert!(child.try_wait().unwrap().is_none(), "the first Ctrl-C must wait for the trial");
    signal(&child, "INT");
    assert_eq!(exit_code(&child.wait_with_output().unwrap()), 130);
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_killed_trial_goes_on_from_its_checkpoint() {
    let out = tempfile::tempdir().unwrap();
    let checkpoint = || {
        let folder = fs::read_dir(folder(out.path()).join("checkpoints/folds")).ok();
        folder?.filter_map(|entry| Some(entry.ok()?.path())).find(|path| path.extension().is_some())
    };
    let mut child = start(out.path(), &[], 60_000);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !folder(out.path()).join("checkpoints/folds").exists() {
        assert!(Instant::now() < deadline, "the first trial did not start within a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // The trial was killed in its first epoch. A finished run tells the name that its checkpoint has; with numbers that
    // no epoch gives, the result shows whether they were taken up.
    run(out.path(), &["--resume"]);
    let checkpoint = checkpoint().unwrap();
    fs::write(&checkpoint, "[77.5,77.25,77.125]").unwrap();
    trial_files(out.path()).iter().for_each(|file| fs::remove_file(file).unwrap());
    assert_eq!(exit_code(&run(out.path(), &["--resume"])), 0);
    let results: String = trial_files(out.path()).iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert_eq!(results.matches("77.125").count(), 1);
}
