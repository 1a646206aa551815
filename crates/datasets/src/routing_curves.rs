//! The losses of 223 dense and routed language models (Clark et al., ICML 2022) along their training.

use crate::archive;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::table::{TableConfig, parse_text};
use crate::text::quoted;
use std::collections::BTreeMap;

const FORMAT: &str = "routing curves";

/// How a model was routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Router {
    /// Not at all.
    Dense,
    /// Sinkhorn-balanced assignment.
    SBase,
    /// Reinforcement learning.
    RlR,
    /// By a hash of the token.
    Hash,
}

impl Router {
    /// As the file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dense => "Dense",
            Self::SBase => "S-Base",
            Self::RlR => "RL-R",
            Self::Hash => "Hash",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Dense, Self::SBase, Self::RlR, Self::Hash].into_iter().find(|router| router.name() == name)
    }
}

/// One evaluation of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The training run.
    pub hyper_id: u32,
    /// Steps of 2^19 tokens taken.
    pub step: u64,
    /// Cross-entropy on the validation set, nats per token; missing in eight rows that are not the last of their run.
    pub loss_validation: Option<f64>,
    /// Experts of a routed layer; 1 for a dense model.
    pub num_experts: u32,
    /// Width.
    pub d_model: u32,
    /// Transformer blocks.
    pub num_blocks: u32,
    /// Attention heads.
    pub num_heads: u32,
    /// Width of a head.
    pub kqv_size: u32,
    /// How many times as wide a dense model's feed-forward layers are at the routed positions.
    pub flop_increase: f64,
    /// Experts for each token.
    pub k: u32,
    /// The router.
    pub router: Router,
    /// Seed.
    pub seed: u64,
    /// Fraction of blocks that are routed; means nothing for a dense model.
    pub routing_frequency: f64,
    /// All parameters, without embeddings.
    pub total_parameters: f64,
    /// Parameters of the dense model of this shape, without embeddings.
    pub dense_parameters: f64,
    /// Forward flops of 2^19 tokens.
    pub flops_per_step: f64,
    /// The size's name: `15M` to `1.3B`.
    pub size_label: String,
}

/// All evaluations, by run and step.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// In the order of `hyper_id`, then `step`.
    pub rows: Vec<Evaluation>,
}

impl Curves {
    /// The last row of each run.
    pub fn last(&self) -> Vec<&Evaluation> {
        self.until(u64::MAX)
    }

    /// For each run its last row that is at most this far; none for a run that begins later.
    pub fn until(&self, step: u64) -> Vec<&Evaluation> {
        let mut last = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.step <= step) {
            last.insert(row.hyper_id, row);
        }
        last.into_values().collect()
    }
}

/// Loads `routing-curves`.
///
/// # Errors
/// What [`Store::file`] and [`parse`] report.
pub fn load(store: &Store) -> Result<Curves> {
    parse(archive::read_text(&store.file("routing-curves", "curves.csv.gz")?)?.as_bytes())
}

