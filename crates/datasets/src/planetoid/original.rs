//! The original files `ind.<name>.*`.

use super::node_set::{FORMAT, NodeSet, SparseFeatures};
use super::pickle;
use super::pickle_value::Value;
use crate::array::shown;
use crate::error::{Error, Result};
use crate::text::quoted;

/// Nodes after the training nodes that are the validation set.
const NUM_VALIDATION: usize = 500;

/// The eight files' bytes.
#[derive(Debug, Clone, Default)]
pub struct OriginalFiles {
    /// `ind.<name>.x`: features of the training nodes, CSR.
    pub x: Vec<u8>,
    /// `ind.<name>.y`: their labels, one-hot `[train, classes]`.
    pub y: Vec<u8>,
    /// `ind.<name>.tx`: features of the test nodes, CSR.
    pub tx: Vec<u8>,
    /// `ind.<name>.ty`: their labels, one-hot.
    pub ty: Vec<u8>,
    /// `ind.<name>.allx`: features of all nodes that are not test nodes, CSR.
    pub allx: Vec<u8>,
    /// `ind.<name>.ally`: their labels, one-hot; a row of zeros is a node without a label.
    pub ally: Vec<u8>,
    /// `ind.<name>.graph`: neighbours of each node.
    pub graph: Vec<u8>,
    /// `ind.<name>.test.index`: the node of each row of `tx` and `ty`, one per line.
    pub test_index: Vec<u8>,
}

