//! The folder of a search: one search alone, told by its settings.

use experiment::Result;
use reproduction::front;
use std::path::Path;

const SETTINGS: &str = "settings.txt";

const RESULTS: [&str; 5] = [SETTINGS, "front.csv", "front.json", "front.svg", "index.html"];

/// Makes the folder ready for a search with these settings, one a line: new, or the one in which that search was interrupted. With `force` another search in it is removed.
pub(crate) fn prepare(folder: &Path, settings: &[String], force: bool) -> Result<()> {
    let shown = folder.display();
    let fail = |error: std::io::Error| format!("{shown}: {error}");
    if folder.exists() && !folder.is_dir() {
        return Err(format!("{shown}: it is no folder").into());
    }
    std::fs::create_dir_all(folder).map_err(fail)?;
    let path = folder.join(SETTINGS);
    if force {
        remove(folder).map_err(fail)?;
    }
    let is_empty = std::fs::read_dir(folder).map_err(fail)?.next().is_none();
    if path.is_file() {
        let text = std::fs::read_to_string(&path).map_err(fail)?;
        let other = settings.iter().find(|line| !text.lines().any(|known| known == line.as_str()));
        return match other {
            None => Ok(()),
            Some(line) => {
                let reason = format!("{shown} holds a search with other settings, not with `{line}`");
                Err(format!("{reason}: take another --out, or --force removes it").into())
            }
        };
    }
    if !is_empty && !force {
        return Err(
            format!("{shown} holds files, but no search: take another --out, or --force writes beside them").into()
        );
    }
    front::write(&path, settings.join("\n") + "\n")
}

/// Removes what a search writes, and nothing else.
fn remove(folder: &Path) -> std::io::Result<()> {
    let own = |name: &str| {
        let is_part = ["masks-", "network-", "round-"].iter().any(|start| name.starts_with(start));
        (is_part && name.ends_with(".safetensors")) || RESULTS.contains(&name)
    };
    for folder in [folder.join("rounds"), folder.to_owned()] {
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(own) && !entry.file_type()?.is_dir() {
                std::fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}
