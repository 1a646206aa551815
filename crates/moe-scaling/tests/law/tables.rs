//! Tables of losses as CSV and JSON.

use crate::{noise, truth};
use moe_scaling::Error;
use moe_scaling::law::{Analysis, Columns, FitConfig, Form, Point, Table, analyse, predictions, write_predictions};
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_text_is_a_table_or_an_error(text in "[NELx0-9.,;\n\" eE-]{0,120}") {
        let _ = Table::read_csv(text.as_bytes(), &Columns::default());
        let with_header = format!("N,E,loss\n{text}");
        let _ = Table::read_csv(with_header.as_bytes(), &Columns::default());
    }
}

#[test]
fn tables_are_read_and_written() {
    let text = "router, N, E, loss\nS-Base, 1.5e7, 4, 3.1\nHash,15000000,8,3.2\nS-Base,3e7,4,2.9\nDense,3e7,1,3.3\n";
    let table = Table::read_csv(text.as_bytes(), &Columns::default()).unwrap();
    assert_eq!(table.series(), ["S-Base", "Hash", "Dense"]);
    assert_eq!(table.points("S-Base"), [Point::new(1.5e7, 4., 3.1), Point::new(3e7, 4., 2.9)]);
    assert_eq!(table.points_with_dense("Hash", "Dense").len(), 2);
    let mut written = Vec::new();
    table.write_csv(&mut written).unwrap();
    assert_eq!(Table::read_csv(&written[..], &Columns::default()).unwrap(), table);
    let json = serde_json::to_string(&table).unwrap();
    assert_eq!(serde_json::from_str::<Table>(&json).unwrap(), table);
    let columns = Columns { size: Some("E".into()), experts: Some("N".into()), ..Columns::default() };
    assert_eq!(Table::read_csv(text.as_bytes(), &columns).unwrap().rows[0].point.size, 4.);

    let points = crate::table(&truth(), noise);
    let analysis = analyse(&points, Form::Saturating, &FitConfig::default(), 40, 0.95, 0).unwrap();
    let json = serde_json::to_string(&analysis).unwrap();
    assert_eq!(serde_json::from_str::<Analysis>(&json).unwrap(), analysis);
    assert_eq!(analysis.intervals.len(), 6);
    let mut written = Vec::new();
    write_predictions(&predictions(&analysis.fit.law, &points), &mut written).unwrap();
    let written = String::from_utf8(written).unwrap();
    assert!(written.starts_with("size,experts,loss,predicted,effective_parameter_count\n"), "{written}");
    assert_eq!(written.lines().count(), points.len() + 1);
}

#[test]
fn wrong_tables_are_errors_that_say_where() {
    for (text, expected) in [
        ("", "no column named size"),
        ("N,loss\n1,2\n", "no column named experts"),
        ("N,E,loss\n1e6,0.5,3\n", "line 2: experts is 0.5"),
        ("N,E,loss\n-1e6,1,3\n", "line 2: size is -1000000"),
        ("N,E,loss\n1e6,1,3\n0,1,3\n", "line 3: size is 0"),
        ("N,E,loss\n1e6,1,nan\n", "line 2: loss is NaN"),
        ("N,E,loss\n1e6,1,inf\n", "line 2: loss is inf"),
        ("N,E,loss\n1e6,1,\n", "line 2: loss is \"\""),
        ("N,E,loss\n1e6,1,3,4\n", "cannot be read"),
        ("N,E,loss,weight\n1e6,1,3,-1\n", "weight is -1"),
        (
            "N,E,loss,weight\n1e6,1,3,nan\n",
            "line 2: weight is NaN, expected a finite number of at least 0 (column \"weight\")",
        ),
        ("N,E,loss\n1e6,1,3\n1e6,2,-3\n", "line 3: loss is -3, expected a finite number above 0 (column \"loss\")"),
        ("N,E,loss\n1e6,0,3\n", "line 2: experts is 0, expected a finite number of at least 1 (column \"E\")"),
        ("N,E,loss\ninf,1,3\n", "line 2: size is inf, expected a finite number above 0 (column \"N\")"),
        ("N,E,loss\n1e999,1,3\n", "line 2: size is inf"),
        ("N,E,loss\nNaN,1,3\n", "line 2: size is NaN"),
        ("N,E,loss\n1e6,-inf,3\n", "line 2: experts is -inf"),
        ("N,E,loss\n1e6,1,NA\n", "line 2: loss is \"NA\", expected a number (column \"loss\")"),
        ("N,E,loss,E\n1e6,1,3,1\n", "2 columns named \"E\""),
        ("N;E;loss\n1e6;1;3\n", "separated by commas"),
    ] {
        let error = Table::read_csv(text.as_bytes(), &Columns::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    // long texts are quoted in part
    let text = format!("N,E,loss\n{},1,3\n", "x".repeat(100_000));
    let error = Table::read_csv(text.as_bytes(), &Columns::default()).unwrap_err().to_string();
    assert!(error.len() < 300, "{}", error.len());
    let columns = Columns { weight: Some("w".into()), ..Columns::default() };
    let error = Table::read_csv(&b"N,E,loss\n1e6,1,3\n"[..], &columns).unwrap_err();
    assert!(matches!(error, Error::MissingColumn { .. }), "{error}");
}
