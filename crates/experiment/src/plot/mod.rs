//! Plots as plain data, drawn as SVG with real text, with their numbers beside them as CSV.

mod body;
mod canvas;
mod chart;
mod check;
mod frame;
mod graph;
mod heat_map;
mod histogram;
mod images;
mod numbers;
mod png;
mod sheet;
#[cfg(test)]
mod tests;
mod ticks;
mod tile;

pub(crate) use canvas::PLOT_STYLE;
pub use tile::Tile;

/// A plot. Build one with [`Plot::lines`], [`Plot::scatter`], [`Plot::bars`], [`Plot::heat_map`], [`Plot::graph`],
/// [`Plot::histogram`] or [`Plot::images`]. Points that are not finite are left out of the drawing and stay in the CSV.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    pub(crate) drawing: Drawing,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Drawing {
    Lines { x: Axis, y: Axis, series: Vec<Series> },
    Scatter { x: Axis, y: Axis, series: Vec<Series> },
    Bars { value: Axis, categories: Vec<String>, series: Vec<Bars> },
    HeatMap { columns: Vec<String>, rows: Vec<String>, values: Vec<Vec<f64>> },
    Graph { nodes: Vec<Node>, edges: Vec<(usize, usize)> },
    Histogram { value: Axis, bins: usize, samples: Vec<Samples> },
    Images { rows: Vec<Vec<Tile>> },
}

/// An axis: its label and its scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub(crate) label: String,
    pub(crate) is_logarithmic: bool,
}

/// Points `(x[i], y[i])` under one name, with an interval of y around each when given.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub(crate) name: String,
    pub(crate) x: Vec<f64>,
    pub(crate) y: Vec<f64>,
    pub(crate) interval: Option<(Vec<f64>, Vec<f64>)>,
}

/// One bar per category under one name, with error bars of half width `errors[i]` when given.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
    pub(crate) errors: Option<Vec<f64>>,
}

/// Values under one name, to be counted in the bins of a histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
}

/// A node of a drawn graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Horizontal position, in any unit: the drawing is scaled to fit.
    pub x: f64,
    /// Vertical position, upwards, in the unit of `x`.
    pub y: f64,
    /// Nodes of one cluster share a colour.
    pub cluster: usize,
    /// Text beside the node; may be empty.
    pub label: String,
}

impl Axis {
    /// A linear axis.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), is_logarithmic: false }
    }

    /// A logarithmic axis, base 10. Values of 0 and below are left out of the drawing.
    pub fn log(label: impl Into<String>) -> Self {
        Self { label: label.into(), is_logarithmic: true }
    }
}

impl Series {
    /// Points `(x[i], y[i])`; both must have the same length, which [`Context::plot`](crate::Context::plot) checks.
    pub fn new(name: impl Into<String>, x: Vec<f64>, y: Vec<f64>) -> Self {
        Self { name: name.into(), x, y, interval: None }
    }

    /// Adds the interval `[lower[i], upper[i]]` around each point.
    pub fn interval(self, lower: Vec<f64>, upper: Vec<f64>) -> Self {
        Self { interval: Some((lower, upper)), ..self }
    }

    /// Adds the interval `[y[i] - half_width[i], y[i] + half_width[i]]` around each point.
    pub fn spread(self, half_width: &[f64]) -> Self {
        let pairs = || self.y.iter().zip(half_width);
        let lower = pairs().map(|(y, half)| y - half).collect();
        let upper = pairs().map(|(y, half)| y + half).collect();
        self.interval(lower, upper)
    }
}

impl Bars {
    /// One bar per category.
    pub fn new(name: impl Into<String>, values: Vec<f64>) -> Self {
        Self { name: name.into(), values, errors: None }
    }

    /// Adds error bars `values[i] ± errors[i]`.
    pub fn errors(self, errors: Vec<f64>) -> Self {
        Self { errors: Some(errors), ..self }
    }
}

impl Samples {
    /// Values to be counted.
    pub fn new(name: impl Into<String>, values: Vec<f64>) -> Self {
        Self { name: name.into(), values }
    }
}

impl Plot {
    fn of(title: impl Into<String>, drawing: Drawing) -> Self {
        Self { title: title.into(), description: None, drawing }
    }

    /// Lines through points, with a band around each line that has an interval.
    pub fn lines(title: impl Into<String>, x: Axis, y: Axis, series: Vec<Series>) -> Self {
        Self::of(title, Drawing::Lines { x, y, series })
    }

    /// Points, with an error bar on each that has an interval.
    pub fn scatter(title: impl Into<String>, x: Axis, y: Axis, series: Vec<Series>) -> Self {
        Self::of(title, Drawing::Scatter { x, y, series })
    }

    /// Horizontal bars from 0, grouped by category; each of `series` has one value per category.
    pub fn bars(title: impl Into<String>, value: Axis, categories: Vec<String>, series: Vec<Bars>) -> Self {
        Self::of(title, Drawing::Bars { value, categories, series })
    }

    /// A heat map of `values[row][column]`, the first row on top.
    pub fn heat_map(title: impl Into<String>, columns: Vec<String>, rows: Vec<String>, values: Vec<Vec<f64>>) -> Self {
        Self::of(title, Drawing::HeatMap { columns, rows, values })
    }

    /// A graph: nodes at their positions, coloured by cluster, joined by `edges` of node indices.
    pub fn graph(title: impl Into<String>, nodes: Vec<Node>, edges: Vec<(usize, usize)>) -> Self {
        Self::of(title, Drawing::Graph { nodes, edges })
    }

    /// Counts of values in `bins` bins of equal width that `samples` share.
    pub fn histogram(title: impl Into<String>, value: Axis, bins: usize, samples: Vec<Samples>) -> Self {
        Self::of(title, Drawing::Histogram { value, bins, samples })
    }

    /// A grid of images, the first row on top, each with its caption below. Rows may differ in length; the longest, of
    /// at most 20 images, sets the size. The SVG holds the images within itself, the CSV a summary of each.
    pub fn images(title: impl Into<String>, rows: Vec<Vec<Tile>>) -> Self {
        Self::of(title, Drawing::Images { rows })
    }

    /// Says in words what is to be seen, for those who do not see it. Default: a sentence made from the title and labels.
    pub fn description(self, text: impl Into<String>) -> Self {
        Self { description: Some(text.into()), ..self }
    }
}
