//! Measurements: one point each, and tables of them.

use super::Law;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};

/// The loss of one trained model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The dense parameter count `N`, or the compute `F` in any unit.
    pub size: f64,
    /// The number of experts `E`, or the parameter utilisation `B` relative to a dense model; 1 is dense.
    pub experts: f64,
    /// Cross-entropy, nats per token.
    pub loss: f64,
    /// How much the point counts; 1 is usual, 0 leaves it out.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.
}

impl Point {
    /// A point of weight 1.
    pub fn new(size: f64, experts: f64, loss: f64) -> Self {
        Self { size, experts, loss, weight: 1. }
    }

    /// What is wrong with the numbers, if anything: column and expectation.
    fn fault(&self) -> Option<(&'static str, f64, &'static str)> {
        let positive = |value: f64| value.is_finite() && value > 0.;
        if !positive(self.size) {
            Some(("size", self.size, "a finite number above 0"))
        } else if !(self.experts.is_finite() && self.experts >= 1.) {
            Some(("experts", self.experts, "a finite number of at least 1"))
        } else if !positive(self.loss) {
            Some(("loss", self.loss, "a finite number above 0"))
        } else if !(self.weight.is_finite() && self.weight >= 0.) {
            Some(("weight", self.weight, "a finite number of at least 0"))
        } else {
            None
        }
    }
}

/// All points must be numbers that a law can be fitted to.
pub(crate) fn check(points: &[Point]) -> Result<()> {
    for (index, point) in points.iter().enumerate() {
        if let Some((column, value, expected)) = point.fault() {
            return Err(Error::Value { place: format!("point {index}"), column, value, expected });
        }
    }
    Ok(())
}

/// A point with the series that it belongs to, such as its router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The name of the series; empty when the table has no such column.
    #[serde(default)]
    pub series: String,
    /// The numbers.
    #[serde(flatten)]
    pub point: Point,
}

/// The names of the columns that [`Table::read_csv`] looks for; `None` accepts what is usual.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// Default: `size`, `N`, `parameters`, `dense_parameter_count`, `F`.
    pub size: Option<String>,
    /// Default: `experts`, `E`, `num_experts`, `B`.
    pub experts: Option<String>,
    /// Default: `loss`, `L`, `loss_validation`, `validation_loss`.
    pub loss: Option<String>,
    /// Default: `series`, `router`, `router_type`, or none.
    pub series: Option<String>,
    /// Default: `weight`, or none.
    pub weight: Option<String>,
}

const SIZE: &[&str] = &["size", "N", "parameters", "dense_parameter_count", "F"];
const EXPERTS: &[&str] = &["experts", "E", "num_experts", "B"];
const LOSS: &[&str] = &["loss", "L", "loss_validation", "validation_loss"];
const SERIES: &[&str] = &["series", "router", "router_type"];
const WEIGHT: &[&str] = &["weight"];

/// A table of measurements.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// In the order in which they were read.
    pub rows: Vec<Row>,
}

