//! The page of all papers: `index.html`, one file that needs no network, and the same in short as `index.md`.
//!
//! Filters are style rules over radio buttons; the one script, named by its hash in the page's policy, only changes the order of the papers.

mod entries;
mod html;
mod style;

use std::fmt::Write as _;
use std::path::Path;

use crate::error::{Result, file};
use crate::reproduction::Run;
use crate::words::{self, time};
use entries::{Entry, Row, counts, rows, summary};

/// Writes both files into `out`: of each paper and scale the run that lies there, else the committed report.
///
/// # Errors
/// When a report cannot be read, or the folder or a file cannot be written.
pub(crate) fn write(runs: &[Run], out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).map_err(file("create", out))?;
    let rows = rows(runs, out)?;
    for (name, text) in [("index.html", html::page(&rows)), ("index.md", markdown(&rows))] {
        let path = out.join(name);
        std::fs::write(&path, text).map_err(file("write", &path))?;
    }
    Ok(())
}

// Writing into a String cannot fail, so the results of `writeln!` carry nothing below.

fn markdown(rows: &[Row]) -> String {
    let mut page = format!("# Reproductions\n\n{}\n", summary(rows));
    for Row { paper, entries } in rows {
        let _ = writeln!(
            page,
            "\n## {}\n\n[{}]({}), {}; crate `{}`",
            paper.slug, paper.title, paper.url, paper.authors, paper.package
        );
        for Entry { scale, report, folder } in entries {
            let origin = if folder.is_some() { "run here" } else { "committed" };
            let state = if report.complete { "" } else { ", incomplete: trials are missing" };
            let _ = writeln!(
                page,
                "\n### {} scale ({origin}{state}): {}; {}\n",
                scale.name(),
                counts(report),
                time(report.seconds)
            );
            let _ = writeln!(page, "| outcome | claim | published | measured | data |\n|---|---|---|---|---|");
            for claim in &report.claims {
                let cells = [
                    claim.outcome().words().to_owned(),
                    claim.statement.clone(),
                    claim.published_words(),
                    claim.measured_words(),
                    claim.data_words(),
                ];
                let _ = writeln!(page, "| {} |", cells.map(|cell| words::markdown(&cell)).join(" | "));
            }
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::papers::PAPERS;

    #[test]
    fn without_runs_the_committed_reports_are_shown() {
        let rows = rows(&[], Path::new("unused")).unwrap();
        assert_eq!(rows.len(), 15);
        let page = html::page(&rows);
        for paper in &PAPERS {
            assert!(page.contains(&format!("id=\"{}\"", paper.slug)), "{}", paper.slug);
        }
        assert!(page.contains("committed") && page.contains("Not reproduced"));
        assert_eq!(page.matches("<details").count(), page.matches("</details>").count());
        let text = markdown(&rows);
        assert!(text.contains("| outcome |") && summary(&rows).contains("of 15 papers"));
    }

    #[test]
    fn a_paper_without_results_has_a_row() {
        let rows: Vec<Row> = PAPERS.iter().map(|paper| Row { paper, entries: Vec::new() }).collect();
        assert!(html::page(&rows).contains("no results yet"));
    }
}
