//! Results of trials on disk: `trials/<group>/<id>.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::atomic_file;
use crate::error::Error;
use crate::regular_file;

/// What one finished trial leaves behind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredTrial {
    pub(crate) schema: u32,
    pub(crate) group: String,
    pub(crate) id: String,
    /// Hash of everything that decides the result; see [`fingerprint`].
    pub(crate) fingerprint: String,
    pub(crate) trial_seed: u64,
    pub(crate) device: String,
    pub(crate) commit: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) params: Value,
    pub(crate) result: Value,
}

const SCHEMA: u32 = 1;
const CHECKSUM_START: &str = "{\n  \"checksum\": \"";
const CHECKSUM_LENGTH: usize = 64;

/// The folder with the finished trials of one run.
#[derive(Debug, Clone)]
pub(crate) struct TrialStore {
    folder: PathBuf,
}

impl TrialStore {
    pub(crate) fn new(run_directory: &Path) -> Self {
        Self { folder: run_directory.join("trials") }
    }

    pub(crate) fn path(&self, group: &str, id: &str) -> PathBuf {
        self.folder.join(file_name(group)).join(format!("{}.json", file_name(id)))
    }

    /// The stored trial, when it is whole and was made from the same parameters and seed. Anything else means that the
    /// trial has to be run again.
    pub(crate) fn load(&self, group: &str, id: &str, fingerprint: &str) -> Option<StoredTrial> {
        let text = regular_file::read(&self.path(group, id)).ok()?;
        let trial = parse(&text)?;
        let is_this_trial = trial.schema == SCHEMA && trial.group == group && trial.id == id;
        (is_this_trial && trial.fingerprint == fingerprint).then_some(trial)
    }

    pub(crate) fn save(&self, trial: &StoredTrial) -> Result<(), Error> {
        let text = print(trial)?;
        atomic_file::write_in_new_folder(&self.path(&trial.group, &trial.id), text.as_bytes())
    }
}

impl StoredTrial {
    pub(crate) fn new(group: &str, id: &str) -> Self {
        Self {
            schema: SCHEMA,
            group: group.to_owned(),
            id: id.to_owned(),
            fingerprint: String::new(),
            trial_seed: 0,
            device: String::new(),
            commit: None,
            seconds: 0.0,
            params: Value::Null,
            result: Value::Null,
        }
    }
}

/// Hash of what decides a trial's result: its parameters, the run's seed, and whether the data is synthetic.
pub(crate) fn fingerprint(group: &str, id: &str, params: &Value, seed: u64, is_synthetic: bool) -> String {
    hex(&digest(&[group, id, &params.to_string(), &seed.to_string(), &is_synthetic.to_string()]))
}

/// The trial's seed, which depends on the run's seed and the trial's name only: adding trials changes no other seed.
pub(crate) fn trial_seed(run_seed: u64, group: &str, id: &str) -> u64 {
    first_bytes(&digest(&["seed", &run_seed.to_string(), group, id]))
}

/// The seed of a named stream that trials of any group share.
pub(crate) fn shared_seed(run_seed: u64, name: &str) -> u64 {
    first_bytes(&digest(&["shared seed", &run_seed.to_string(), name]))
}

fn first_bytes(digest: &[u8]) -> u64 {
    digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// A name for the file system, one to one: letters, digits, `_`, `-`, `=` and inner dots stay, other bytes become `%xx`.
pub(crate) fn file_name(name: &str) -> String {
    let mut encoded = String::new();
    for (position, byte) in name.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric() || b"_-=+".contains(&byte) || (byte == b'.' && position > 0);
        if is_plain {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02x}"));
        }
    }
    encoded
}

/// The file's text: pretty JSON whose first field is the SHA-256 of the text with zeros in that field's place.
fn print(trial: &StoredTrial) -> Result<String, Error> {
    let what = || format!("trial `{}/{}`", trial.group, trial.id);
    let body = serde_json::to_string_pretty(trial)
        .map_err(|error| Error::Stored { what: what(), reason: error.to_string() })?;
    let rest = body.strip_prefix("{\n").unwrap_or(&body);
    let with_checksum = |checksum: &str| format!("{CHECKSUM_START}{checksum}\",\n{rest}\n");
    let zeros = with_checksum(&"0".repeat(CHECKSUM_LENGTH));
    Ok(with_checksum(&hex(&Sha256::digest(zeros.as_bytes()))))
}

