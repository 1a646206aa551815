//! `report.html`: one file that needs no network, on paper, phone and screen, light and dark.

use report::text::PAGE_POLICY;
use report::{ClaimResult, Outcome};

use super::escape::{html as escape, link};
use super::words::origin_words;
use super::{FullReport, Synthetic};
use crate::context::Table;
use crate::error::Error;
use crate::plot::PLOT_STYLE;
use crate::trial_store::file_name;

pub(crate) const STYLE: &str = include_str!("style.css");

impl FullReport<'_> {
    pub(crate) fn html(&self) -> Result<String, Error> {
        let sections = [
            self.head(),
            self.claims_section(),
            self.plots_section()?,
            self.tables_section(),
            self.notes_section(),
            self.trials_section(),
            self.run_section(),
        ];
        Ok(sections.concat() + "</main>\n</body>\n</html>\n")
    }

    fn head(&self) -> String {
        let paper = self.paper;
        let title = escape(paper.title);
        let place = match link(paper.url) {
            Some(url) => format!("<a href=\"{0}\">{0}</a>", escape(url)),
            None => escape(paper.url),
        };
        let synthetic = match self.synthetic() {
            Synthetic::All => banner("synthetic", "All numbers in this report were measured on synthetic data."),
            Synthetic::Some => banner("synthetic", "Some numbers in this report were measured on synthetic data."),
            Synthetic::None => String::new(),
        };
        let incomplete = if self.is_complete {
            String::new()
        } else {
            banner("not-reproduced", "This run is not complete: trials are missing, and no claim is judged.")
        };
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n{PAGE_POLICY}\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
             <link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}{PLOT_STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1>{title}</h1>\n<p class=\"soft\">{authors}. {venue}. {place}</p>\n\
             <p class=\"headline\">{summary}, at scale {scale}</p>\n{synthetic}{incomplete}",
            authors = escape(paper.authors),
            venue = escape(paper.venue),
            summary = escape(&self.summary()),
            scale = self.context.scale().name(),
        )
    }

    fn claims_section(&self) -> String {
        let rows: String = self.claims.iter().map(|claim| claim_row(claim, &self.measured_number(claim))).collect();
        let head = "<thead><tr><th scope=\"col\">Claim</th><th scope=\"col\" class=\"number\">Published</th>\
                    <th scope=\"col\" class=\"number\">Measured here</th><th scope=\"col\">Judged</th>\
                    <th scope=\"col\">Verdict</th></tr></thead>";
        let table =
            format!("<table class=\"claims\" role=\"table\">{head}\n<tbody role=\"rowgroup\">\n{rows}</tbody></table>");
        format!("<h2>Claims</h2>\n{}", scrolling("Claims", &table))
    }

    fn plots_section(&self) -> Result<String, Error> {
        let plots = &self.context.content.plots;
        if plots.is_empty() {
            return Ok(String::new());
        }
        let mut section = "<h2>Plots</h2>\n".to_owned();
        for (name, plot) in plots {
            let figure = scrolling(&plot.title, &plot.svg(name, self.synthetic().caption())?);
            let description = plot.description.as_ref().map(|text| format!("{} ", escape(text))).unwrap_or_default();
            let numbers = format!("Numbers: <code>plots/{}.csv</code>", escape(&file_name(name)));
            section
                .push_str(&format!("<figure>\n{figure}<figcaption>{description}{numbers}</figcaption>\n</figure>\n"));
        }
        Ok(section)
    }

    fn tables_section(&self) -> String {
        let tables = &self.context.content.tables;
        if tables.is_empty() {
            return String::new();
        }
        let mark = self.synthetic_badge();
        let table = |(title, table): &(String, Table)| scrolling(title, &html_table(&(escape(title) + &mark), table));
        format!("<h2>Tables</h2>\n{}", tables.iter().map(table).collect::<String>())
    }

    fn notes_section(&self) -> String {
        let notes = &self.context.content.notes;
        if notes.is_empty() {
            return String::new();
        }
        let items: String = notes.iter().map(|note| format!("<li>{}</li>\n", escape(note))).collect();
        format!("<h2>Notes</h2>\n<ul>\n{items}</ul>\n")
    }

    fn trials_section(&self) -> String {
        let trials = &self.context.content.trials;
        if trials.is_empty() {
            return String::new();
        }
        let group_rows = self
            .group_facts()
            .into_iter()
            .map(|(group, done, all, seconds)| vec![group, done.to_string(), all.to_string(), format!("{seconds:.1}")]);
        let mut groups = Table::new(["Group", "Done", "All", "Seconds"]);
        groups.rows.extend(group_rows);
        let trial_rows = trials.iter().map(|trial| {
            let seconds = trial.seconds.map_or_else(|| "missing".to_owned(), |seconds| format!("{seconds:.1}"));
            vec![trial.group.clone(), trial.id.clone(), trial.device.clone(), seconds]
        });
        let mut all = Table::new(["Group", "Trial", "Device", "Seconds"]);
        all.rows.extend(trial_rows);
        let summary = scrolling("Groups of trials", &html_table("", &groups));
        let list = scrolling("All trials", &html_table("", &all));
        let count = trials.len();
        format!("<h2>Trials</h2>\n{summary}<details><summary>All {count} trials</summary>\n{list}</details>\n")
    }

    fn run_section(&self) -> String {
        let row = |(name, value): &(&str, String)| {
            format!("<tr><th scope=\"row\">{name}</th><td>{}</td></tr>\n", escape(value))
        };
        let rows: String = self.run_facts().iter().map(row).collect();
        let facts = scrolling("Run", &format!("<table><tbody>\n{rows}</tbody></table>"));
        let command = escape(&self.command());
        format!("<h2>Run</h2>\n{facts}<h2>How to reproduce</h2>\n<pre>{command}</pre>\n")
    }

    fn synthetic_badge(&self) -> String {
        match self.synthetic() {
            Synthetic::None => String::new(),
            synthetic => format!(" <span class=\"badge synthetic\">{}</span>", synthetic.caption()),
        }
    }
}

