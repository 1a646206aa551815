//! Bank Marketing and Electricity as features, and as the bytes that are hashed.

use adversarial::bagging::fnv_1a;
use datasets::archive::{self, Limits};
use datasets::table::{self, TableConfig};
use datasets::{Result, Store};

/// A data set of rows.
pub(crate) struct Tabular {
    pub(crate) width: usize,
    pub(crate) features: Vec<f32>,
    pub(crate) labels: Vec<u16>,
    /// What is hashed: the row as it stands in the file, without the label.
    pub(crate) contents: Vec<Vec<u8>>,
    /// Columns that are standardised by each sub-trainset's own statistics.
    pub(crate) standardised: Vec<usize>,
}

fn wrong(what: String) -> datasets::Error {
    datasets::Error::InvalidData { format: "table", position: "a cell".into(), reason: what }
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const EDUCATION: [&str; 4] = ["unknown", "primary", "secondary", "tertiary"];
const NUMBERS: [&str; 7] = ["age", "balance", "day", "duration", "campaign", "pdays", "previous"];
/// Categories with the first one, which has no column of its own, left out.
const CATEGORIES: [(&str, &[&str]); 4] = [
    (
        "job",
        &[
            "blue-collar",
            "entrepreneur",
            "housemaid",
            "management",
            "retired",
            "self-employed",
            "services",
            "student",
            "technician",
            "unemployed",
            "unknown",
        ],
    ),
    ("marital", &["married", "single"]),
    ("contact", &["telephone"]),
    ("poutcome", &["success", "unknown"]),
];

/// Bank Marketing: 45,211 calls, 28 features, class 1 for a deposit.
pub(crate) fn bank(store: &Store) -> Result<Tabular> {
    let path = store.any_file("bank-marketing", &["bank.zip", "bank+marketing.zip"])?;
    let bytes =
        std::fs::read(&path).map_err(|source| datasets::Error::Io { action: "read", path: path.clone(), source })?;
    let limits = Limits::default();
    let csv = match archive::member(&bytes, "bank-full.csv", &limits) {
        Ok(csv) => csv,
        Err(_) => archive::member(&archive::member(&bytes, "bank.zip", &limits)?, "bank-full.csv", &limits)?,
    };
    let table = table::parse_text(&csv, &TableConfig { delimiter: b';', ..TableConfig::default() })?;
    let column = |name: &str| {
        table.columns.iter().position(|column| column == name).ok_or_else(|| wrong(format!("no column {name}")))
    };
    let numbers = NUMBERS.map(column).into_iter().collect::<Result<Vec<_>>>()?;
    let flags = ["default", "housing", "loan"].map(column).into_iter().collect::<Result<Vec<_>>>()?;
    let categories = CATEGORIES.map(|(name, _)| column(name)).into_iter().collect::<Result<Vec<_>>>()?;
    let (month, education, pdays, class) = (column("month")?, column("education")?, column("pdays")?, column("y")?);
    let position = |list: &[&str], text: &str| {
        list.iter().position(|item| *item == text).ok_or_else(|| wrong(format!("{text:?} is none of {list:?}")))
    };
    let mut tabular = Tabular {
        width: 28,
        features: Vec::with_capacity(28 * table.rows.len()),
        labels: Vec::new(),
        contents: Vec::new(),
        standardised: (0..NUMBERS.len()).collect(),
    };
    for row in &table.rows {
        let content = row[..class].join(";").into_bytes();
        for &at in &numbers {
            tabular.features.push(row[at].parse().map_err(|_| wrong(format!("{:?} is no number", row[at])))?);
        }
        tabular.features.extend(flags.iter().map(|&at| f32::from(row[at] == "yes")));
        tabular.features.push(1. + position(&MONTHS, &row[month])? as f32);
        tabular.features.push(position(&EDUCATION, &row[education])? as f32);
        for (&at, (name, levels)) in categories.iter().zip(CATEGORIES) {
            let level = match (name, row[at].as_str()) {
                // a draw that belongs to the row: the certificate needs features that depend on nothing else
                ("contact", "unknown") if (fnv_1a(&content, 0) % 1000) < 774 => "cellular",
                ("contact", "unknown") => "telephone",
                ("poutcome", "unknown") if row[pdays] != "-1" => "failure",
                ("poutcome", "other") => "failure",
                (_, level) => level,
            };
            tabular.features.extend(levels.iter().map(|other| f32::from(*other == level)));
        }
        tabular.labels.push(u16::from(row[class] == "yes"));
        tabular.contents.push(content);
    }
    Ok(tabular)
}

/// Electricity: 45,312 half-hours, 7 features, class 1 where the price falls.
pub(crate) fn electricity(store: &Store) -> Result<Tabular> {
    let bytes = archive::read(&store.any_file("electricity", &["elec.csv.gz", "elec.csv"])?)?;
    let table = table::parse_numeric(&bytes, &TableConfig::default())?;
    let class =
        table.columns.iter().position(|column| column == "class").ok_or_else(|| wrong("no column class".into()))?;
    let num_features = table.columns.len() - 1;
    let mut tabular = Tabular {
        width: num_features + 1,
        features: Vec::new(),
        labels: Vec::new(),
        contents: Vec::new(),
        // all but the day of the week, which is added last
        standardised: (0..num_features).collect(),
    };
    for (at, row) in table.values.chunks_exact(num_features + 1).enumerate() {
        let day = ((at / 48) + 1) % 7 + 1;
        let mut content = Vec::new();
        for (_, &value) in row.iter().enumerate().filter(|(column, _)| *column != class) {
            tabular.features.push(value as f32);
            content.extend(value.to_le_bytes());
        }
        tabular.features.push(day as f32);
        content.push(day as u8);
        tabular.contents.push(content);
        tabular.labels.push(u16::from(row[class] == 0.));
    }
    Ok(tabular)
}
