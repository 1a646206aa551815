//! How `forecast_csv` reads tables: what it finds out, and what it refuses with line and column.

#![allow(clippy::unwrap_used)]

#[path = "../examples/forecast_csv/cells.rs"]
mod cells;
#[path = "../examples/forecast_csv/readings.rs"]
mod readings;
#[path = "../examples/forecast_csv/times.rs"]
mod times;

use proptest::prelude::*;
use readings::{Clock, Reading, Readings, edges};

fn plain() -> Reading {
    Reading { comment: "#".to_owned(), ..Reading::default() }
}

fn read_with(text: &str, change: impl Fn(&mut Reading)) -> Result<Readings, String> {
    let mut how = plain();
    change(&mut how);
    readings::readings(text.as_bytes(), &how)
}

fn read(text: &str) -> Result<Readings, String> {
    read_with(text, |_| {})
}

/// Values with −1 for missing ones, which do not equal themselves.
fn values(found: &Readings) -> Vec<f64> {
    found.values.iter().map(|x| if x.is_nan() { -1. } else { *x }).collect()
}

#[test]
fn separators_and_comments_are_found_out() {
    let expected = [1.5, 2., 3., 4.];
    for text in ["a,b\n1.5,2\n3,4\n", "a;b\n1.5;2\n3;4\n", "a\tb\r\n1.5\t2\r\n3\t4\r\n", "a|b\n1.5|2\n3|4"] {
        let found = read(text).unwrap();
        assert_eq!((found.names, values(&read(text).unwrap())), (vec!["a".into(), "b".into()], expected.to_vec()));
    }
    // a comment, a byte order mark and empty lines around the table
    let found = read("\u{feff}# made by hand, in spring\n\na,b\n1.5,2\n# more\n3,4\n\n\n").unwrap();
    assert_eq!(values(&found), expected);
    assert!(found.remarks.iter().any(|r| r.contains("2 comment lines are left out")), "{:?}", found.remarks);
    // a header that is a comment, as NumPy writes it
    let found = read("# a,b\n1.5,2\n3,4\n").unwrap();
    assert_eq!((found.names[1].as_str(), values(&found)), ("b", expected.to_vec()));
    assert!(read_with("#a,b\n1,2\n", |how| how.comment.clear()).unwrap().names[0] == "#a");
    // a decimal comma, and a name with a separator in it
    let found = read_with("a;b\n1,5;2\n3;4\n", |how| how.has_decimal_comma = true).unwrap();
    assert_eq!(values(&found), expected);
    let found = read("\"lake, north\",b\n1.5,2\n3,4\n").unwrap();
    assert_eq!((found.names[0].as_str(), values(&found)), ("lake, north", expected.to_vec()));
    let found = read_with("\"lake, north\",b\n1.5,2\n3,4\n", |how| how.skip = vec!["lake, north".into()]).unwrap();
    assert_eq!(values(&found), [2., 4.]);
    let found = read_with("a,b,c\n1,2,3\n", |how| how.skip = vec!["a,c".into()]).unwrap();
    assert_eq!(values(&found), [2.]);
    assert_eq!(cells::separator("auto"), Ok(None));
    assert_eq!(cells::separator("tab"), Ok(Some('\t')));
    for wrong in ["", "ab", "5", "\"", "."] {
        assert!(cells::separator(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn missing_readings_keep_their_rows() {
    // a missing value that begins as comments do is none
    let found = read("a,b\n1,NA\n,n/a\nnull,-\nNaN,None\n3,#N/A\n#N/A,4\n").unwrap();
    assert_eq!(values(&found), [1., -1., -1., -1., -1., -1., -1., -1., 3., -1., -1., 4.]);
    let found =
        read_with("a,b\n1,-999\n-999.0,gone\n", |how| how.missing = vec!["-999".into(), "gone".into()]).unwrap();
    assert_eq!(values(&found), [1., -1., -1., -1.]);
    // one column: an empty line is a missing reading, not a row less; after the end it is nothing
    let found = read("a\n1\n\n3\n\n").unwrap();
    assert_eq!(values(&found), [1., -1., 3.]);
}

#[test]
fn times_and_indices_are_no_sensors() {
    let found = read(",a,b\n0,1,2\n1,3,4\n2,5,6\n").unwrap();
    assert_eq!((found.names.len(), values(&found)), (2, vec![1., 2., 3., 4., 5., 6.]));
    assert!(found.remarks[0].contains("counts the rows"), "{:?}", found.remarks);
    assert!(read(",a\n7,1\n9,2\n").unwrap_err().contains("column 1 has no name"));
    assert!(read("index,a\n0,1\n1,2\n").unwrap().remarks[0].contains("warning: index counts the rows"));
    // a gap of two steps is filled
    let found =
        read("when,a\n2024-02-28 23:30,1\n2024-02-29 00:00,2\n2024-02-29 01:30,5\n2024-02-29 02:00,6\n").unwrap();
    assert_eq!(values(&found), [1., 2., -1., -1., 5., 6.]);
    assert_eq!(found.clock, Some(Clock { first: 1_709_163_000, step: 1800 }));
    assert!(found.remarks.iter().any(|r| r.contains("2 steps of 1800 seconds are missing, the first before line 4")));
    let wrong = |text: &str, expected: &str| {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{text:?}: {error}");
    };
    wrong(
        "t,a\n2024-01-01,1\n2024-01-02,2\n2024-01-02,3\n",
        "line 4: 2024-01-02T00:00:00 is the time of the row before",
    );
    wrong("t,a\n2024-01-02,1\n2024-01-01,2\n2024-01-03,2\n", "line 3: 2024-01-01T00:00:00 is earlier than");
    wrong(
        "t,a\n2024-01-01 00:00,1\n2024-01-01 00:10,2\n2024-01-01 00:20,3\n2024-01-01 00:35,4\n",
        "line 5: 900 seconds",
    );
    wrong("t,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,2\nsoon,2\n", "line 5, column 1: \"soon\", expected a time");
    wrong(
        "t,a\n0001-01-01 00:00,1\n0001-01-01 00:01,2\n0001-01-01 00:02,2\n9999-01-01 00:00,2\n",
        "missing than there are",
    );
    let named = read_with("t,a\n2024-01-01,1\n2024-01-02,2\n", |how| how.time = Some("when".into()));
    assert!(named.unwrap_err().contains("--time when: no such column"));
}

#[test]
fn what_is_wrong_with_a_table_is_said() {
    for (text, expected) in [
        ("", "the file is empty"),
        ("\n# nothing\n\n", "the file is empty"),
        ("a,b,a\n1,2,3\n", "columns 1 and 3 are both called \"a\""),
        ("lake, north,b\n1,2\n", "CSV, line 2: 2 cells, the header has 3; is a name in the header"),
        ("a,b\n1,2\n1,5,2\n", "CSV, line 3: 3 cells, the header has 2; is a number with a decimal comma"),
        ("a;b\n1,5;2\n", "line 2, column 1: a is \"1,5\", expected a number (--decimal-comma"),
        ("a,b\n1,2\n\n3,4\n", "CSV, line 3: an empty line between rows"),
        ("a,b\n1,\"2\n3,4\n", "CSV, line 2: a quote (\") that is not closed"),
        ("a,b\n1,\"2\"3\n", "CSV, line 2: text after a quoted cell"),
        ("a,b\n1,2\n3,inf\n", "line 3, column 2: b is inf, expected a finite number"),
        ("a,b\n1,2\n3,1e999\n", "line 3, column 2: b is 1e999, expected a finite number"),
        ("a,b\n1,2\n3,broken\n5,6\n", "line 3, column 2: b is \"broken\", expected a number (--missing broken"),
        ("a,b\nx,2\ny,4\n", "line 2, column 1: a is \"x\", expected a number (--skip a leaves"),
        ("2024-01-01,a\n", "warning"),
    ] {
        match read(text) {
            Err(error) => assert!(error.contains(expected), "{text:?}: {error}"),
            Ok(found) => assert!(found.values.is_empty(), "{text:?}"),
        }
    }
    assert!(readings::readings(b"a,b\n1,2\n\xff,3\n", &plain()).unwrap_err().starts_with("line 3: not UTF-8"));
    let long = read(&format!("a,b\n1,{}\n", "x".repeat(100_000))).unwrap_err();
    assert!(long.len() < 400, "{} characters", long.len());
    assert!(
        read_with("a,b\n1,2\n", |how| how.skip = vec!["c".into()]).unwrap_err().contains("no such column, but a, b")
    );
    assert!(read_with("a\n1\n", |how| how.skip = vec!["a".into()]).unwrap_err().contains("no column of readings"));
}

#[test]
fn roads_are_whole_numbers_of_sensors() {
    let roads = |text: &str| edges(text.as_bytes(), &plain(), 3);
    assert_eq!(roads("from,to,miles\n0,1,2.5\n1,2,far\n").unwrap(), [(0, 1), (1, 2)]);
    assert_eq!(roads("to;from\n0;1\n2.0;1\n").unwrap(), [(1, 0), (1, 2)]);
    for (text, expected) in [
        ("from,to\n0,1\n-1,2\n", "line 3, column 1 (from) is \"-1\", expected numbers of sensors, from 0 to 2"),
        ("from,to\n0,1.9\n", "line 2, column 2 (to) is \"1.9\""),
        ("from,to\n0,3\n", "line 2, column 2 (to) is \"3\""),
        ("from,to\n0,1e300\n", "line 2, column 2 (to)"),
        ("from,to\n0,18446744073709551616\n", "line 2, column 2 (to)"),
        ("from,to\n0,NaN\n", "line 2, column 2 (to)"),
        ("from,to\n0,\n", "line 2, column 2 (to)"),
        ("from,too\n0,1\n", "there is no column `to`, but from, too"),
    ] {
        let error = roads(text).unwrap_err();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn times_are_those_of_the_gregorian_calendar() {
    // from Python's datetime
    for (text, seconds) in [
        ("1970-01-01", 0),
        ("2000-02-29 12:00", 951_825_600),
        ("2024-03-01T12:30:15Z", 1_709_296_215),
        ("2024/03/01 12:30:15.000+01:00", 1_709_292_615),
        ("1900-03-01", -2_203_891_200),
        ("1869-12-31 23:59:59", -3_155_673_601),
        ("0001-01-01 00:00", -62_135_596_800),
        ("9999-12-31 23:59:59", 253_402_300_799),
    ] {
        assert_eq!(times::parse(text), Some(seconds), "{text}");
        assert_eq!(times::parse(&times::format(seconds)), Some(seconds), "{text}");
    }
    for text in [
        "",
        "2023-02-29",
        "1900-02-29",
        "2024-13-01",
        "2024-00-10",
        "24:00",
        "2024-01-01 24:00",
        "2024-01-01 1:00",
        "2024-01-01 10:00:00.5",
        "2024-01-01x",
        "2024-01-01 10",
        "12024-01-01",
        "2024-01-01T10:00+25",
        "日本語日本語日本",
    ] {
        assert_eq!(times::parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "[a,;\"#\n\t0-9.:\\- NAé]{0,60}") {
        let _ = read(&text);
        let _ = edges(text.as_bytes(), &plain(), 3);
        let _ = times::parse(&text);
    }

    #[test]
    fn written_times_are_read_again(seconds in -62_135_596_800i64..253_402_300_800) {
        prop_assert_eq!(times::parse(&times::format(seconds)), Some(seconds));
    }

    #[test]
    fn quoted_cells_are_what_they_were(cells in proptest::collection::vec("[a-z,;\"\n ]{0,6}", 2..5)) {
        let line = |cells: &[String]| cells.iter().map(|c| format!("\"{}\"", c.replace('"', "\"\""))).collect::<Vec<_>>().join(",");
        let header: Vec<String> = (0..cells.len()).map(|i| format!("c{i}")).collect();
        let found = cells::read(format!("{}\n{}\n", line(&header), line(&cells)).as_bytes(), Some(','), "").unwrap();
        prop_assert_eq!(&found.rows[0].cells, &cells);
        prop_assert_eq!((found.rows[0].line, found.separator), (2, ','));
    }
}