fn claim_row(claim: &ClaimResult, measured: &str) -> String {
    let small = |text: &str| {
        if text.is_empty() { String::new() } else { format!("<span class=\"small\">{}</span>", escape(text)) }
    };
    let synthetic = if claim.is_synthetic { "<br> <span class=\"badge synthetic\">synthetic data</span>" } else { "" };
    let outcome = claim.outcome();
    let sign = match outcome {
        Outcome::Reproduced => "✓ ",
        Outcome::NotReproduced => "✗ ",
        Outcome::Reported | Outcome::NotTested => "",
    };
    format!(
        "<tr role=\"row\"><th scope=\"row\" role=\"rowheader\">{statement}<span class=\"small\"><code>{id}</code></span></th>\
         <td role=\"cell\" class=\"number\" data-label=\"Published\">{published}{source}</td>\
         <td role=\"cell\" class=\"number\" data-label=\"Measured here\">{measured}{synthetic}{origin}</td>\
         <td role=\"cell\" data-label=\"Judged\">{judged}</td>\
         <td role=\"cell\" data-label=\"Verdict\"><span class=\"badge {class}\">{sign}{verdict}</span>{note}</td></tr>\n",
        statement = escape(&claim.statement),
        id = escape(&claim.id),
        published = escape(&claim.published_words()),
        source = small(claim.published_source.as_deref().unwrap_or_default()),
        measured = escape(measured),
        origin = small(&origin_words(claim)),
        judged = escape(&claim.judged),
        class = outcome.name(),
        verdict = outcome.words(),
        note = small(claim.note.as_deref().unwrap_or_default()),
    )
}

fn banner(class: &str, text: &str) -> String {
    format!("<p class=\"banner {class}\">{text}</p>\n")
}

/// A part that scrolls sideways on narrow screens, also with the keyboard.
pub(crate) fn scrolling(label: &str, inner: &str) -> String {
    let label = escape(label);
    format!("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\">{inner}</div>\n")
}

/// A table; `caption` is HTML. Columns whose cells all read as numbers are set flush right.
pub(crate) fn html_table(caption: &str, table: &Table) -> String {
    let cell_text = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let is_number =
        |text: &str| text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '–');
    let class = |column: usize| {
        let is_numeric = !table.rows.is_empty() && table.rows.iter().all(|row| is_number(&cell_text(row, column)));
        if is_numeric { " class=\"number\"" } else { "" }
    };
    let classes: Vec<_> = (0..table.columns.len()).map(class).collect();
    let heads = table.columns.iter().zip(&classes);
    let head: String = heads.map(|(name, class)| format!("<th scope=\"col\"{class}>{}</th>", escape(name))).collect();
    let row = |row: &Vec<String>| {
        let cells = classes.iter().enumerate();
        let cells: String =
            cells.map(|(column, class)| format!("<td{class}>{}</td>", escape(&cell_text(row, column)))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let body: String = table.rows.iter().map(row).collect();
    let caption = if caption.is_empty() { String::new() } else { format!("<caption>{caption}</caption>") };
    format!("<table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>")
}
