//! Graph classification sets of the TU Dortmund collection, in the text form that is used with ten published folds.
//!
//! ```text
//! 188                    number of graphs
//! 23 0                   first graph: 23 nodes, label 0
//! 2 2 1 13               node 0: tag 2, two neighbours, which are the nodes 1 and 13
//! …
//! ```
//!
//! Raw labels and tags are any integers; here they are numbered 0, 1, … in ascending order of the raw values.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::archive;
use crate::error::{Error, Result};
use crate::registry;
use crate::store::Store;
use crate::text::quoted;

const FORMAT: &str = "graph text";
const FOLDS: &str = "folds";

/// Folds of the published split.
const NUM_FOLDS: usize = 10;

/// A graph with a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelledGraph {
    /// Number of nodes.
    pub num_nodes: usize,
    /// Undirected edges `(u, v)`, `u < v`, each once, ascending.
    pub edges: Vec<(u32, u32)>,
    /// Per node the number of its tag: an index into [`GraphSet::tag_values`].
    pub node_tags: Vec<u32>,
    /// Class, an index into [`GraphSet::class_values`].
    pub label: u32,
}

impl LabelledGraph {
    /// Number of neighbours of each node.
    pub fn degrees(&self) -> Vec<u32> {
        let mut degrees = vec![0; self.num_nodes];
        for &(u, v) in &self.edges {
            degrees[u as usize] += 1;
            degrees[v as usize] += 1;
        }
        degrees
    }
}

/// A data set of graphs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphSet {
    /// Name, for people.
    pub name: String,
    /// The graphs, in the order of the file.
    pub graphs: Vec<LabelledGraph>,
    /// Number of classes.
    pub num_classes: usize,
    /// The raw labels, ascending: class `c` was written as `class_values[c]`.
    pub class_values: Vec<i64>,
    /// The raw node tags, ascending: tag `t` was written as `tag_values[t]`.
    pub tag_values: Vec<i64>,
    /// Self-loops that were listed and left out.
    pub num_self_loops: usize,
}

/// A published division into test sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folds {
    /// Per fold the graphs of its test set, in the published order. Disjoint.
    pub test: Vec<Vec<usize>>,
    /// Number of graphs of the set. When the folds do not divide it, some graphs are in no test set.
    pub num_graphs: usize,
}

/// Indices of the graphs of one fold's three parts. Disjoint; together they are all graphs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Everything that is neither tested nor validated on, ascending.
    pub train: Vec<usize>,
    /// The test set of the fold before; of the last fold for fold 0.
    pub validation: Vec<usize>,
    /// The fold's test set.
    pub test: Vec<usize>,
}

impl Folds {
    /// The three parts of fold `fold` (from 0).
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] when there is no such fold, when there are fewer than two folds, or when an index is not
    /// below [`Folds::num_graphs`].
    pub fn split(&self, fold: usize) -> Result<Split> {
        let num_folds = self.test.len();
        if num_folds < 2 || fold >= num_folds {
            let reason =
                format!("fold {fold} of {num_folds}: expected at least two folds and a fold below their number");
            return Err(Error::invalid_config("fold", reason));
        }
        let test = self.test[fold].clone();
        let validation = self.test[(fold + num_folds - 1) % num_folds].clone();
        let mut is_training = vec![true; self.num_graphs];
        for &graph in test.iter().chain(&validation) {
            match is_training.get_mut(graph) {
                Some(flag) => *flag = false,
                None => {
                    let reason = format!("graph {graph} in fold {fold}: expected below {}", self.num_graphs);
                    return Err(Error::invalid_config("test", reason));
                }
            }
        }
        let train = (0..self.num_graphs).filter(|&graph| is_training[graph]).collect();
        Ok(Split { train, validation, test })
    }

    /// Checks that the test sets are disjoint and name graphs that exist.
    fn check(self) -> Result<Self> {
        if self.test.len() < 2 {
            return Err(Error::invalid_data(
                FOLDS,
                "the file",
                format!("{} folds, expected at least 2", self.test.len()),
            ));
        }
        let mut is_tested = vec![false; self.num_graphs];
        for (fold, graphs) in self.test.iter().enumerate() {
            for &graph in graphs {
                let at = || format!("fold {fold}");
                match is_tested.get_mut(graph) {
                    Some(flag) if !*flag => *flag = true,
                    Some(_) => return Err(Error::invalid_data(FOLDS, at(), format!("graph {graph} is tested twice"))),
                    None => {
                        let reason = format!("graph {graph}, expected below {}", self.num_graphs);
                        return Err(Error::invalid_data(FOLDS, at(), reason));
                    }
                }
            }
        }
        Ok(self)
    }
}

