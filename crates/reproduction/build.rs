//! Does nothing: it is here for its dependency, see `Cargo.toml`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
