//! Coding trees kept on disk, so that each is built once.

use super::config::TreeConfig;
use super::tree::CodingTree;
use crate::{Error, Graph, Result};
use std::path::{Path, PathBuf};

/// A folder of trees, each named by a hash of its graph and settings.
#[derive(Debug, Clone)]
pub struct TreeCache {
    directory: PathBuf,
}

impl TreeCache {
    /// Uses `directory`, which is created when the first tree is stored.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The stored tree of `graph` under `config`, or a new one, which is then stored. A file that cannot be read as that tree is replaced.
    ///
    /// # Errors
    /// Those of [`CodingTree::build`], and a folder that cannot be written.
    pub fn get_or_build(&self, graph: &Graph, config: TreeConfig) -> Result<CodingTree> {
        let path = self.directory.join(format!("{:032x}.json", fingerprint(graph, &config)));
        if let Some(tree) = read(&path).filter(|tree| tree.fits(graph)) {
            return Ok(tree);
        }
        let tree = CodingTree::build(graph, config)?;
        let text = serde_json::to_vec(&tree).map_err(|error| file_error(&path, &error))?;
        std::fs::create_dir_all(&self.directory).map_err(|error| file_error(&self.directory, &error))?;
        // written aside and renamed: a reader never sees a part of a file
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        std::fs::write(&temporary, text).map_err(|error| file_error(&temporary, &error))?;
        std::fs::rename(&temporary, &path).map_err(|error| file_error(&path, &error))?;
        Ok(tree)
    }
}

fn file_error(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::File { path: path.display().to_string(), reason: error.to_string() }
}

fn read(path: &Path) -> Option<CodingTree> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// 128 bits over the CSR arrays and the settings; the same on every platform.
fn fingerprint(graph: &Graph, config: &TreeConfig) -> u128 {
    let mut low = Mixer(0x243F_6A88_85A3_08D3);
    let mut high = Mixer(0x1319_8A2E_0370_7344);
    let mut add = |word: u64| {
        low.add(word);
        high.add(word);
    };
    add(graph.num_nodes() as u64);
    add(u64::from(graph.is_weighted()));
    for node in 0..graph.num_nodes() {
        add(graph.neighbors(node).len() as u64);
        for (neighbor, weight) in graph.weighted_neighbors(node) {
            add(u64::from(neighbor));
            add(weight.to_bits());
        }
    }
    for byte in format!("{config:?}").bytes() {
        add(u64::from(byte));
    }
    (u128::from(high.0) << 64) | u128::from(low.0)
}

/// SplitMix64's finaliser as a running hash.
struct Mixer(u64);

impl Mixer {
    fn add(&mut self, word: u64) {
        let mut z = (self.0 ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.0 = self.0.rotate_left(23) ^ z ^ (z >> 31);
    }
}
