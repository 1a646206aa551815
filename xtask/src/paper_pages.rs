//! A page of `docs/papers` for each paper, written from the committed reports so that no number in it is typed by hand.

use std::fmt::Write as _;
use std::path::PathBuf;

use report::{ClaimResult, Report, Scale, Verdict};

use crate::error::{Result, file};
use crate::papers::{PAPERS, Paper};
use crate::reproduction::{read, recorded_path};
use crate::words::{markdown as escaped, time};
use crate::workspace;

fn folder() -> PathBuf {
    workspace::root().join("docs").join("papers")
}

/// Writes the pages that are stale; returns whether there was one.
///
/// # Errors
/// When a report or a page cannot be read or written.
pub(crate) fn refresh() -> Result<bool> {
    let mut was_stale = false;
    for (path, _, new) in stale()? {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(file("create", parent))?;
        }
        std::fs::write(&path, new).map_err(file("write", &path))?;
        was_stale = true;
    }
    Ok(was_stale)
}

/// The names of the papers whose pages differ from what the committed reports say.
///
/// # Errors
/// When a report cannot be read.
pub(crate) fn stale_names() -> Result<Vec<&'static str>> {
    Ok(stale()?.into_iter().map(|(_, slug, _)| slug).collect())
}

fn stale() -> Result<Vec<(PathBuf, &'static str, String)>> {
    let mut pages = Vec::new();
    for paper in &PAPERS {
        let path = folder().join(format!("{}.md", paper.slug));
        let new = page(paper)?;
        if std::fs::read_to_string(&path).ok().as_ref() != Some(&new) {
            pages.push((path, paper.slug, new));
        }
    }
    Ok(pages)
}

// Writing into a String cannot fail, so the results of `writeln!` carry nothing below.

fn page(paper: &Paper) -> Result<String> {
    let slug = paper.slug;
    let mut page = format!(
        "# {title}\n\n{authors}, ICML 2022: [{url}]({url}). Library: `crates/{package}/README.md`.\n\n\
         Written from the committed reports by `cargo xtask report --record`; `reported` is measured and not judged.\n",
        title = escaped(paper.title),
        authors = escaped(paper.authors),
        url = paper.url,
        package = paper.package,
    );
    if folder().join("figures").join(format!("{slug}.svg")).is_file() {
        let _ = writeln!(page, "\n![A figure of the smoke run, whose data are generated](figures/{slug}.svg)");
    }
    for scale in [Scale::Paper, Scale::Laptop, Scale::Smoke] {
        let path = recorded_path(paper, scale);
        if path.is_file() {
            section(&mut page, scale, &read(&path)?);
        }
    }
    let _ = writeln!(
        page,
        "\n## How to run it\n\n```bash\ncargo xtask reproduce {slug}\ncargo xtask reproduce {slug} --scale laptop --jobs 2\n```\n\n\
         Smoke needs no data and no network. Laptop reads: {}. A run writes `target/reproduce/{slug}/<scale>/report.html`.",
        if paper.laptop_data.is_empty() { "nothing".to_owned() } else { paper.laptop_data.join(", ") }
    );
    Ok(page)
}

fn section(page: &mut String, scale: Scale, report: &Report) {
    let _ = writeln!(
        page,
        "\n## At {} scale\n\nClaims reproduced: {}. It took {}.\n",
        scale.name(),
        report.tally().words(),
        time(report.seconds)
    );
    let measured: Vec<&ClaimResult> = report.claims.iter().filter(|claim| claim.measured.is_some()).collect();
    let _ = writeln!(page, "| claim | published | here | data | verdict |\n|---|---|---|---|---|");
    for claim in &measured {
        let cells = [
            escaped(&claim.statement),
            escaped(&claim.published_words()),
            escaped(&claim.measured_words()),
            escaped(&claim.data),
            verdict(claim.verdict).to_owned(),
        ];
        let _ = writeln!(page, "| {} |", cells.join(" | "));
    }
    let failed: Vec<&&ClaimResult> = measured.iter().filter(|claim| claim.verdict == Verdict::NotReproduced).collect();
    if !failed.is_empty() {
        let _ = writeln!(page, "\nNot reproduced:\n");
        for claim in failed {
            let note = claim
                .note
                .as_ref()
                .map_or_else(String::new, |note| format!(" {}.", escaped(note.trim_end_matches('.'))));
            let _ = writeln!(
                page,
                "- {}: asked was {}, found {}.{note}",
                escaped(&claim.statement),
                escaped(&claim.judged),
                escaped(&claim.measured_words())
            );
        }
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reproduced => "reproduced",
        Verdict::NotReproduced => "**not reproduced**",
        Verdict::NotTested => "reported",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_paper_has_a_page_with_its_claims() {
        for paper in &PAPERS {
            let page = page(paper).unwrap();
            assert!(page.starts_with(&format!("# {}", paper.title.split(' ').next().unwrap())), "{}", paper.slug);
            assert!(page.contains("| verdict |") && page.contains("cargo xtask reproduce"), "{}", paper.slug);
        }
    }
}