/// Reads the text form. The name is left empty. Neighbours may be listed from one end or both, and repeatedly; self-loops
/// are left out and counted.
///
/// # Errors
/// [`Error::InvalidData`] naming the line: a missing or unreadable number, a neighbour that does not exist, text after the end.
pub fn parse_graphs(text: &str) -> Result<GraphSet> {
    let mut lines =
        text.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.trim().is_empty());
    let mut next_line = |wanted: &str| {
        lines.next().ok_or_else(|| Error::invalid_data(FORMAT, "end of the file", format!("expected {wanted}")))
    };
    let (number, line) = next_line("the number of graphs")?;
    let [num_graphs] = numbers::<usize, 1>(number, line, "the number of graphs")?;
    let mut set = GraphSet {
        name: String::new(),
        graphs: Vec::new(),
        num_classes: 0,
        class_values: Vec::new(),
        tag_values: Vec::new(),
        num_self_loops: 0,
    };
    let (mut raw_labels, mut raw_tags) = (Vec::new(), Vec::new());
    for graph in 0..num_graphs {
        let (number, line) = next_line(&format!("graph {graph} of {num_graphs}"))?;
        let [num_nodes, label] = numbers::<i64, 2>(number, line, "node count and label")?;
        let num_nodes = u32::try_from(num_nodes)
            .map_err(|_| Error::invalid_data(FORMAT, format!("line {number}"), format!("{num_nodes} nodes")))?;
        let mut edges = Vec::new();
        for node in 0..num_nodes {
            let (number, line) = next_line(&format!("node {node} of {num_nodes} of graph {graph}"))?;
            raw_tags.push(parse_node(number, line, node, num_nodes, &mut edges)?);
        }
        let listed = edges.len();
        edges.retain(|(u, v)| u != v);
        set.num_self_loops += listed - edges.len();
        edges.sort_unstable();
        edges.dedup();
        raw_labels.push(label);
        set.graphs.push(LabelledGraph { num_nodes: num_nodes as usize, edges, node_tags: Vec::new(), label: 0 });
    }
    if let Some((number, _)) = lines.next() {
        return Err(Error::invalid_data(
            FORMAT,
            format!("line {number}"),
            format!("expected the end after {num_graphs} graphs"),
        ));
    }
    set.class_values = distinct(&raw_labels);
    set.tag_values = distinct(&raw_tags);
    set.num_classes = set.class_values.len();
    let mut tags = raw_tags.iter().map(|tag| rank(&set.tag_values, tag));
    for (graph, label) in set.graphs.iter_mut().zip(&raw_labels) {
        graph.label = rank(&set.class_values, label);
        graph.node_tags = tags.by_ref().take(graph.num_nodes).collect();
    }
    Ok(set)
}

/// Reads one node's line, adds its edges and returns its tag.
fn parse_node(number: usize, line: &str, node: u32, num_nodes: u32, edges: &mut Vec<(u32, u32)>) -> Result<i64> {
    let at = || format!("line {number}");
    let mut words = line.split_ascii_whitespace();
    let tag: i64 = number_of(words.next(), number, "the node's tag")?;
    let num_neighbours: usize = number_of(words.next(), number, "the number of neighbours")?;
    let mut count = 0;
    for word in words {
        let neighbour: u32 = number_of(Some(word), number, "a neighbour")?;
        if neighbour >= num_nodes {
            return Err(Error::invalid_data(
                FORMAT,
                at(),
                format!("neighbour {neighbour} in a graph of {num_nodes} nodes"),
            ));
        }
        edges.push((node.min(neighbour), node.max(neighbour)));
        count += 1;
    }
    if count != num_neighbours {
        return Err(Error::invalid_data(FORMAT, at(), format!("{count} neighbours, expected {num_neighbours}")));
    }
    Ok(tag)
}

