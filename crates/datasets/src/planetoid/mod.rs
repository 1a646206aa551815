//! Cora, Citeseer and Pubmed in the Planetoid version with its public split.
//!
//! Two forms are read: the original files `ind.<name>.*` ([`parse_original`]) and a conversion of them to safetensors
//! ([`parse_converted`]). Both give the same [`NodeSet`], except that the converted Pubmed has no features.

mod converted;
mod node_set;
mod original;
mod pickle;
mod pickle_value;

pub use converted::parse_converted;
pub use node_set::{NodeSet, SparseFeatures};
pub use original::{OriginalFiles, parse_original, parse_original_within};

use crate::archive;
use crate::error::{Error, Result};
use crate::registry;
use crate::store::Store;

/// Loads a set such as `planetoid-cora`. The original files are preferred where they are all present, then the converted
/// file; if neither is here, the original files are downloaded.
///
/// # Errors
/// What [`Store::file`] and the parsers report.
pub fn load(store: &Store, set: &str) -> Result<NodeSet> {
    let known = registry::find(set).filter(|known| known.parser == "datasets::planetoid::load");
    let name = set.strip_prefix("planetoid-").filter(|_| known.is_some());
    let Some(name) = name else {
        return Err(Error::UnknownDataSet { name: set.to_owned(), nearest: registry::nearest(set) });
    };
    let converted = format!("{name}.safetensors");
    let file_of = |part: &str| format!("ind.{name}.{part}");
    let has_originals = OriginalFiles::PARTS.iter().all(|part| store.locate(set, &file_of(part)).is_some());
    if !has_originals && store.locate(set, &converted).is_some() {
        return parse_converted(&archive::read(&store.file(set, &converted)?)?);
    }
    let read = |part: &str| archive::read(&store.file(set, &file_of(part))?);
    parse_original(&OriginalFiles {
        x: read("x")?,
        y: read("y")?,
        tx: read("tx")?,
        ty: read("ty")?,
        allx: read("allx")?,
        ally: read("ally")?,
        graph: read("graph")?,
        test_index: read("test.index")?,
    })
}
