//! The page of all runs: `index.html`, which needs no network and reads well on a phone, and the same as `index.md`.

use std::fmt::Write as _;
use std::path::Path;

use report::text::{PAGE_POLICY, is_mark};
use report::{ClaimResult, Verdict};

use crate::error::{Result, file};
use crate::papers::PAPERS;
use crate::reproduction::Run;

const STYLE: &str = "\
:root { color-scheme: light dark; --text: #1b1b1b; --ground: #fff; --line: #767676; --good: #176b2c; --bad: #a3211c; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e8e8e8; --ground: #161616; --line: #8c8c8c; --good: #6fd08a; --bad: #ff9d94; } }
body { color: var(--text); background: var(--ground); font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 70rem; padding: 1rem; }
.table { overflow-x: auto; } table { border-collapse: collapse; margin: .5rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: top; }
.reproduced { color: var(--good); } .not-reproduced { color: var(--bad); font-weight: bold; }
a { color: inherit; }
@media (max-width: 40rem) {
  thead { position: absolute; left: -99rem; } table, tbody, tr, td { display: block; }
  tr { border-bottom: 1px solid var(--line); padding: .5rem 0; } td { border: 0; padding: .1rem 0; }
  td::before { content: attr(data-column) \": \"; color: var(--text); font-weight: normal; } }";

/// Writes both files into `out`.
///
/// # Errors
/// When the folder or a file cannot be written.
pub(crate) fn write(runs: &[Run], out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).map_err(file("create", out))?;
    for (name, text) in [("index.html", html(runs)), ("index.md", markdown(runs))] {
        let path = out.join(name);
        std::fs::write(&path, text).map_err(file("write", &path))?;
    }
    Ok(())
}

// Writing into a String cannot fail, so the results of `writeln!` carry nothing below.

fn html(runs: &[Run]) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n{PAGE_POLICY}\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Reproductions</title>\n\
         <style>\n{STYLE}\n</style>\n</head>\n<body>\n<h1>Reproductions</h1>\n<p>{}</p>\n",
        summary(runs)
    );
    for Run { paper, scale, report } in runs {
        let _ = writeln!(
            page,
            "<h2><a href=\"{slug}/{scale}/report.html\">{slug}, {scale} scale</a></h2>\n<p><a href=\"{url}\">{title}</a>, \
             {authors} &middot; claims reproduced: {tally} &middot; {seconds:.1} s{state}</p>",
            slug = paper.slug,
            scale = scale.name(),
            url = escape_html(paper.url),
            title = escape_html(paper.title),
            authors = escape_html(paper.authors),
            tally = report.tally().words(),
            seconds = report.seconds,
            state = if report.complete { "" } else { ", incomplete: trials are missing" },
        );
        page.push_str("<div class=\"table\"><table>\n<thead><tr>");
        for heading in HEADINGS {
            let _ = write!(page, "<th scope=\"col\">{heading}</th>");
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        for claim in &report.claims {
            page.push_str("<tr>");
            for (column, cell) in HEADINGS.iter().zip(cells(claim)) {
                let class = if *column == "verdict" { class(claim.verdict) } else { "" };
                let _ = write!(page, "<td class=\"{class}\" data-column=\"{column}\">{}</td>", escape_html(&cell));
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody></table></div>\n");
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn markdown(runs: &[Run]) -> String {
    let mut page = format!("# Reproductions\n\n{}\n", summary(runs));
    for Run { paper, scale, report } in runs {
        let (slug, scale) = (paper.slug, scale.name());
        let _ = writeln!(
            page,
            "\n## [{slug}, {scale} scale]({slug}/{scale}/report.md)\n\n[{}]({}), {} · claims reproduced: {} · {:.1} s{}\n",
            paper.title,
            paper.url,
            paper.authors,
            report.tally().words(),
            report.seconds,
            if report.complete { "" } else { ", incomplete: trials are missing" },
        );
        let _ = writeln!(page, "| {} |\n|{}", HEADINGS.join(" | "), "---|".repeat(HEADINGS.len()));
        for claim in &report.claims {
            let _ = writeln!(page, "| {} |", cells(claim).map(|cell| escape_markdown(&cell)).join(" | "));
        }
    }
    page
}

const HEADINGS: [&str; 5] = ["verdict", "claim", "published", "measured", "data"];

fn cells(claim: &ClaimResult) -> [String; 5] {
    [
        claim.verdict.words().to_owned(),
        format!("{}: {}", claim.id, claim.statement),
        claim.published_words(),
        claim.measured_words(),
        claim.data_words(),
    ]
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Reproduced => "reproduced",
        Verdict::NotReproduced => "not-reproduced",
        Verdict::NotTested => "not-tested",
    }
}

fn summary(runs: &[Run]) -> String {
    let has_run = |slug: &str| runs.iter().any(|run| run.paper.slug == slug);
    let missing: Vec<&str> = PAPERS.iter().map(|paper| paper.slug).filter(|slug| !has_run(slug)).collect();
    let rest = if missing.is_empty() { String::new() } else { format!(" Without a run here: {}.", missing.join(", ")) };
    format!("Runs: {}, of {} of {} papers.{rest}", runs.len(), PAPERS.len() - missing.len(), PAPERS.len())
}

/// Text for HTML: no markup, and nothing that changes the direction of the text after it.
fn escape_html(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    escaped.replace('\'', "&#39;").replace(['\n', '\r', '\t'], " ").replace(is_mark, "\u{fffd}")
}

/// Keeps a cell inside its column: no column marks, no line breaks, and no HTML.
fn escape_markdown(text: &str) -> String {
    escape_html(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_report_stays_text() {
        assert_eq!(escape_html("<script>\"&"), "&lt;script&gt;&quot;&amp;");
        assert_eq!(escape_markdown("a|b\nc"), "a\\|b c");
        assert_eq!(escape_html("a\u{202e}\u{1b}[2J'"), "a\u{fffd}\u{fffd}[2J&#39;");
    }

    #[test]
    fn a_page_without_runs_says_which_papers_are_missing() {
        let page = html(&[]);
        assert!(
            page.contains("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src"),
            "{page}"
        );
        assert!(page.contains("Runs: 0, of 0 of 15 papers") && page.contains("sep, lagraph"), "{page}");
    }
}