/// Reads the CSV; columns are found by their names.
///
/// # Errors
/// [`Error::InvalidData`] naming row and column: a missing column, a cell that is no number of the right kind, an unknown router, a run and step that occur twice,
/// a size or loss that is not positive.
pub fn parse(bytes: &[u8]) -> Result<Curves> {
    let table = parse_text(bytes, &TableConfig::default())?;
    let position = |name: &str| {
        let found = table.columns.iter().position(|column| column == name);
        found.ok_or_else(|| Error::invalid_data(FORMAT, "the header", format!("no column `{name}`")))
    };
    const NUMBERS: [&str; 14] = [
        "hyper_id",
        "step",
        "num_experts",
        "d_model",
        "num_blocks",
        "num_heads",
        "kqv_size",
        "k",
        "seed",
        "flop_increase",
        "routing_frequency",
        "total_parameter_count",
        "dense_parameter_count",
        "flops_per_step",
    ];
    let columns = NUMBERS.iter().map(|name| position(name)).collect::<Result<Vec<_>>>()?;
    let (loss, router, label) = (position("loss_validation")?, position("router_type")?, position("model_size_label")?);
    let mut rows = Vec::with_capacity(table.rows.len());
    for (index, cells) in table.rows.iter().enumerate() {
        let wrong = |name: &str, cell: &str, expected: &str| {
            Error::invalid_data(
                FORMAT,
                format!("row {index}, column `{name}`"),
                format!("\"{}\", expected {expected}", quoted(cell)),
            )
        };
        let number = |at: usize| {
            let (name, cell) = (NUMBERS[at], cells[columns[at]].trim());
            let value = cell.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.);
            value.ok_or_else(|| wrong(name, cell, "a number of at least 0"))
        };
        // counts may be written like `512.0`
        let count = |at: usize| {
            let value = number(at)?;
            let is_count = value.fract() == 0. && value <= f64::from(u32::MAX);
            if is_count { Ok(value as u32) } else { Err(wrong(NUMBERS[at], &cells[columns[at]], "a whole number")) }
        };
        let positive = |at: usize| {
            let value = number(at)?;
            if value > 0. { Ok(value) } else { Err(wrong(NUMBERS[at], &cells[columns[at]], "a number above 0")) }
        };
        let loss_validation = match cells[loss].trim() {
            "" => None,
            cell => {
                let value = cell.parse::<f64>().ok().filter(|value| value.is_finite() && *value > 0.);
                Some(value.ok_or_else(|| wrong("loss_validation", cell, "a number above 0, or nothing"))?)
            }
        };
        let name = cells[router].trim();
        rows.push(Evaluation {
            hyper_id: count(0)?,
            step: count(1)?.into(),
            loss_validation,
            num_experts: count(2)?,
            d_model: count(3)?,
            num_blocks: count(4)?,
            num_heads: count(5)?,
            kqv_size: count(6)?,
            k: count(7)?,
            seed: count(8)?.into(),
            flop_increase: number(9)?,
            routing_frequency: number(10)?,
            total_parameters: positive(11)?,
            dense_parameters: positive(12)?,
            flops_per_step: positive(13)?,
            router: Router::parse(name).ok_or_else(|| wrong("router_type", name, "Dense, S-Base, RL-R or Hash"))?,
            size_label: cells[label].trim().to_owned(),
        });
    }
    rows.sort_by_key(|row| (row.hyper_id, row.step));
    for pair in rows.windows(2) {
        if (pair[0].hyper_id, pair[0].step) == (pair[1].hyper_id, pair[1].step) {
            let place = format!("run {}, step {}", pair[0].hyper_id, pair[0].step);
            return Err(Error::invalid_data(FORMAT, place, "occurs twice"));
        }
    }
    Ok(Curves { rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "hyper_id,step,loss_validation,num_experts,d_model,num_blocks,num_heads,kqv_size,flop_increase,k,router_type,seed,\
                          routing_frequency,total_parameter_count,dense_parameter_count,flops_per_step,model_size_label";

    fn row(id: u32, step: u32, loss: &str, router: &str) -> String {
        format!("\n{id},{step},{loss},4,512,6,8,32,1.0,1.0,{router},42,0.5,2e7,1.6e7,5.5e14,15M")
    }

    #[test]
    fn the_last_row_is_taken_whole() {
        let text = [HEADER, &row(3, 20, "", "Hash"), &row(3, 10, "4.5", "Hash"), &row(1, 10, "3.5", "S-Base")].concat();
        let curves = parse(text.as_bytes()).unwrap();
        let last = curves.last();
        assert_eq!(last.iter().map(|row| (row.hyper_id, row.step)).collect::<Vec<_>>(), [(1, 10), (3, 20)]);
        assert_eq!((last[1].loss_validation, last[1].k, last[0].router), (None, 1, Router::SBase));
        assert_eq!(curves.until(15)[1].loss_validation, Some(4.5));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            (HEADER.replace("seed", "sed"), "`seed`"),
            ([HEADER, &row(1, 10, "-1", "Hash")].concat(), "loss_validation"),
            ([HEADER, &row(1, 10, "nan", "Hash")].concat(), "loss_validation"),
            ([HEADER, &row(1, 10, "1", "Hsh")].concat(), "router_type"),
            ([HEADER, &row(1, 10, "1", "Hash"), &row(1, 10, "1", "Hash")].concat(), "twice"),
            ([HEADER, &row(1, 10, "1", "Hash").replace(",512,", ",5.5,")].concat(), "d_model"),
            ([HEADER, &row(1, 10, "1", "Hash").replace("2e7", "0")].concat(), "total_parameter_count"),
            (String::new(), "empty"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
