//! Drawings from sound, hostile and empty data.

use super::*;

const HOSTILE: &str = "</text></svg><script>alert('x')</script>\" onload=\"y\" & \u{0}\u{1b} {brace}";

/// Whether tags nest, attributes are quoted, and no bare `<`, `&` or control character is left.
fn is_well_formed(svg: &str) -> bool {
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some(at) = rest.find('<') {
        let (text, tag) = rest.split_at(at);
        let Some(end) = tag.find('>') else { return false };
        let is_escaped = text.split('&').skip(1).all(|part| {
            part.split_once(';').is_some_and(|(name, _)| ["lt", "gt", "amp", "quot", "apos", "#39"].contains(&name))
        });
        let inner = &tag[1..end];
        let has_whole_quotes = inner.matches('"').count() % 2 == 0;
        if !is_escaped || !has_whole_quotes || text.contains(|c: char| c.is_control() && c != '\n') {
            return false;
        }
        if let Some(name) = inner.strip_prefix('/') {
            if open.pop() != Some(name) {
                return false;
            }
        } else if !inner.ends_with('/') {
            open.push(inner.split_whitespace().next().unwrap_or_default());
        }
        rest = &tag[end + 1..];
    }
    open.is_empty() && rest.trim().is_empty()
}

/// One plot of each kind from the same texts and numbers.
fn every_kind(text: &str, numbers: &[f64]) -> Vec<Plot> {
    let name = || text.to_owned();
    let values = || numbers.to_vec();
    let series = || vec![Series::new(name(), values(), values()).spread(numbers), Series::new(name(), vec![], vec![])];
    let names: Vec<String> = numbers.iter().map(|_| name()).collect();
    let bars = vec![Bars::new(name(), values()).errors(values()), Bars::new(name(), values())];
    let node = |x: &f64| Node { x: *x, y: -*x, cluster: 9, label: name() };
    let edges = (1..numbers.len()).map(|index| (index - 1, index)).collect();
    let cells = numbers.iter().map(|_| values()).collect();
    let samples = vec![Samples::new(name(), values()), Samples::new("", vec![])];
    let shape = [1, 1, numbers.len()];
    let tiles = vec![Tile::new(name(), shape, values()), Tile::signed(name(), shape, values())];
    let tiles = if numbers.is_empty() { vec![] } else { tiles };
    vec![
        Plot::lines(name(), Axis::linear(name()), Axis::linear(name()), series()),
        Plot::lines(name(), Axis::log(name()), Axis::log(name()), series()),
        Plot::scatter(name(), Axis::log(name()), Axis::linear(name()), series()).description(name()),
        Plot::bars(name(), Axis::linear(name()), names.clone(), bars),
        Plot::heat_map(name(), names.clone(), names, cells),
        Plot::graph(name(), numbers.iter().map(node).collect(), edges),
        Plot::histogram(name(), Axis::linear(name()), 7, samples),
        Plot::images(name(), vec![tiles, vec![]]),
    ]
}

#[test]
fn every_kind_draws_real_text_in_a_generic_font_with_a_title() {
    for plot in every_kind("accuracy", &[1.0, 2.0, 3.5]) {
        plot.check("a").unwrap();
        let svg = plot.svg_file("a", "synthetic data").unwrap();
        assert!(is_well_formed(&svg.replace("<style>", "").replace("</style>", "")), "{svg}");
        assert!(svg.contains("font-family=\"sans-serif\"") && svg.contains("\naccuracy\n</text>"));
        assert!(svg.contains("<title>accuracy") && svg.contains("role=\"img\""));
        assert!(svg.contains("\nsynthetic data\n</text>"), "the mark of synthetic data is missing");
    }
}

#[test]
fn hostile_texts_stay_texts() {
    for plot in every_kind(HOSTILE, &[1.0, 2.0]) {
        let svg = plot.svg("a", "").unwrap();
        assert!(is_well_formed(&svg), "{svg}");
        assert!(!svg.contains("<script") && !svg.contains(" onload=\"y\""), "{svg}");
    }
}

#[test]
fn numbers_that_cannot_be_drawn_give_a_drawing_without_them() {
    let extremes = [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 0.0];
    let unusual = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
    for numbers in [&[][..], &[f64::NAN], &[0.0], &[-1.0], &[1e300, 1e300], &extremes, &unusual, &[1e15, 1e15 + 1.0]] {
        for plot in every_kind("x", numbers) {
            plot.check("a").unwrap();
            let svg = plot.svg("a", "").unwrap();
            assert!(is_well_formed(&svg), "{numbers:?} {svg}");
            assert!(!svg.contains("2147483647"), "a coordinate overflowed: {numbers:?} {plot:?}");
        }
    }
}