impl OriginalFiles {
    /// The ends of the files' names.
    pub const PARTS: [&'static str; 8] = ["x", "y", "tx", "ty", "allx", "ally", "graph", "test.index"];
}

/// Reads the original form. Row `i` of `allx` and `ally` belongs to node `i`; row `j` of `tx` and `ty` to the `j`-th node of
/// `test.index`. A node in neither has no features and no label (Citeseer has 15). Edges are made undirected; self-loops and
/// repetitions are dropped.
///
/// # Errors
/// [`Error::InvalidData`]: a pickle that holds anything but the arrays that these files have, shapes that do not fit each other, an
/// index out of range, a value that is not finite. [`Error::TooLarge`]: a pickle whose values take more than a MiB and eight
/// times the file, which no sound file's do.
pub fn parse_original(files: &OriginalFiles) -> Result<NodeSet> {
    parse_original_within(files, |length| length.saturating_mul(8).saturating_add(1 << 20))
}

/// As [`parse_original`], with a limit of your own: how many bytes the values of a file of a given length may take.
///
/// # Errors
/// As [`parse_original`].
pub fn parse_original_within(files: &OriginalFiles, limit: impl Fn(u64) -> u64) -> Result<NodeSet> {
    let unpickle = |bytes| pickle::parse(bytes, limit(bytes.len() as u64));
    let (num_nodes, edges) = edges(unpickle(&files.graph)?)?;
    let test_rows = test_nodes(&files.test_index, num_nodes)?;
    let matrix = |file, bytes| Matrix::of(file, unpickle(bytes)?);
    let one_hot = |file, bytes| OneHot::of(file, unpickle(bytes)?);
    let (x, y) = (matrix("x", &files.x)?, one_hot("y", &files.y)?);
    let (tx, ty) = (matrix("tx", &files.tx)?, one_hot("ty", &files.ty)?);
    let (allx, ally) = (matrix("allx", &files.allx)?, one_hot("ally", &files.ally)?);
    let expect = |what: &str, found: usize, expected: usize| match found == expected {
        true => Ok(()),
        false => Err(Error::invalid_data(FORMAT, what, format!("{found}, expected {expected}"))),
    };
    let num_train = y.labels.len();
    expect("rows of x", x.num_rows, num_train)?;
    expect("rows of tx", tx.num_rows, test_rows.len())?;
    expect("rows of ty", ty.labels.len(), test_rows.len())?;
    expect("rows of allx", allx.num_rows, ally.labels.len())?;
    expect("columns of x", x.features.num_columns, allx.features.num_columns)?;
    expect("columns of tx", tx.features.num_columns, allx.features.num_columns)?;
    expect("columns of y", y.num_classes, ally.num_classes)?;
    expect("columns of ty", ty.num_classes, ally.num_classes)?;
    if num_train + NUM_VALIDATION > allx.num_rows || allx.num_rows > num_nodes {
        let reason = format!("{num_train} training rows, {} rows in all, {num_nodes} nodes", allx.num_rows);
        return Err(Error::invalid_data(FORMAT, "allx", reason));
    }
    // The matrix and the row in it that describe a node.
    let mut row_of = vec![None; num_nodes];
    for (node, row) in row_of.iter_mut().enumerate().take(allx.num_rows) {
        *row = Some((&allx, &ally, node));
    }
    for (row, &node) in test_rows.iter().enumerate() {
        if row_of[node as usize].replace((&tx, &ty, row)).is_some() {
            let reason = format!("node {node} is a duplicate, or is also among the first {}", allx.num_rows);
            return Err(Error::invalid_data(FORMAT, "test.index", reason));
        }
    }
    let mut features = SparseFeatures {
        num_columns: allx.features.num_columns,
        indptr: vec![0],
        indices: Vec::new(),
        values: Vec::new(),
    };
    let mut labels = Vec::with_capacity(num_nodes);
    for row in row_of {
        if let Some((matrix, _, row)) = row {
            for (column, value) in matrix.features.row(row) {
                features.indices.push(column);
                features.values.push(value);
            }
        }
        features.indptr.push(features.indices.len());
        labels.push(row.and_then(|(_, one_hot, row)| one_hot.labels[row]));
    }
    let mut test = test_rows;
    test.sort_unstable();
    Ok(NodeSet {
        num_nodes,
        edges,
        labels,
        num_classes: ally.num_classes,
        train: (0..num_train as u32).collect(),
        validation: (num_train as u32..(num_train + NUM_VALIDATION) as u32).collect(),
        test,
        features: Some(features),
    })
}

/// Number of nodes and edges of `graph`, whose keys must be 0, 1, …, each once.
fn edges(graph: Value<'_>) -> Result<(usize, Vec<(u32, u32)>)> {
    let invalid = |reason: String| Err(Error::invalid_data(FORMAT, "graph", reason));
    let Value::Dictionary(entries, _) = graph else {
        return invalid("not a dictionary".into());
    };
    let num_nodes = entries.len();
    let node = |value: i64| u32::try_from(value).ok().filter(|&node| (node as usize) < num_nodes);
    let mut is_listed = vec![false; num_nodes];
    let mut edges = Vec::new();
    for (key, value) in &entries {
        let (Value::Integer(key), Value::List(neighbours)) = (key, value) else {
            return invalid("an entry that is not a node with a list".into());
        };
        let Some(u) = node(*key).filter(|&u| !std::mem::replace(&mut is_listed[u as usize], true)) else {
            return invalid(format!("node {key} is a duplicate or not below {num_nodes}"));
        };
        for &neighbour in neighbours {
            match node(neighbour) {
                Some(v) if u != v => edges.push((u.min(v), u.max(v))),
                Some(_) => {}
                None => return invalid(format!("neighbour {neighbour} of node {u}, expected below {num_nodes}")),
            }
        }
    }
    edges.sort_unstable();
    edges.dedup();
    Ok((num_nodes, edges))
}

fn test_nodes(bytes: &[u8], num_nodes: usize) -> Result<Vec<u32>> {
    let text = str::from_utf8(bytes).map_err(|error| {
        Error::invalid_data(FORMAT, format!("test.index, byte {}", error.valid_up_to()), "not UTF-8")
    })?;
    let parse = |(line, word): (usize, &str)| match word.parse::<u32>() {
        Ok(node) if (node as usize) < num_nodes => Ok(node),
        _ => Err(Error::invalid_data(
            FORMAT,
            format!("test.index, entry {line}"),
            format!("{}, expected a node below {num_nodes}", quoted(word)),
        )),
    };
    text.split_ascii_whitespace().enumerate().map(parse).collect()
}

/// A CSR matrix of one of the files.
struct Matrix {
    num_rows: usize,
    features: SparseFeatures,
}

impl Matrix {
    fn of(file: &'static str, value: Value<'_>) -> Result<Self> {
        let Value::Matrix(attributes) = value else {
            return Err(Error::invalid_data(FORMAT, file, "not a CSR matrix"));
        };
        let missing =
            |name: &str| Error::invalid_data(FORMAT, file, format!("no attribute {name} of the expected kind"));
        let attribute = |name: &str| {
            let is_it = |key: &Value<'_>| matches!(key, Value::Bytes(bytes) if *bytes == name.as_bytes());
            attributes.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value)
        };
        let array = |name: &str| match attribute(name) {
            Some(Value::Array(Some(array))) => Ok(array),
            _ => Err(missing(name)),
        };
        let integers = |name: &str| array(name)?.integers().ok_or_else(|| missing(name));
        let shape = match attribute("_shape") {
            Some(Value::Tuple(shape, _)) => match shape.as_slice() {
                [Value::Integer(rows), Value::Integer(columns)] => (usize::try_from(*rows), u32::try_from(*columns)),
                _ => return Err(missing("_shape")),
            },
            _ => return Err(missing("_shape")),
        };
        let (Ok(num_rows), Ok(num_columns)) = shape else { return Err(missing("_shape")) };
        let out_of_range = |_| Error::invalid_data(FORMAT, file, "a negative or too large index");
        let indptr: Vec<usize> =
            integers("indptr")?.into_iter().map(usize::try_from).collect::<Result<_, _>>().map_err(out_of_range)?;
        let indices: Vec<u32> =
            integers("indices")?.into_iter().map(u32::try_from).collect::<Result<_, _>>().map_err(out_of_range)?;
        let values: Vec<f32> = array("data")?.values().into_iter().map(|value| value as f32).collect();
        if num_rows.checked_add(1) != Some(indptr.len()) {
            return Err(Error::invalid_data(FORMAT, file, format!("{} row starts for {num_rows} rows", indptr.len())));
        }
        let features = SparseFeatures { num_columns: num_columns as usize, indptr, indices, values }.check(FORMAT)?;
        Ok(Self { num_rows, features })
    }
}

/// Labels of one of the files.
struct OneHot {
    num_classes: usize,
    labels: Vec<Option<u32>>,
}

impl OneHot {
    fn of(file: &'static str, value: Value<'_>) -> Result<Self> {
        let Value::Array(Some(array)) = &value else {
            return Err(Error::invalid_data(FORMAT, file, "not an array"));
        };
        let &[_, num_classes] = array.shape.as_slice() else {
            return Err(Error::invalid_data(
                FORMAT,
                file,
                format!("shape {}, expected [nodes, classes]", shown(&array.shape)),
            ));
        };
        let label = |(row, values): (usize, &[f64])| {
            let ones = values.iter().filter(|&&value| value == 1.0).count();
            if ones > 1 || values.iter().any(|&value| value != 0.0 && value != 1.0) {
                return Err(Error::invalid_data(FORMAT, format!("{file}, row {row}"), "not one-hot"));
            }
            Ok(values.iter().position(|&value| value == 1.0).map(|class| class as u32))
        };
        let values = array.values();
        let labels = values.chunks_exact(num_classes.max(1)).enumerate().map(label).collect::<Result<_>>()?;
        Ok(Self { num_classes, labels })
    }
}
