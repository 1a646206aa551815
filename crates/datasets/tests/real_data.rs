//! What each data set's description says, checked against the files in `$DATA_DIR`. Without it, every test here prints
//! that it skipped.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use datasets::archive::{self, Limits};
use datasets::table::{self, TableConfig};
use datasets::{Store, StoreConfig, human_labels, images, morse, npy, planetoid, registry, sound, sparse_graph, tu};

/// A store over `$DATA_DIR` alone, or `None` (said aloud) where it or the set is absent.
fn store(set: &str) -> Option<Store> {
    let folder = std::env::var_os("DATA_DIR").map(std::path::PathBuf::from);
    match folder.filter(|folder| folder.join(set).is_dir()) {
        Some(folder) => {
            let config = StoreConfig {
                data_dir: Some(folder),
                uses_environment: false,
                cache_dir: Some("/nonexistent".into()),
                is_offline: true,
                ..Default::default()
            };
            Some(Store::new(config).unwrap())
        }
        None => {
            eprintln!("skipped: DATA_DIR is unset or has no {set}");
            None
        }
    }
}

fn mean(values: impl ExactSizeIterator<Item = usize>) -> f64 {
    let count = values.len() as f64;
    values.sum::<usize>() as f64 / count
}

#[test]
fn graph_sets_have_their_published_sizes() {
    // Name, graphs, classes, tags, mean nodes, mean edges, most nodes, isolated nodes (where stated).
    let published = [
        ("tu-enzymes", 600, 6, 3, 32.63, 62.14, 126, Some(106)),
        ("tu-imdb-binary", 1000, 2, 1, 19.77, 96.53, 136, Some(0)),
        ("tu-imdb-multi", 1500, 3, 1, 13.00, 65.94, 89, Some(0)),
        ("tu-mutag", 188, 2, 7, 17.93, 19.79, 28, Some(0)),
        ("tu-nci1", 4110, 2, 37, 29.87, 32.30, 111, Some(428)),
        ("tu-nci109", 4127, 2, 38, 29.68, 32.13, 111, None),
        ("tu-proteins", 1113, 2, 3, 39.06, 72.82, 620, Some(5)),
        ("tu-ptc_mr", 344, 2, 19, 25.56, 25.96, 109, Some(0)),
    ];
    for (name, num_graphs, num_classes, num_tags, nodes, edges, most, isolated) in published {
        let Some(store) = store(name) else { continue };
        let (set, folds) = tu::load(&store, name).unwrap();
        assert_eq!(
            (set.graphs.len(), set.num_classes, set.tag_values.len()),
            (num_graphs, num_classes, num_tags),
            "{name}"
        );
        // The published means have two decimals.
        assert!((mean(set.graphs.iter().map(|graph| graph.num_nodes)) - nodes).abs() < 0.0051, "{name}");
        assert!((mean(set.graphs.iter().map(|graph| graph.edges.len())) - edges).abs() < 0.0051, "{name}");
        assert_eq!(set.graphs.iter().map(|graph| graph.num_nodes).max(), Some(most), "{name}");
        assert_eq!(set.num_self_loops, 0, "{name}");
        if let Some(isolated) = isolated {
            let degrees = set.graphs.iter().flat_map(|graph| graph.degrees());
            assert_eq!(degrees.filter(|&degree| degree == 0).count(), isolated, "{name}");
        }
        assert_eq!(folds.test.len(), 10, "{name}");
        assert!(folds.test.iter().all(|fold| fold.len() == num_graphs / 10), "{name}");
        let split = folds.split(3).unwrap();
        assert_eq!(split.train.len(), num_graphs - 2 * (num_graphs / 10), "{name}");
    }
}

#[test]
fn raw_labels_are_numbered_in_ascending_order() {
    let Some(store) = store("tu-mutag") else { return };
    let (set, _) = tu::load(&store, "tu-mutag").unwrap();
    assert_eq!(set.class_values, [0, 2]);
    assert_eq!(set.graphs.iter().filter(|graph| graph.label == 1).count(), 125);
    assert_eq!(set.name, "MUTAG");
}

