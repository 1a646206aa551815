use super::files::{Folder, Output};
use super::lines::say;
use experiment::{Page, Plot, Result, Table};
use serde::Serialize;
use std::path::PathBuf;

/// What a program found: said on standard output, written as plain files, and gathered on one page, `index.html`.
#[derive(Debug)]
pub struct Results {
    folder: Folder,
    page: Page,
    files: Vec<[String; 2]>,
}

impl Results {
    /// Makes the folder, before any work.
    ///
    /// # Errors
    ///
    /// When it holds files and `--force` was not given, or cannot be made; names the path.
    pub fn prepare(title: &str, output: &Output) -> Result<Self> {
        let mut page = Page::new(title);
        page.command(&command());
        Ok(Self { folder: output.folder()?, page, files: Vec::new() })
    }

    /// Prints a line and puts it on the page.
    pub fn say(&mut self, text: &str) {
        say(text);
        self.page.text(text);
    }

    /// Puts a paragraph on the page alone.
    pub fn note(&mut self, text: &str) {
        self.page.text(text);
    }

    /// A heading of the page.
    pub fn heading(&mut self, text: &str) {
        self.page.heading(text);
    }

    /// A table: `NAME.csv`, and on the page its first 200 rows.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn table(&mut self, name: &str, caption: &str, table: &Table) -> Result<()> {
        const SHOWN: usize = 200;
        let row = |cells: &[String]| cells.iter().map(|cell| field(cell)).collect::<Vec<_>>().join(",") + "\n";
        let text: String =
            std::iter::once(row(&table.columns)).chain(table.rows.iter().map(|cells| row(cells))).collect();
        self.file(&format!("{name}.csv"), caption, text)?;
        match table.rows.len() {
            0..=SHOWN => self.page.table(caption, table),
            rows => {
                let first = Table { columns: table.columns.clone(), rows: table.rows[..SHOWN].to_vec() };
                self.page.table(&format!("{caption} (the first {SHOWN} of {rows} rows)"), &first);
            }
        }
        Ok(())
    }

    /// Prints a table in columns of equal width as well; see [`Results::table`].
    ///
    /// # Errors
    ///
    /// As [`Results::table`].
    pub fn show_table(&mut self, name: &str, caption: &str, table: &Table) -> Result<()> {
        for line in aligned(table) {
            say(&line);
        }
        self.table(name, caption, table)
    }

    /// A figure: `NAME.svg`, its numbers as `NAME.csv` unless a table has that name, and on the page.
    ///
    /// # Errors
    ///
    /// When the plot's data does not fit together or a file cannot be written.
    pub fn figure(&mut self, name: &str, plot: &Plot, caption: &str) -> Result<()> {
        self.file(&format!("{name}.svg"), caption, plot.svg_file(name, "")?)?;
        let numbers = format!("{name}.csv");
        if !self.files.iter().any(|[file, _]| *file == numbers) {
            self.file(&numbers, &format!("numbers of {name}.svg"), plot.csv())?;
        }
        Ok(self.page.figure(name, plot, caption)?)
    }

    /// `NAME.json`.
    ///
    /// # Errors
    ///
    /// When the value has no JSON or the file cannot be written.
    pub fn json(&mut self, name: &str, what: &str, value: &impl Serialize) -> Result<()> {
        self.file(&format!("{name}.json"), what, serde_json::to_string_pretty(value)? + "\n")
    }

    /// Any other file.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn file(&mut self, name: &str, what: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.folder.save(name, bytes)?;
        self.files.push([name.to_owned(), what.to_owned()]);
        Ok(())
    }

    /// The path for a file that something else writes, such as the weights of a model.
    pub fn path(&mut self, name: &str, what: &str) -> PathBuf {
        self.files.push([name.to_owned(), what.to_owned()]);
        self.folder.join(name)
    }

    /// Writes the page, says where all is, and what to do next.
    ///
    /// # Errors
    ///
    /// When the page cannot be written.
    pub fn finish(mut self, next: &str) -> Result<()> {
        self.page.heading("Next");
        self.page.text(next);
        let mut table = Table::new(["file", "what"]);
        table.rows.extend(self.files.iter().map(|pair| pair.to_vec()));
        self.page.heading("Files");
        self.page.table("Files in this folder", &table);
        self.folder.save("index.html", self.page.html())?;
        let shown = self.folder.path().display();
        say(&format!("written to {shown}: index.html with all of it, {} files beside it", self.files.len()));
        say(&format!("next: {next}"));
        Ok(())
    }
}

/// The command line, for the page: the program's name without its folder.
fn command() -> String {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().map(PathBuf::from).unwrap_or_default();
    let program = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let is_plain =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./=:,%+@".contains(c));
    let word = |word: String| if is_plain(&word) { word } else { format!("'{}'", word.replace('\'', "'\\''")) };
    std::iter::once(program).chain(words.map(word)).collect::<Vec<_>>().join(" ")
}

/// Lines with columns of equal width; columns of numbers flush right.
fn aligned(table: &Table) -> Vec<String> {
    let width = |at: usize| {
        let cells = std::iter::once(&table.columns).chain(&table.rows).filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let is_number = |at: usize| {
        let mut cells = table.rows.iter().filter_map(|row| row.get(at)).filter(|cell| !cell.is_empty());
        let number = |cell: &String| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '–' || c == '+');
        cells.clone().next().is_some() && cells.all(number)
    };
    let columns: Vec<(usize, bool)> = (0..table.columns.len()).map(|at| (width(at), is_number(at))).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&columns).map(|(cell, &(width, is_number))| match is_number {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    };
    std::iter::once(&table.columns).chain(&table.rows).map(line).collect()
}

/// A number as a cell, or nothing where there is none.
pub fn cell(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { String::new() }
}

/// A text as a quoted cell of a CSV file.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A cell of a CSV file, quoted where it must be.
fn field(text: &str) -> String {
    let needs = text.contains([',', '"', '\n', '\r', ';', '\t']) || text.starts_with([' ', '#']) || text.ends_with(' ');
    if needs { quoted(text) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use experiment::{Axis, Series};

    #[test]
    fn one_page_and_plain_files() {
        let place = tempfile::tempdir().unwrap();
        let output = Output { out: place.path().join("out"), force: false };
        let mut results = Results::prepare("Title", &output).unwrap();
        let mut table = Table::new(["name", "value"]);
        table.rows = vec![vec!["a,\"b".to_owned(), "1.5".to_owned()], vec!["c".to_owned(), "-20".to_owned()]];
        results.show_table("numbers", "Some numbers", &table).unwrap();
        let line = Series::new("s", vec![0., 1.], vec![1., 2.]);
        let plot = Plot::lines("Line", Axis::linear("x"), Axis::linear("y"), vec![line]);
        results.figure("line", &plot, "A line.").unwrap();
        results.json("all", "all numbers", &[1, 2]).unwrap();
        results.say("said <here>");
        results.finish("go on").unwrap();
        let read = |name: &str| std::fs::read_to_string(output.out.join(name)).unwrap();
        assert_eq!(read("numbers.csv"), "name,value\n\"a,\"\"b\",1.5\nc,-20\n");
        let page = read("index.html");
        for part in ["Title", "said &lt;here&gt;", "<svg", "line.svg", "line.csv", "all.json", "go on"] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(aligned(&table), ["name   value", "a,\"b     1.5", "c        -20"]);
        assert!(Results::prepare("Title", &output).unwrap_err().to_string().contains("--force"));
    }
}
