//! Programs among a crate's examples, for tests that run them as a user does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The example `name`, which `cargo test` builds beside the test that asks; none, said aloud, where only that test was built.
pub fn example(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let program = test.parent()?.parent()?.join("examples").join(file);
    if !program.is_file() {
        println!("skipped: {} is not built", program.display());
        return None;
    }
    Some(program)
}

/// All files of a folder with their bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries =
        std::fs::read_dir(folder).expect("the folder can be read").map(|entry| entry.expect("an entry can be read"));
    let bytes = |entry: &std::fs::DirEntry| std::fs::read(entry.path()).expect("a file can be read");
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), bytes(&entry))).collect()
}

/// What holds for every program that has written its results to `out` by [`front::Results`](crate::front::Results): they are the files `names`, the page has them all, a second run without `--force` is refused and changes nothing, and one whose
/// output nobody reads comes to its end.
///
/// # Panics
///
/// Where one of these does not hold: it is for tests.
pub fn assert_keeps_results(program: &Path, folder: &Path, (arguments, out): (&[&str], &str), names: &[&str]) {
    let there = files(&folder.join(out));
    let mut names = names.to_vec();
    names.sort_unstable();
    assert_eq!(there.keys().map(String::as_str).collect::<Vec<_>>(), names);
    let page = String::from_utf8_lossy(&there["index.html"]).into_owned();
    for name in names.iter().filter(|name| **name != "index.html") {
        assert!(page.contains(name), "{name} is not on the page");
    }
    assert!(page.contains("<svg") && page.contains("<h2>Next</h2>"), "{page}");
    let run = |more: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(folder).args(arguments).args(more).args(["--out", out]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
    };
    let again = run(&[]).wait_with_output().expect("a child can be waited for");
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && said.starts_with("error: ") && said.contains("--force"), "{said}");
    assert!(again.stdout.is_empty() && files(&folder.join(out)) == there);
    let mut unread = run(&["--force"]);
    drop(unread.stdout.take());
    let done = unread.wait_with_output().expect("a child can be waited for");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && !said.contains("panicked"), "{said}");
    assert_eq!(files(&folder.join(out)).keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
}