#[test]
fn data_that_does_not_fit_together_is_named() {
    let axis = || Axis::linear("x");
    let lines = |series| Plot::lines("t", axis(), axis(), vec![series]);
    let image = |shape, pixels: usize| Plot::images("t", vec![vec![Tile::new("s", shape, vec![0.0; pixels])]]);
    let wrong = [
        lines(Series::new("s", vec![1.0], vec![])),
        lines(Series::new("s", vec![1.0], vec![1.0]).spread(&[])),
        lines(Series::new("s", vec![1.0], vec![1.0]).interval(vec![0.0], vec![])),
        Plot::bars("t", axis(), vec!["a".into()], vec![Bars::new("s", vec![])]),
        Plot::bars("t", axis(), vec!["a".into()], vec![Bars::new("s", vec![1.0]).errors(vec![])]),
        Plot::bars("t", Axis::log("x"), vec![], vec![]),
        Plot::heat_map("t", vec!["a".into()], vec!["b".into()], vec![vec![]]),
        Plot::graph("t", vec![], vec![(0, 0)]),
        Plot::histogram("t", axis(), 0, vec![]),
        Plot::histogram("t", Axis::log("x"), 3, vec![]),
        image([2, 1, 1], 2),
        image([1, 0, 1], 0),
        image([1, 1, 0], 0),
        image([3, 1, 1], 1),
        image([1, 1, 1025], 1025),
        image([3, usize::MAX, usize::MAX], 3),
        Plot::images("t", vec![vec![], vec![Tile::new("s", [1, 1, 1], vec![0.0]); 21]]),
    ];
    for plot in wrong {
        let error = plot.check("accuracy").unwrap_err().to_string();
        assert!(error.starts_with("plot `accuracy`: "), "{error}");
        assert!(plot.svg_file("accuracy", "").is_err(), "{plot:?}");
    }
}

#[test]
fn csv_holds_every_number_and_quotes_names() {
    let series = Series::new("a \"b\", c", vec![1.0, 2.0], vec![0.1, f64::NAN]).spread(&[0.5, 0.5]);
    let csv = Plot::lines("t", Axis::linear("x"), Axis::linear("y"), vec![series]).csv();
    assert_eq!(csv, "series,x,y,lower,upper\n\"a \"\"b\"\", c\",1,0.1,-0.4,0.6\n\"a \"\"b\"\", c\",2,NaN,NaN,NaN\n");
}

#[test]
fn csv_of_images_holds_a_summary_of_each() {
    let image = Tile::new("3, no 5", [1, 1, 2], vec![0.25, 0.75]);
    let change = Tile::signed("δ", [3, 1, 1], vec![-0.5, 0.25, f64::NAN]);
    let csv = Plot::images("t", vec![vec![image], vec![change.clone(), change]]).csv();
    let lines = [
        "row,column,caption,channels,height,width,min,max,mean,not_finite",
        "0,0,\"3, no 5\",1,1,2,0.25,0.75,0.5,0",
        "1,0,δ ±0.5,3,1,1,-0.5,0.25,-0.125,1",
        "1,1,δ ±0.5,3,1,1,-0.5,0.25,-0.125,1",
    ];
    assert_eq!(csv, lines.join("\n") + "\n");
}

#[test]
fn images_are_within_the_svg_and_keep_their_proportions() {
    let tile =
        |caption: &str, [height, width]: [usize; 2]| Tile::new(caption, [1, height, width], vec![0.5; height * width]);
    let rows = vec![vec![tile("wide", [10, 20]), tile("high", [20, 10])], vec![tile("thin", [1, 1000])]];
    let svg = Plot::images("t", rows).svg("a", "").unwrap();
    let sides = |(width, height): (usize, usize)| format!("width=\"{width}\" height=\"{height}\" preserve");
    for image in [(720, 360), (360, 720), (720, 4)].map(sides) {
        assert!(svg.contains(&image), "{image} is missing: {svg}");
    }
    assert_eq!(svg.matches("<image ").count(), 3);
    assert_eq!(svg.matches(" href=\"data:image/png;base64,").count(), svg.matches("href").count());
    assert!(svg.contains("<title>t. Shown as a grid of images: wide, high, thin</title>"), "{svg}");
}

#[test]
fn a_line_of_a_million_points_stays_a_small_file() {
    let x: Vec<f64> = (0..1_000_000).map(f64::from).collect();
    let y = x.iter().map(|x| (x / 1e4).sin()).collect();
    let series = Series::new("s", x, y).spread(&vec![0.1; 1_000_000]);
    let svg = Plot::lines("t", Axis::linear("x"), Axis::linear("y"), vec![series]).svg("a", "").unwrap();
    assert!(svg.len() < 200_000, "{} bytes", svg.len());
}
