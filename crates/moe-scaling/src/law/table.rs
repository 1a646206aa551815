//! Tables of measured losses.

use super::points::Point;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};

/// A point and its series, such as the router of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The name of the series; empty if the table has no such column.
    #[serde(default)]
    pub series: String,
    /// The measured loss.
    #[serde(flatten)]
    pub point: Point,
}

/// The names of the columns for [`Table::read_csv`]; `None` accepts any of the default names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// Default: the first column named `size`, `N`, `parameters`, `dense_parameter_count` or `F`.
    pub size: Option<String>,
    /// Default: the first column named `experts`, `E`, `num_experts` or `B`.
    pub experts: Option<String>,
    /// Default: the first column named `loss`, `L`, `loss_validation` or `validation_loss`.
    pub loss: Option<String>,
    /// Default: the first column named `series`, `router` or `router_type`; without one all rows are one series.
    pub series: Option<String>,
    /// Default: the column named `weight`; without it every weight is 1.
    pub weight: Option<String>,
}

const SIZE: &[&str] = &["size", "N", "parameters", "dense_parameter_count", "F"];
const EXPERTS: &[&str] = &["experts", "E", "num_experts", "B"];
const LOSS: &[&str] = &["loss", "L", "loss_validation", "validation_loss"];
const SERIES: &[&str] = &["series", "router", "router_type"];
const WEIGHT: &[&str] = &["weight"];

fn missing_column(names: &[&str], header: &csv::StringRecord) -> Error {
    let mut got = header.iter().take(20).map(short).collect::<Vec<_>>().join(", ");
    if header.len() == 1 && header.iter().any(|name| name.contains([';', '\t'])) {
        got += "; columns must be separated by commas";
    }
    Error::MissingColumn { expected: names.join(" or "), got }
}

/// A text in quotes, at most 100 characters of it.
fn short(text: &str) -> String {
    format!("{:?}", text.chars().take(100).collect::<String>())
}

/// A table of measured losses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// In the order of the file.
    pub rows: Vec<Row>,
}

impl Table {
    /// Reads comma-separated values. The first line is a header.
    ///
    /// # Errors
    ///
    /// When a column is missing or its name occurs twice, a row is not as long as the header, or a cell is not a number in range: sizes and losses must be positive, experts at
    /// least 1, and all finite. The error names the line and the column.
    pub fn read_csv(reader: impl Read, columns: &Columns) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(reader);
        let header = reader.headers()?.clone();
        let find = |name: &Option<String>, defaults: &'static [&'static str]| {
            let found = match name {
                Some(name) => {
                    header.iter().position(|column| column == name).ok_or_else(|| missing_column(&[name], &header))
                }
                None => header
                    .iter()
                    .position(|column| defaults.contains(&column))
                    .ok_or_else(|| missing_column(defaults, &header)),
            }?;
            let count = header.iter().filter(|column| *column == &header[found]).count();
            if count > 1 {
                return Err(Error::DuplicateColumn { name: header[found].chars().take(100).collect(), count });
            }
            Ok(found)
        };
        let optional = |name: &Option<String>, defaults| match (name, find(name, defaults)) {
            (None, Err(Error::MissingColumn { .. })) => Ok(None),
            (_, found) => found.map(Some),
        };
        let (size, experts, loss) =
            (find(&columns.size, SIZE)?, find(&columns.experts, EXPERTS)?, find(&columns.loss, LOSS)?);
        let (series, weight) = (optional(&columns.series, SERIES)?, optional(&columns.weight, WEIGHT)?);
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record?;
            let line = record.position().map_or(0, |position| position.line() as usize);
            let invalid = |at: usize, quantity, got: String, expected| {
                let column = header.get(at).unwrap_or_default().chars().take(100).collect();
                Error::InvalidCell { line, column, quantity, got, expected }
            };
            let number = |at: usize, quantity: &'static str| {
                let text = record.get(at).unwrap_or_default();
                text.parse::<f64>().map_err(|_| invalid(at, quantity, short(text), "a number"))
            };
            let weight_column = weight;
            let weight = weight.map_or(Ok(1.), |at| number(at, "weight"))?;
            let point = Point {
                size: number(size, "size")?,
                experts: number(experts, "experts")?,
                loss: number(loss, "loss")?,
                weight,
            };
            if let Some((quantity, got, expected)) = point.fault() {
                let at = match quantity {
                    "size" => size,
                    "experts" => experts,
                    "loss" => loss,
                    _ => weight_column.unwrap_or(loss),
                };
                return Err(invalid(at, quantity, got.to_string(), expected));
            }
            rows.push(Row { series: series.and_then(|at| record.get(at)).unwrap_or_default().to_owned(), point });
        }
        Ok(Self { rows })
    }

    /// Writes `series,size,experts,loss,weight`, which [`Self::read_csv`] reads with default columns.
    ///
    /// # Errors
    ///
    /// When the writer fails.
    pub fn write_csv(&self, writer: impl Write) -> Result<()> {
        let mut writer = csv::Writer::from_writer(writer);
        writer.write_record(["series", "size", "experts", "loss", "weight"])?;
        for Row { series, point } in &self.rows {
            let numbers = [point.size, point.experts, point.loss, point.weight].map(|number| number.to_string());
            writer.write_record(std::iter::once(series.as_str()).chain(numbers.iter().map(String::as_str)))?;
        }
        writer.flush().map_err(|error| Error::Csv(error.into()))
    }

    /// The names of the series, in the order of first appearance.
    pub fn series(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !names.contains(&row.series.as_str()) {
                names.push(&row.series);
            }
        }
        names
    }

    /// The points of a series, in the order of the rows.
    pub fn points(&self, series: &str) -> Vec<Point> {
        self.rows.iter().filter(|row| row.series == series).map(|row| row.point).collect()
    }

    /// The points of a series and the dense points (`E = 1`) of the series `dense`, which all routers share.
    pub fn points_with_dense(&self, series: &str, dense: &str) -> Vec<Point> {
        let belongs = |row: &&Row| row.series == series || (row.series == dense && row.point.experts == 1.);
        self.rows.iter().filter(belongs).map(|row| row.point).collect()
    }
}