/// The line's `N` numbers.
fn numbers<T: FromStr + Copy + Default, const N: usize>(number: usize, line: &str, wanted: &str) -> Result<[T; N]> {
    let mut words = line.split_ascii_whitespace();
    let mut values = [T::default(); N];
    for value in &mut values {
        *value = number_of(words.next(), number, wanted)?;
    }
    match words.next() {
        None => Ok(values),
        Some(word) => {
            Err(Error::invalid_data(FORMAT, format!("line {number}"), format!("`{}` after {wanted}", quoted(word))))
        }
    }
}

fn number_of<T: FromStr>(word: Option<&str>, number: usize, wanted: &str) -> Result<T> {
    let found = word.unwrap_or("the end of the line");
    found.parse().map_err(|_| {
        Error::invalid_data(FORMAT, format!("line {number}"), format!("expected {wanted}, found \"{}\"", quoted(found)))
    })
}

fn distinct(values: &[i64]) -> Vec<i64> {
    values.iter().copied().collect::<BTreeSet<i64>>().into_iter().collect()
}

/// Position of a value among the distinct ones, which hold it.
fn rank(distinct: &[i64], value: &i64) -> u32 {
    distinct.partition_point(|other| other < value) as u32
}

/// Reads folds from JSON: `{"n_graphs": 188, "test": [[109, …], …]}`; `n_graphs` may be absent.
///
/// # Errors
/// [`Error::InvalidData`]: not that JSON, another number of graphs, fewer than two folds, a graph that does not exist or is
/// tested twice.
pub fn parse_folds(json: &str, num_graphs: usize) -> Result<Folds> {
    #[derive(Deserialize)]
    struct Stored {
        n_graphs: Option<usize>,
        test: Vec<Vec<usize>>,
    }
    let stored: Stored = serde_json::from_str(json).map_err(|error| Error::refused(FOLDS, "the file", &error))?;
    if let Some(stored) = stored.n_graphs.filter(|&stored| stored != num_graphs) {
        return Err(Error::invalid_data(FOLDS, "n_graphs", format!("{stored}, expected {num_graphs}")));
    }
    Folds { test: stored.test, num_graphs }.check()
}

/// Reads folds from the original form: per fold a text with the index of one test graph per line.
///
/// # Errors
/// As [`parse_folds`].
pub fn parse_fold_lists(texts: &[String], num_graphs: usize) -> Result<Folds> {
    let parse = |(fold, text): (usize, &String)| {
        let index = |word: &str| {
            word.parse().map_err(|_| {
                Error::invalid_data(FOLDS, format!("fold {fold}"), format!("`{}` is not an index", quoted(word)))
            })
        };
        text.split_ascii_whitespace().map(index).collect::<Result<Vec<usize>>>()
    };
    let test = texts.iter().enumerate().map(parse).collect::<Result<_>>()?;
    Folds { test, num_graphs }.check()
}

/// Loads a set such as `tu-mutag`, and its ten folds.
///
/// # Errors
/// What [`Store::file`] and the parsers report.
pub fn load(store: &Store, set: &str) -> Result<(GraphSet, Folds)> {
    let known = registry::find(set).filter(|known| known.parser == "datasets::tu::load");
    let Some(known) = known else {
        return Err(Error::UnknownDataSet { name: set.to_owned(), nearest: registry::nearest(set) });
    };
    let is_graphs = |name: &&str| !name.starts_with("test_idx") && name.trim_end_matches(".gz").ends_with(".txt");
    let mut names: Vec<&str> = known.files.iter().map(|file| file.name).filter(is_graphs).collect();
    // A graph file may also have been compressed by its user.
    let compressed: Vec<String> = names.iter().map(|name| format!("{name}.gz")).collect();
    names.extend(compressed.iter().map(String::as_str));
    let text = archive::read_text(&store.any_file(set, &names)?)?;
    let mut graphs = parse_graphs(&text)?;
    graphs.name = known.title.split(':').next().unwrap_or(set).to_owned();
    let lists: Vec<String> = (1..=NUM_FOLDS).map(|fold| format!("test_idx-{fold}.txt")).collect();
    let folds = if store.locate(set, "folds.json").is_some() {
        parse_folds(&archive::read_text(&store.file(set, "folds.json")?)?, graphs.graphs.len())?
    } else {
        let read = |name: &String| archive::read_text(&store.file(set, name)?);
        parse_fold_lists(&lists.iter().map(read).collect::<Result<Vec<_>>>()?, graphs.graphs.len())?
    };
    Ok((graphs, folds))
}
