//! What crosses crates or processes; see the files under `tests/`.
