//! Scripts in other languages.

use std::{
    env,
    process::{Command, Stdio},
};

/// A program: the variable that names it, and its usual name.
pub(crate) type Program = (&'static str, &'static str);

pub(crate) const NODE: Program = ("NODE", "node");
pub(crate) const PYTHON: Program = ("PYTHON", "python3");

/// Runs a script of this repository with its arguments, and returns what it printed.
#[track_caller]
pub(crate) fn run(
    (variable, default): Program,
    script: &[&str],
    input: impl Into<Stdio>,
) -> String {
    let program = env::var(variable).unwrap_or_else(|_| default.to_owned());
    let output = Command::new(&program)
        .args(script)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // Whatever proxy this machine asks for other addresses.
        .env("NO_PROXY", "*")
        .env("no_proxy", "*")
        .stdin(input)
        .output()
        .unwrap_or_else(|error| panic!("{variable}={program}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}
