//! The numbers of a plot as CSV.

use super::{Drawing, Plot, Tile};
use crate::statistics::mean;

impl Plot {
    /// The raw numbers, one row per point, with a header; of images a summary, one row per image.
    pub fn csv(&self) -> String {
        let mut lines = Vec::new();
        match &self.drawing {
            Drawing::Lines { series, .. } | Drawing::Scatter { series, .. } => {
                lines.push("series,x,y,lower,upper".to_owned());
                for series in series {
                    for (index, (x, y)) in series.x.iter().zip(&series.y).enumerate() {
                        let bound = |bounds: &Vec<f64>| bounds.get(index).map(f64::to_string).unwrap_or_default();
                        let lower = series.interval.as_ref().map(|(lower, _)| bound(lower)).unwrap_or_default();
                        let upper = series.interval.as_ref().map(|(_, upper)| bound(upper)).unwrap_or_default();
                        lines.push(format!("{},{x},{y},{lower},{upper}", field(&series.name)));
                    }
                }
            }
            Drawing::Bars { categories, series, .. } => {
                lines.push("series,category,value,error".to_owned());
                for bars in series {
                    for (index, (category, value)) in categories.iter().zip(&bars.values).enumerate() {
                        let error = bars.errors.as_ref().and_then(|errors| errors.get(index)).map(f64::to_string);
                        let (name, category) = (field(&bars.name), field(category));
                        lines.push(format!("{name},{category},{value},{}", error.unwrap_or_default()));
                    }
                }
            }
            Drawing::HeatMap { columns, rows, values } => {
                lines.push("row,column,value".to_owned());
                for (row, values) in rows.iter().zip(values) {
                    for (column, value) in columns.iter().zip(values) {
                        lines.push(format!("{},{},{value}", field(row), field(column)));
                    }
                }
            }
            Drawing::Graph { nodes, edges } => {
                lines.push("kind,index,x,y,cluster,label,to".to_owned());
                for (index, node) in nodes.iter().enumerate() {
                    let (x, y, cluster) = (node.x, node.y, node.cluster);
                    lines.push(format!("node,{index},{x},{y},{cluster},{},", field(&node.label)));
                }
                lines.extend(edges.iter().map(|(from, to)| format!("edge,{from},,,,,{to}")));
            }
            Drawing::Histogram { samples, .. } => {
                lines.push("series,value".to_owned());
                for samples in samples {
                    lines.extend(samples.values.iter().map(|value| format!("{},{value}", field(&samples.name))));
                }
            }
            Drawing::Images { rows } => {
                lines.push("row,column,caption,channels,height,width,min,max,mean,not_finite".to_owned());
                for (row, tiles) in rows.iter().enumerate() {
                    lines.extend(tiles.iter().enumerate().map(|(column, tile)| summary(row, column, tile)));
                }
            }
        }
        lines.join("\n") + "\n"
    }
}

/// Where an image is, its size, the extremes and the mean of its finite values (NaN when there are none), and how many
/// others there are. Of a perturbation these are the values before they were scaled.
fn summary(row: usize, column: usize, tile: &Tile) -> String {
    let ([channels, height, width], caption) = (tile.shape, field(&tile.caption));
    let finite: Vec<f64> = tile.values.iter().copied().filter(|value| value.is_finite()).collect();
    let (min, max) = finite.iter().fold((f64::NAN, f64::NAN), |(min, max), value| (value.min(min), value.max(max)));
    let (mean, not_finite) = (mean(&finite), tile.values.len() - finite.len());
    format!("{row},{column},{caption},{channels},{height},{width},{min},{max},{mean},{not_finite}")
}

/// Quotes a field when it has to be.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
