//! A page of results in one file.

use report::text::PAGE_POLICY;

use crate::context::Table;
use crate::error::Error;
use crate::plot::{PLOT_STYLE, Plot};
use crate::report_files::{STYLE, escape_html as escape, html_table, scrolling};

/// A page of results: one HTML file that needs no network and no script, for screen, phone and paper, light and dark. Parts stand in the order in which they were added; texts are shown as they are,
/// markup in them too.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// A page with a title and nothing else.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), body: String::new() }
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        self.body += &format!("<h2>{}</h2>\n", escape(text));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        self.body += &format!("<p>{}</p>\n", escape(text));
    }

    /// A list.
    pub fn list<T: AsRef<str>>(&mut self, items: &[T]) {
        let items: String = items.iter().map(|item| format!("<li>{}</li>\n", escape(item.as_ref()))).collect();
        self.body += &format!("<ul>\n{items}</ul>\n");
    }

    /// A line of a shell.
    pub fn command(&mut self, line: &str) {
        self.body += &format!("<pre tabindex=\"0\">{}</pre>\n", escape(line));
    }

    /// A table with a caption. Columns of numbers are set flush right.
    pub fn table(&mut self, caption: &str, table: &Table) {
        self.body += &scrolling(caption, &html_table(&escape(caption), table));
    }

    /// A figure. `name` appears in errors and in the ids within the drawing, so it differs between the figures of a page; below stand the plot's description and `caption`.
    ///
    /// # Errors
    ///
    /// [`Error::Plot`] when the plot's data does not fit together.
    pub fn figure(&mut self, name: &str, plot: &Plot, caption: &str) -> Result<(), Error> {
        let drawing = scrolling(&plot.title, &plot.svg(name, "")?);
        let below: Vec<String> = plot
            .description
            .iter()
            .map(String::as_str)
            .chain([caption])
            .filter(|t| !t.is_empty())
            .map(escape)
            .collect();
        self.body += &format!("<figure>\n{drawing}<figcaption>{}</figcaption>\n</figure>\n", below.join(" "));
        Ok(())
    }

    /// The HTML.
    pub fn html(&self) -> String {
        let title = escape(&self.title);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n{PAGE_POLICY}\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
             <link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}{PLOT_STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1>{title}</h1>\n{}</main>\n</body>\n</html>\n",
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Axis, Series};

    #[test]
    fn texts_stay_texts_and_parts_stand_in_order() {
        let mut page = Page::new("A <b>title</b>");
        page.heading("first");
        page.text("a & b <script>");
        page.list(&["one", "two"]);
        page.command("run --x \"y\"");
        let mut table = Table::new(["name", "value"]);
        table.rows.push(vec!["<i>".to_owned(), "3.5".to_owned()]);
        page.table("numbers", &table);
        let plot =
            Plot::lines("t", Axis::linear("x"), Axis::linear("y"), vec![Series::new("s", vec![0., 1.], vec![1., 2.])]);
        page.figure("f", &plot, "what it shows").unwrap();
        let html = page.html();
        assert!(!html.contains("<b>") && !html.contains("<script") && !html.contains("<i>"), "{html}");
        let order = ["first", "a &amp; b", "<li>one", "run --x", "numbers", "<svg", "what it shows"];
        let places: Vec<usize> = order.iter().map(|text| html.find(text).unwrap()).collect();
        assert!(places.is_sorted(), "{places:?}");
        let wrong = Plot::lines("t", Axis::linear("x"), Axis::linear("y"), vec![Series::new("s", vec![0.], vec![])]);
        assert!(page.figure("g", &wrong, "").is_err());
    }
}
