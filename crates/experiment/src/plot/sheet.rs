//! The sheet that a plot is drawn on: title, legend, and the SVG around them.

use super::body::{Body, LegendSign, TEXT_SIZE, WIDTH};
use super::canvas::{Anchor, Canvas, PLOT_STYLE, Sign, Tone, paint, text_width, wrapped};
use super::{Drawing, Plot, chart, graph, heat_map, histogram, images};
use crate::error::Error;

const TITLE_SIZE: f64 = 16.0;
const MARGIN: f64 = 12.0;
const LEGEND_ROW: f64 = 19.0;

impl Plot {
    /// The plot as an SVG element for a page that holds [`PLOT_STYLE`]. `remark` stands beside the title.
    pub(crate) fn svg(&self, name: &str, remark: &str) -> Result<String, Error> {
        self.svg_with_style(name, remark, "")
    }

    /// The plot as an SVG file of its own. `name` appears in errors, `remark` beside the title.
    ///
    /// # Errors
    /// [`Error::Plot`] when the data does not fit together.
    pub fn svg_file(&self, name: &str, remark: &str) -> Result<String, Error> {
        self.svg_with_style(name, remark, &format!("<style>\n{PLOT_STYLE}</style>\n"))
    }

    /// What the plot shows, in words.
    pub(crate) fn alternative_text(&self) -> String {
        if let Some(description) = &self.description {
            return format!("{}. {description}", self.title);
        }
        let names = |names: Vec<&String>| {
            let named: Vec<&str> = names.into_iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
            if named.is_empty() { String::new() } else { format!(": {}", named.join(", ")) }
        };
        let kind = match &self.drawing {
            Drawing::Lines { x, y, series } => {
                format!("lines of {} by {}{}", y.label, x.label, names(series.iter().map(|s| &s.name).collect()))
            }
            Drawing::Scatter { x, y, series } => {
                format!("points of {} by {}{}", y.label, x.label, names(series.iter().map(|s| &s.name).collect()))
            }
            Drawing::Bars { value, series, .. } => {
                format!("bars of {}{}", value.label, names(series.iter().map(|s| &s.name).collect()))
            }
            Drawing::HeatMap { columns, rows, .. } => {
                format!("a heat map of {} rows and {} columns", rows.len(), columns.len())
            }
            Drawing::Graph { nodes, edges } => format!("a graph of {} nodes and {} edges", nodes.len(), edges.len()),
            Drawing::Histogram { value, samples, .. } => {
                format!("a histogram of {}{}", value.label, names(samples.iter().map(|s| &s.name).collect()))
            }
            Drawing::Images { rows } => {
                format!("a grid of images{}", names(rows.iter().flatten().map(|tile| &tile.caption).collect()))
            }
        };
        format!("{}. Shown as {kind}", self.title)
    }

    fn body(&self) -> Body<'_> {
        match &self.drawing {
            Drawing::Lines { x, y, series } => chart::lines(x, y, series),
            Drawing::Scatter { x, y, series } => chart::scatter(x, y, series),
            Drawing::Bars { value, categories, series } => chart::bars(value, categories, series),
            Drawing::HeatMap { columns, rows, values } => heat_map::heat_map(columns, rows, values),
            Drawing::Graph { nodes, edges } => graph::graph(nodes, edges),
            Drawing::Histogram { value, bins, samples } => histogram::histogram(value, *bins, samples),
            Drawing::Images { rows } => images::images(rows),
        }
    }

    fn svg_with_style(&self, name: &str, remark: &str, style: &str) -> Result<String, Error> {
        self.check(name)?;
        let body = self.body();
        let titles = wrapped(&self.title, TITLE_SIZE, WIDTH - 2.0 * MARGIN);
        let remarks = usize::from(!remark.is_empty());
        let legend = legend_rows(&body.legend);
        let top = MARGIN + titles.len() as f64 * 20.0 + remarks as f64 * 18.0;
        let body_top = top + legend.len() as f64 * LEGEND_ROW + 6.0;
        let height = body_top + body.height;
        let drawn = paint(WIDTH, height, |canvas| {
            canvas.rectangle((0.0, 0.0), (WIDTH, height), Tone::Ground, 1.0);
            for (index, line) in titles.iter().enumerate() {
                canvas.text((MARGIN, MARGIN + 8.0 + index as f64 * 20.0), line, TITLE_SIZE, Tone::Ink, Anchor::Start);
            }
            if !remark.is_empty() {
                canvas.text((MARGIN, top - 10.0), remark, TEXT_SIZE, Tone::Synthetic, Anchor::Start);
            }
            draw_legend(canvas, &legend, top + LEGEND_ROW / 2.0);
            (body.draw)(canvas, body_top);
        });
        let svg = drawn.map_err(|reason| Error::Plot { name: name.to_owned(), reason })?;
        let inner = svg.split_once('\n').map_or("", |(_, inner)| inner);
        let remark = if remark.is_empty() { String::new() } else { format!(" ({remark})") };
        let title = crate::report_files::escape_html(&format!("{}{remark}", self.alternative_text()));
        Ok(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" role=\"img\" aria-label=\"{title}\" \
             width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {} {}\">\n<title>{title}</title>\n{style}{inner}",
            WIDTH * 4.0,
            height * 4.0,
        ))
    }
}

struct LegendItem {
    left: f64,
    series: usize,
    name: String,
    sign: LegendSign,
}

/// Places the names in rows. A lone series has no legend: the title and the axes name it.
fn legend_rows(names: &[(String, LegendSign)]) -> Vec<Vec<LegendItem>> {
    let mut rows: Vec<Vec<LegendItem>> = Vec::new();
    let mut left = WIDTH;
    for (series, (name, sign)) in names.iter().enumerate().filter(|_| names.len() > 1) {
        let name = super::canvas::fitted(name, TEXT_SIZE, WIDTH / 2.0);
        let width = 26.0 + text_width(&name, TEXT_SIZE) + 14.0;
        if left + width > WIDTH - MARGIN {
            rows.push(Vec::new());
            left = MARGIN;
        }
        if let Some(row) = rows.last_mut() {
            row.push(LegendItem { left, series, name, sign: *sign });
        }
        left += width;
    }
    rows
}

fn draw_legend(canvas: &mut Canvas<'_>, rows: &[Vec<LegendItem>], first_height: f64) {
    for (index, row) in rows.iter().enumerate() {
        let height = first_height + index as f64 * LEGEND_ROW;
        for LegendItem { left, series, name, sign } in row {
            let tone = Tone::Series(*series);
            if *sign == LegendSign::Line {
                canvas.line((*left, height), (left + 20.0, height), tone, 2.0);
            }
            match sign {
                LegendSign::Line | LegendSign::Point => {
                    canvas.sign((left + 10.0, height), Sign::of_series(*series), tone);
                }
                LegendSign::Box => canvas.rectangle((left + 6.0, height - 5.0), (left + 18.0, height + 5.0), tone, 1.0),
            }
            canvas.text((left + 25.0, height), name, TEXT_SIZE, Tone::Ink, Anchor::Start);
        }
    }
}