impl Table {
    /// Reads comma-separated values with a header.
    ///
    /// # Errors
    ///
    /// When a column is missing, a row is not as long as the header, or a cell is not a number that fits (positive sizes and losses, at least
    /// one expert, nothing infinite or NaN); the error names line and column.
    pub fn read_csv(reader: impl Read, columns: &Columns) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(reader);
        let header = reader.headers().map_err(Error::csv)?.clone();
        let find = |wanted: &Option<String>, usual: &'static [&'static str]| match wanted {
            Some(name) => {
                header.iter().position(|column| column == name).ok_or_else(|| Error::missing(&[name], &header))
            }
            None => {
                header.iter().position(|column| usual.contains(&column)).ok_or_else(|| Error::missing(usual, &header))
            }
        };
        let optional = |wanted: &Option<String>, usual| match (wanted, find(wanted, usual)) {
            (None, Err(_)) => Ok(None),
            (_, found) => found.map(Some),
        };
        let (size, experts, loss) =
            (find(&columns.size, SIZE)?, find(&columns.experts, EXPERTS)?, find(&columns.loss, LOSS)?);
        let (series, weight) = (optional(&columns.series, SERIES)?, optional(&columns.weight, WEIGHT)?);
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(Error::csv)?;
            let line = record.position().map_or(0, csv::Position::line);
            let number = |at: usize, column: &'static str| {
                let text = record.get(at).unwrap_or_default();
                text.parse::<f64>().map_err(|_| Error::NotANumber { line, column, text: text.into() })
            };
            let weight = weight.map_or(Ok(1.), |at| number(at, "weight"))?;
            let point = Point {
                size: number(size, "size")?,
                experts: number(experts, "experts")?,
                loss: number(loss, "loss")?,
                weight,
            };
            if let Some((column, value, expected)) = point.fault() {
                return Err(Error::Value { place: format!("line {line}"), column, value, expected });
            }
            rows.push(Row { series: series.and_then(|at| record.get(at)).unwrap_or_default().to_owned(), point });
        }
        Ok(Self { rows })
    }

    /// Writes `series,size,experts,loss,weight`, which [`Self::read_csv`] reads with default columns.
    ///
    /// # Errors
    ///
    /// When `writer` fails.
    pub fn write_csv(&self, writer: impl Write) -> Result<()> {
        let mut writer = csv::Writer::from_writer(writer);
        writer.write_record(["series", "size", "experts", "loss", "weight"]).map_err(Error::csv)?;
        for Row { series, point } in &self.rows {
            let numbers = [point.size, point.experts, point.loss, point.weight].map(|number| number.to_string());
            writer
                .write_record(std::iter::once(series.as_str()).chain(numbers.iter().map(String::as_str)))
                .map_err(Error::csv)?;
        }
        writer.flush().map_err(|error| Error::csv(error.into()))
    }

    /// The names of the series, in the order of their first rows.
    pub fn series(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !names.contains(&row.series.as_str()) {
                names.push(&row.series);
            }
        }
        names
    }

    /// The points of a series, in order.
    pub fn points(&self, series: &str) -> Vec<Point> {
        self.rows.iter().filter(|row| row.series == series).map(|row| row.point).collect()
    }

    /// The points of a series together with the dense points (`E = 1`) of the series `dense`, which every router shares.
    pub fn points_with_dense(&self, series: &str, dense: &str) -> Vec<Point> {
        let belongs = |row: &&Row| row.series == series || (row.series == dense && row.point.experts == 1.);
        self.rows.iter().filter(belongs).map(|row| row.point).collect()
    }
}

/// What a law says about one model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The size asked about.
    pub size: f64,
    /// The number of experts asked about.
    pub experts: f64,
    /// The measured loss, where there is one.
    pub loss: Option<f64>,
    /// The predicted loss, nats per token.
    pub predicted: f64,
    /// The dense model of equal loss.
    pub effective_parameter_count: f64,
}

/// What a law says about each of these points.
pub fn predictions(law: &Law, points: &[Point]) -> Vec<Prediction> {
    let predict = |point: &Point| Prediction {
        size: point.size,
        experts: point.experts,
        loss: Some(point.loss),
        predicted: law.predict(point.size, point.experts),
        effective_parameter_count: law.effective_parameter_count(point.size, point.experts),
    };
    points.iter().map(predict).collect()
}

/// Writes `size,experts,loss,predicted,effective_parameter_count` as CSV.
///
/// # Errors
///
/// When `writer` fails.
pub fn write_predictions(predictions: &[Prediction], writer: impl Write) -> Result<()> {
    let mut writer = csv::Writer::from_writer(writer);
    for prediction in predictions {
        writer.serialize(prediction).map_err(Error::csv)?;
    }
    writer.flush().map_err(|error| Error::csv(error.into()))
}
