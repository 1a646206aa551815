//! Processes that share one folder.

mod toy_process;

use std::fs;
use std::thread;

use toy_process::{exit_code, folder, report, results, run, start, stderr, toy, trial_files};

#[test]
fn shards_one_after_the_other_give_the_results_of_one_run() {
    let (whole, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(whole.path(), &[]);
    for (shard, expected) in [("2/3", 4), ("3/3", 4), ("1/3", 0)] {
        let output = run(shared.path(), &["--shard", shard]);
        assert_eq!(exit_code(&output), expected, "{}", stderr(&output));
    }
    assert_eq!(results(shared.path()), results(whole.path()));
}

#[test]
fn shards_side_by_side_give_the_results_of_one_run() {
    let (whole, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(whole.path(), &[]);
    let children: Vec<_> = ["1/3", "2/3", "3/3"].map(|shard| start(shared.path(), &["--shard", shard], 5)).into();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert!(outputs.iter().all(|output| [0, 4].contains(&exit_code(output))));
    assert!(outputs.iter().any(|output| exit_code(output) == 0), "the last shard sees all results");
    assert_eq!(results(shared.path()), results(whole.path()));
    for shard in ["1-of-3", "2-of-3", "3-of-3"] {
        assert!(folder(shared.path()).join(format!("run-{shard}.json")).exists());
    }
}

#[test]
fn a_killed_shard_resumes_beside_the_others() {
    let (whole, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(whole.path(), &[]);
    let mut first = start(shared.path(), &["--shard", "1/2"], 10);
    let second = start(shared.path(), &["--shard", "2/2"], 10);
    while trial_files(shared.path()).len() < 3 {
        thread::sleep(std::time::Duration::from_millis(5));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let resumed = run(shared.path(), &["--shard", "1/2", "--resume"]);
    second.wait_with_output().unwrap();
    let code = exit_code(&resumed);
    assert!([0, 4].contains(&code), "{}", stderr(&resumed));
    assert_eq!(results(shared.path()), results(whole.path()));
}

#[test]
fn a_lone_shard_says_that_trials_of_others_are_missing() {
    let out = tempfile::tempdir().unwrap();
    let output = run(out.path(), &["--shard", "1/2"]);
    assert_eq!(exit_code(&output), 4);
    assert!(stderr(&output).contains("of other shards are missing"), "{}", stderr(&output));
    assert_eq!(report(out.path())["complete"], false);
}

#[test]
fn shard_auto_reads_the_launcher() {
    let out = tempfile::tempdir().unwrap();
    let launchers = [
        [("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_COMM_WORLD_SIZE", "3")],
        [("PMI_RANK", "1"), ("PMI_SIZE", "3")],
        [("SLURM_PROCID", "2"), ("SLURM_NTASKS", "3")],
    ];
    for (variables, expected) in launchers.into_iter().zip([4, 4, 0]) {
        let output = toy(out.path(), &["--shard", "auto"]).envs(variables).output().unwrap();
        assert_eq!(exit_code(&output), expected, "{}", stderr(&output));
    }
    assert_eq!(report(out.path())["complete"], true);
}

#[test]
fn a_second_identical_run_is_refused_while_the_first_works() {
    let out = tempfile::tempdir().unwrap();
    let mut first = start(out.path(), &[], 60_000);
    while !folder(out.path()).join("checkpoints/folds").exists() {
        thread::sleep(std::time::Duration::from_millis(20));
    }
    for arguments in [&["--resume"][..], &[], &["--shard", "1/2"]] {
        let second = run(out.path(), arguments);
        assert_eq!(exit_code(&second), 1);
        assert!(stderr(&second).contains("is in use by another process"), "{}", stderr(&second));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(exit_code(&run(out.path(), &["--resume"])), 0);
}

#[test]
fn a_whole_run_takes_up_what_shards_left() {
    let (whole, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(whole.path(), &[]);
    run(shared.path(), &["--shard", "2/2"]);
    let stored = trial_files(shared.path()).len();
    let output = run(shared.path(), &["--resume"]);
    assert!(stderr(&output).contains(&format!("folds: 12 trials, {stored} done before")), "{}", stderr(&output));
    assert_eq!(results(shared.path()), results(whole.path()));
    assert!(!fs::exists(folder(shared.path()).join("sharding.json")).unwrap());
}