fn parse(text: &str) -> Option<StoredTrial> {
    let end = CHECKSUM_START.len() + CHECKSUM_LENGTH;
    let checksum = text.strip_prefix(CHECKSUM_START)?.get(..CHECKSUM_LENGTH)?;
    let zeros = format!("{CHECKSUM_START}{}{}", "0".repeat(CHECKSUM_LENGTH), text.get(end..)?);
    if hex(&Sha256::digest(zeros.as_bytes())) != checksum {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// SHA-256 over parts with their lengths, so that no two lists of parts read the same.
fn digest(parts: &[&str]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn stored() -> StoredTrial {
        let params = json!({ "fold": 1 });
        StoredTrial {
            fingerprint: fingerprint("folds", "fold/1", &params, 0, false),
            params,
            result: json!({ "accuracy": 0.1, "note": "é" }),
            ..StoredTrial::new("folds", "fold/1")
        }
    }

    #[test]
    fn a_saved_trial_is_loaded_with_its_result() {
        let folder = tempfile::tempdir().unwrap();
        let store = TrialStore::new(folder.path());
        let trial = stored();
        store.save(&trial).unwrap();
        let loaded = store.load("folds", "fold/1", &trial.fingerprint).unwrap();
        assert_eq!(loaded.result, trial.result);
    }

    #[test]
    fn other_parameters_seed_or_data_mean_no_stored_result() {
        let folder = tempfile::tempdir().unwrap();
        let store = TrialStore::new(folder.path());
        store.save(&stored()).unwrap();
        let params = json!({ "fold": 1 });
        for other in [
            fingerprint("folds", "fold/1", &json!({ "fold": 2 }), 0, false),
            fingerprint("folds", "fold/1", &params, 1, false),
            fingerprint("folds", "fold/1", &params, 0, true),
        ] {
            assert!(store.load("folds", "fold/1", &other).is_none());
        }
    }

    #[test]
    fn a_file_cut_at_any_byte_is_detected() {
        let text = print(&stored()).unwrap();
        assert!(parse(&text).is_some());
        for length in (0..text.len()).filter(|length| text.is_char_boundary(*length)) {
            assert!(parse(&text[..length]).is_none(), "cut at {length}");
        }
    }

    #[test]
    fn a_file_with_any_byte_changed_is_detected() {
        let text = print(&stored()).unwrap().into_bytes();
        for position in 0..text.len() {
            let mut changed = text.clone();
            changed[position] = if changed[position] == b'7' { b'8' } else { b'7' };
            let is_accepted = std::str::from_utf8(&changed).is_ok_and(|text| parse(text).is_some());
            assert!(!is_accepted, "changed at {position}");
        }
    }

    #[test]
    fn a_trial_under_the_name_of_another_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let store = TrialStore::new(folder.path());
        let trial = stored();
        store.save(&trial).unwrap();
        fs::rename(store.path("folds", "fold/1"), store.path("folds", "2")).unwrap();
        assert!(store.load("folds", "2", &trial.fingerprint).is_none());
    }

    #[test]
    fn seeds_differ_by_run_group_and_id() {
        let seeds = [
            trial_seed(0, "a", "b"),
            trial_seed(1, "a", "b"),
            trial_seed(0, "ab", ""),
            trial_seed(0, "", "ab"),
            trial_seed(0, "a", "c"),
        ];
        for (index, seed) in seeds.iter().enumerate() {
            assert!(!seeds[..index].contains(seed));
        }
    }

    proptest! {
        #[test]
        fn file_names_stay_inside_the_folder_and_are_one_to_one(first in ".{0,12}", second in ".{0,12}") {
            let name = file_name(&first);
            prop_assert!(!name.contains('/') && !name.contains('\\') && !name.starts_with('.'));
            prop_assert_eq!(name == file_name(&second), first == second);
        }
    }
}
