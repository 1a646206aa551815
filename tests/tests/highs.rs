//! The certificate's solver with HiGHS, which is built from C++ sources: tested where cmake, a C++ compiler and libclang are.

#![forbid(unsafe_code)]

use std::process::{Command, Stdio};

use integration_tests::{cargo_for_features, reason_to_skip};

#[test]
fn highs_agrees_with_brute_force_where_it_can_be_built() {
    let has = |name: &str| {
        let mut command = Command::new(name);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !has("cmake") || !has("c++") {
        println!("skipped: HiGHS needs a C++ compiler and cmake (apt-get install g++ cmake libclang-dev)");
        return;
    }
    let mut command = cargo_for_features();
    // without Candle, which these tests do not need
    command.args(["test", "--profile", "checked", "--package", "adversarial"]);
    command.args(["--no-default-features", "--features", "highs"]);
    let output = command.args(["--test", "solvers", "--test", "collective_bagging_golden"]).output();
    let output = output.expect("cargo starts");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        return;
    }
    let reason = reason_to_skip(&text).unwrap_or_else(|| panic!("{text}"));
    println!("skipped: {reason}");
}