#[test]
fn citation_graphs_have_their_published_sizes() {
    // Name, nodes, edges, columns, classes, non-zeros, training nodes, unlabelled nodes.
    let published = [
        ("planetoid-cora", 2708, 5278, Some((1433, 49216)), 7, 140, 0),
        ("planetoid-citeseer", 3327, 4552, Some((3703, 105165)), 6, 120, 15),
        ("planetoid-pubmed", 19717, 44324, None, 3, 60, 0),
    ];
    for (name, num_nodes, num_edges, features, num_classes, num_train, unlabelled) in published {
        let Some(store) = store(name) else { continue };
        let set = planetoid::load(&store, name).unwrap();
        assert_eq!((set.num_nodes, set.edges.len(), set.num_classes), (num_nodes, num_edges, num_classes), "{name}");
        assert_eq!((set.train.len(), set.validation.len(), set.test.len()), (num_train, 500, 1000), "{name}");
        assert_eq!(set.labels.iter().filter(|label| label.is_none()).count(), unlabelled, "{name}");
        let found = set.features.as_ref().map(|features| (features.num_columns, features.values.len()));
        assert_eq!(found, features, "{name}");
    }
}

#[test]
fn original_and_converted_citation_graphs_are_equal() {
    for name in ["cora", "citeseer"] {
        let set = format!("planetoid-{name}");
        let Some(store) = store(&set) else { continue };
        let read = |part: &str| store.file(&set, &format!("ind.{name}.{part}")).and_then(|path| archive::read(&path));
        let (Ok(x), Ok(y), Ok(tx), Ok(ty)) = (read("x"), read("y"), read("tx"), read("ty")) else {
            eprintln!("skipped: no original files of {name}");
            continue;
        };
        let (allx, ally) = (read("allx").unwrap(), read("ally").unwrap());
        let (graph, test_index) = (read("graph").unwrap(), read("test.index").unwrap());
        let files = planetoid::OriginalFiles { x, y, tx, ty, allx, ally, graph, test_index };
        let original = planetoid::parse_original(&files).unwrap();
        let converted = archive::read(&store.file(&set, &format!("{name}.safetensors")).unwrap()).unwrap();
        assert!(original == planetoid::parse_converted(&converted).unwrap(), "{name}");
        // Cut anywhere, the pickles are errors, not panics.
        for length in (0..files.allx.len()).step_by(997) {
            let cut = planetoid::OriginalFiles { allx: files.allx[..length].to_vec(), ..files.clone() };
            assert!(matches!(planetoid::parse_original(&cut), Err(datasets::Error::InvalidData { .. })));
        }
    }
}

#[test]
fn benchmark_graphs_have_their_published_sizes() {
    let Some(store) = store("gnn-benchmark-npz") else { return };
    for (name, nodes, columns, stored, classes) in [("cora", 2708, 1433, 5429, 7), ("citeseer", 3312, 3703, 4715, 6)] {
        let graph = sparse_graph::load(&store, name).unwrap();
        assert_eq!((graph.num_nodes, graph.num_stored_edges, graph.num_classes), (nodes, stored, classes), "{name}");
        assert_eq!((graph.features.num_rows(), graph.features.num_columns), (nodes, columns), "{name}");
        assert!(graph.edges.is_sorted() && graph.edges.iter().all(|(u, v)| u < v));
    }
}

