//! `report.md`.

use report::text::printable;

use super::escape::{link, markdown as escape};
use super::words::origin_words;
use super::{FullReport, Synthetic};
use crate::trial_store::file_name;

impl FullReport<'_> {
    pub(crate) fn markdown(&self) -> String {
        let paper = self.paper;
        let mut out = String::new();
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        line(format!("# {}\n", escape(paper.title)));
        let place = link(paper.url).map_or_else(|| escape(paper.url), |url| format!("<{url}>"));
        line(format!("{}. {}. {place}\n", escape(paper.authors), escape(paper.venue)));
        line(format!("**{}**, scale `{}`.\n", self.summary(), self.context.scale().name()));
        if self.synthetic() == Synthetic::All {
            line("**All numbers were measured on synthetic data.**\n".into());
        }
        line("## Claims\n".into());
        line("| Claim | Published | Measured | From | Judged | Verdict |".into());
        line("|---|---:|---:|---|---|---|".into());
        for claim in &self.claims {
            let source = claim.published_source.as_ref().map(|source| format!(" ({source})")).unwrap_or_default();
            let note = claim.note.as_ref().map(|note| format!(" — {note}")).unwrap_or_default();
            line(format!(
                "| **{}** {} | {} | {} | {} | {} | {} |",
                escape(&claim.id),
                escape(&claim.statement),
                escape(&(claim.published_words() + &source)),
                escape(&self.measured_words(claim)),
                escape(&origin_words(claim)),
                escape(&claim.judged),
                escape(&format!("{}{note}", claim.outcome().words())),
            ));
        }
        let content = &self.context.content;
        let mark = match self.synthetic() {
            Synthetic::None => String::new(),
            synthetic => format!(" ({})", synthetic.caption()),
        };
        if !content.plots.is_empty() {
            line("\n## Plots\n".into());
        }
        for (name, plot) in &content.plots {
            // The file name holds `%` where the name has unusual letters; in an address that sign is written `%25`.
            let file = file_name(name).replace('%', "%25");
            line(format!("![{}](plots/{file}.svg)\n", escape(&plot.alternative_text())));
            line(format!("{}{mark}; numbers: [plots/{file}.csv](plots/{file}.csv)\n", escape(&plot.title)));
        }
        if !content.tables.is_empty() {
            line("\n## Tables".into());
        }
        for (title, table) in &content.tables {
            line(format!("\n### {}{mark}\n", escape(title)));
            let row = |cells: &[String]| {
                let cells =
                    (0..table.columns.len()).map(|index| cells.get(index).map(|cell| escape(cell)).unwrap_or_default());
                format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
            };
            line(row(&table.columns));
            line(format!("|{}", "---|".repeat(table.columns.len())));
            table.rows.iter().for_each(|cells| line(row(cells)));
        }
        if !content.notes.is_empty() {
            line("\n## Notes\n".into());
        }
        content.notes.iter().for_each(|note| line(format!("- {}", escape(note))));
        line("\n## Trials\n".into());
        line("| Group | Done | All | Seconds |".into());
        line("|---|---:|---:|---:|".into());
        for (group, done, all, seconds) in self.group_facts() {
            line(format!("| {} | {done} | {all} | {seconds:.1} |", escape(&group)));
        }
        line("\n## Run\n".into());
        line("| | |".into());
        line("|---|---|".into());
        self.run_facts().iter().for_each(|(name, value)| line(format!("| {name} | {} |", escape(value))));
        line("\n## How to reproduce\n".into());
        // Every line of an indented block is code, whatever it holds.
        line(format!("    {}", printable(&self.command()).replace('\n', "\n    ")));
        out
    }
}
