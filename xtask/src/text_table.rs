//! Tables for the terminal: columns padded to their widest cell.

/// Lays out `rows` under `heading`, two spaces between columns, no blanks at the ends of lines.
pub(crate) fn render(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(|cell| (*cell).to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain(std::iter::once(&heading));
        cells.filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = String::new();
    for row in [&heading, &rule].into_iter().chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push('\n');
        text.push_str(cells.join("  ").trim_end());
    }
    text.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = render(&["a", "b"], &[vec!["long".to_owned(), "x".to_owned()]]);
        assert_eq!(text, "a     b\n----  -\nlong  x");
    }
}