#[test]
fn mnist_is_the_published_one() {
    let Some(store) = store("mnist") else { return };
    let mnist = images::load_mnist(&store, "mnist").unwrap();
    assert_eq!((mnist.train.len(), mnist.test.len()), (60_000, 10_000));
    assert_eq!((mnist.train.channels, mnist.train.height, mnist.train.width), (1, 28, 28));
    assert_eq!(mnist.train.labels[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    assert_eq!(mnist.test.labels[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    assert_eq!(mnist.test.image(9_999).unwrap().len(), 784);
}

#[test]
fn the_cifar_10_sample_and_its_human_labels_agree() {
    let (Some(store), Some(_)) = (store("cifar-10"), store("cifar-10n")) else { return };
    let sample = images::load_cifar_10_sample(&store).unwrap();
    let human = human_labels::load_cifar_10n(&store).unwrap();
    assert_eq!(sample.len(), 4000);
    human.check_order(&sample).unwrap();
    // Another order, or more images than labels, is refused.
    let mut other = sample.clone();
    other.labels.swap(0, 1);
    assert!(matches!(human.check_order(&other), Err(datasets::Error::InvalidData { .. })));
    let mut other = sample;
    other.labels = human.clean.iter().copied().chain([0]).collect();
    assert!(matches!(human.check_order(&other), Err(datasets::Error::InvalidData { .. })));
}

#[test]
fn human_labels_are_as_described() {
    let disagreement = |a: &[u8], b: &[u8]| a.iter().zip(b).filter(|(a, b)| a != b).count();
    if let Some(store) = store("cifar-10n") {
        let human = human_labels::load_cifar_10n(&store).unwrap();
        let [first, second, third] = &human.annotations;
        let sets = [&human.aggregate, &first.labels, &second.labels, &third.labels, &human.worse];
        // 9.010, 17.234, 18.122, 17.640 and 40.208 % of 50,000.
        assert_eq!(sets.map(|labels| disagreement(labels, &human.clean)), [4505, 8617, 9061, 8820, 20_104]);
        assert_eq!(human.num_annotators(), 747);
        // Row 1 of the table: images 10 to 19.
        assert_eq!((first.work.annotators[10], second.work.annotators[19], third.work.seconds[13]), (430, 140, 92.));
        let mut seen: Vec<u32> = human.annotations.iter().flat_map(|a| a.work.annotators.iter().copied()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, (0..747).collect::<Vec<_>>());
    }
    if let Some(store) = store("cifar-100n") {
        let human = human_labels::load_cifar_100n(&store).unwrap();
        let wrong = disagreement(&human.annotation.labels, &human.clean);
        assert_eq!((wrong, human.num_annotators()), (20_100, 519));
        assert_eq!(human.annotation.work.annotators[5..10], [239; 5]);
    }
}

#[test]
fn jpeg_images_are_close_to_the_original_ones() {
    let Some(store) = store("cifar-10") else { return };
    let sample = images::load_cifar_10_sample(&store).unwrap();
    let jpeg = images::load_cifar_10_jpeg(&store).unwrap();
    assert_eq!((jpeg.train.len(), jpeg.test.len()), (50_000, 10_000));
    assert_eq!(jpeg.train.labels[..4000], sample.labels);
    for labels in [&jpeg.train.labels, &jpeg.test.labels] {
        let counts = (0..10).map(|class| labels.iter().filter(|label| **label == class).count());
        assert!(counts.into_iter().all(|count| count == labels.len() / 10));
    }
    let differences = sample.pixels.iter().zip(&jpeg.train.pixels).map(|(a, b)| u64::from(a.abs_diff(*b)));
    let mean = differences.sum::<u64>() as f64 / sample.pixels.len() as f64;
    println!("mean difference: {mean:.2} grey levels");
    assert!((mean - 5.8).abs() < 1., "{mean}");
    // Cut or damaged anywhere, a file is an error or another picture.
    let archive = std::fs::read(store.file("cifar-10", "test-jpeg.tar.gz").unwrap()).unwrap();
    let members = archive::members(&archive, &Limits::default()).unwrap();
    let bytes = members.values().next().unwrap();
    assert_eq!(images::parse_jpeg(bytes).unwrap().pixels, jpeg.test.image(0).unwrap());
    for at in 0..bytes.len() {
        let _ = images::parse_jpeg(&bytes[..at]);
        for changed in [0, 0xff, bytes[at] ^ 0x10] {
            let mut damaged = bytes.clone();
            damaged[at] = changed;
            let _ = images::parse_jpeg(&damaged);
        }
    }
}

#[test]
fn human_soft_labels_are_counts_over_their_sums() {
    let Some(store) = store("cifar-10h") else { return };
    let read = |name: &str| npy::read(&store.file("cifar-10h", name).unwrap()).unwrap();
    let (counts, shares) = (read("cifar10h-counts.npy"), read("cifar10h-probs.npy"));
    assert_eq!((counts.shape.as_slice(), shares.shape.as_slice()), (&[10_000, 10][..], &[10_000, 10][..]));
    let (counts, shares) = (counts.values.to_f64(), shares.values.to_f64());
    assert_eq!(counts.iter().sum::<f64>(), 511_000.0);
    for (counts, shares) in counts.chunks_exact(10).zip(shares.chunks_exact(10)) {
        let sum: f64 = counts.iter().sum();
        assert!((47.0..=63.0).contains(&sum));
        // The source made the shares by the same division.
        assert!(counts.iter().zip(shares).all(|(count, share)| count / sum == *share));
    }
}

#[test]
fn faces_have_their_published_counts() {
    let Some(store) = store("yale-b") else { return };
    let faces = images::load_yale_faces(&store).unwrap();
    assert_eq!((faces.len(), faces.height, faces.width), (2414, 40, 35));
    let count = |label: u8| faces.labels.iter().filter(|&&other| other == label).count();
    assert_eq!((10..=16).map(count).collect::<Vec<_>>(), [60, 59, 60, 63, 62, 63, 63]);
    assert!((0..38).filter(|label| !(10..=16).contains(label)).all(|label| count(label) == 64));
}

#[test]
fn tables_have_their_published_sizes() {
    let plain = TableConfig::default();
    let text = |set: &str, file: &str| store(set).map(|store| archive::read(&store.file(set, file).unwrap()).unwrap());
    if let Some(bytes) = text("electricity", "elec.csv.gz") {
        let table = table::parse_numeric(&bytes, &plain).unwrap();
        assert_eq!((table.num_rows, table.columns.len(), table.columns[6].as_str()), (45_312, 7, "class"));
    }
    if let Some(bytes) = text("los-loop", "los_speed.csv") {
        let table = table::parse_numeric(&bytes, &plain).unwrap();
        assert_eq!((table.num_rows, table.columns.len()), (2016, 207));
        let mean = table.values.iter().sum::<f64>() / table.values.len() as f64;
        // The published mean has two decimals.
        assert!((mean - 58.89).abs() < 0.0051);
    }
    if let Some(bytes) = text("los-loop", "los_adj.csv") {
        let table = table::parse_numeric(&bytes, &TableConfig { has_header: false, ..plain }).unwrap();
        assert_eq!((table.num_rows, table.columns.len()), (207, 207));
        assert_eq!(table.values.iter().filter(|&&weight| weight != 0.0).count(), 2833);
    }
    if let Some(bytes) = text("pems-graphs", "PEMS04_stag_published.csv.gz") {
        let table = table::parse_numeric(&bytes, &TableConfig { has_header: false, ..plain }).unwrap();
        assert_eq!((table.num_rows, table.columns.len()), (307, 307));
    }
    if let Some(bytes) = text("routing-curves", "curves.csv.gz") {
        let table = table::parse_text(&bytes, &plain).unwrap();
        assert_eq!((table.rows.len(), table.columns.len()), (5799, 22));
        assert_eq!(table.column("loss_pile").unwrap().filter(|cell| cell.is_empty()).count(), 15);
        let runs: std::collections::BTreeSet<&str> = table.column("hyper_id").unwrap().collect();
        assert_eq!(runs.len(), 223);
    }
    if let Some(bytes) = text("bank-marketing", "bank.zip") {
        let inner = archive::member(&bytes, "bank-full.csv", &Limits::default()).unwrap();
        let table = table::parse_text(&inner, &TableConfig { delimiter: b';', ..plain }).unwrap();
        assert_eq!((inner.len(), table.rows.len(), table.columns.len()), (4_610_348, 45_211, 17));
        assert_eq!(table.column("y").unwrap().filter(|&answer| answer == "yes").count(), 5289);
    }
}

#[test]
fn recordings_and_morse_items_have_their_published_counts() {
    if let Some(store) = store("fsdd") {
        let digits = sound::load_fsdd(&store).unwrap();
        assert_eq!(digits.len(), 3000);
        assert_eq!(digits.iter().filter(|digit| digit.take < 5).count(), 300);
        assert!(digits.iter().all(|digit| digit.recording.sample_rate == 8000 && !digit.recording.samples.is_empty()));
        let speakers: std::collections::BTreeSet<&str> = digits.iter().map(|digit| digit.speaker.as_str()).collect();
        assert_eq!(speakers.len(), 6);
    }
    if let Some(store) = store("morse-adding") {
        assert_eq!(morse::load(&store).unwrap().len(), 1000);
    }
}

#[test]
fn every_file_that_is_here_has_its_registered_checksum() {
    let mut count = 0;
    for set in registry::all() {
        let Some(store) = store(set.name) else { continue };
        for file in set.files.iter().filter(|file| store.locate(set.name, file.name).is_some()) {
            let path = store.file(set.name, file.name).unwrap();
            let length = std::fs::metadata(path).unwrap().len();
            assert!(file.bytes.is_none_or(|bytes| bytes == length), "{} {}", set.name, file.name);
            count += 1;
        }
    }
    eprintln!("verified {count} files");
}

#[test]
fn routing_curves_give_the_points_of_the_law() {
    use datasets::routing_curves::{Router, load};
    let Some(store) = store("routing-curves") else { return };
    let curves = load(&store).unwrap();
    let last = curves.last();
    assert_eq!((curves.rows.len(), last.len()), (5799, 223));
    assert!(last.iter().all(|run| run.loss_validation.is_some()));
    let selected = |router: Router| {
        let is_selected = |run: &&&datasets::routing_curves::Evaluation| {
            (run.router == router || (run.router == Router::Dense && run.flop_increase == 1.))
                && (run.routing_frequency, run.k, run.seed) == (0.5, 1, 42)
        };
        last.iter().filter(is_selected).count()
    };
    assert_eq!([Router::SBase, Router::RlR, Router::Hash].map(selected), [58, 59, 56]);
    assert_eq!(curves.until(100_000).iter().map(|run| run.step).max(), Some(100_000));
}
