//! What each data set's description says, checked against the files in `$DATA_DIR`. Without it, every test here prints
//! that it skipped.

use datasets::{Store, StoreOptions, planetoid, tu};

/// A store over `$DATA_DIR` alone, or `None` (said aloud) where it or the set is absent.
fn store(set: &str) -> Option<Store> {
    let folder = std::env::var_os("DATA_DIR").map(std::path::PathBuf::from);
    match folder.filter(|folder| folder.join(set).is_dir()) {
        Some(folder) => {
            let options = StoreOptions {
                data_dir: Some(folder),
                uses_environment: false,
                cache_dir: Some("/nonexistent".into()),
                is_offline: true,
                ..Default::default()
            };
            Some(Store::new(options).unwrap())
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
