//! One page with all figures and numbers, figures as files, and tables.

use crate::problem::{Fallible, Problem};
use experiment::{Plot, Table};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What is written to the user's folder.
pub(crate) struct Page {
    out: PathBuf,
    title: String,
    body: String,
}

const STYLE: &str = "body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff }
svg { max-width: 100%; height: auto }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: 0.2rem 0.8rem 0.2rem 0; text-align: left; border-bottom: 1px solid #ccc }
td { font-variant-numeric: tabular-nums }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #161616 } }
";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Page {
    pub(crate) fn new(out: &Path, title: &str) -> Self {
        Self { out: out.to_owned(), title: title.to_owned(), body: String::new() }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Fallible<()> {
        let path = self.file(name);
        std::fs::write(&path, text).map_err(|error| Problem::file(&path, error))
    }

    pub(crate) fn heading(&mut self, text: &str) {
        let _ = writeln!(self.body, "<h2>{}</h2>", escaped(text));
    }

    pub(crate) fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escaped(text));
    }

    /// A table on the page; with a name also as CSV, whose cells have neither commas nor quotes.
    pub(crate) fn table(&mut self, name: Option<&str>, table: &Table) -> Fallible<()> {
        let row = |cells: &[String], tag: &str| {
            let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
            format!("<tr>{cells}</tr>\n")
        };
        let rows: String = table.rows.iter().map(|cells| row(cells, "td")).collect();
        let _ = writeln!(self.body, "<table>\n{}{rows}</table>", row(&table.columns, "th"));
        match name {
            Some(name) => self.csv(name, table),
            None => Ok(()),
        }
    }

    /// A table as CSV alone.
    pub(crate) fn csv(&self, name: &str, table: &Table) -> Fallible<()> {
        let lines = std::iter::once(&table.columns).chain(&table.rows).map(|cells| cells.join(",") + "\n");
        self.write(&format!("{name}.csv"), &lines.collect::<String>())
    }

    /// A figure as a file and on the page.
    pub(crate) fn figure(&mut self, name: &str, plot: &Plot, remark: &str) -> Fallible<()> {
        let svg = plot.svg_file(name, remark)?;
        self.write(&format!("{name}.svg"), &svg)?;
        // inside of a page an SVG has no declaration of its own
        let inner = svg.find("<svg").map_or(svg.as_str(), |at| &svg[at..]);
        let _ = writeln!(self.body, "<figure>\n{inner}\n</figure>");
        Ok(())
    }

    pub(crate) fn finish(&self, name: &str) -> Fallible<()> {
        let title = escaped(&self.title);
        let page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{}</body>\n</html>\n",
            self.body
        );
        self.write(name, &page)
    }
}
