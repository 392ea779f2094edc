//! The life of the process: arguments, settings, tracing, the command, the exit code.

use std::process::ExitCode;

use clap::Parser;

use cervella::cli::{Arguments, exit_code, tell};

/// ONNX Runtime reports to its maker, from 1.29 on also on Linux, unless this is set before it is loaded: then it makes
/// nothing ready for it (https://github.com/microsoft/onnxruntime/pull/27379).
const NO_REPORTS: &str = "ORT_DISABLE_TELEMETRY";

fn main() -> ExitCode {
    // SAFETY: no other thread runs yet that could read the environment.
    unsafe { std::env::set_var(NO_REPORTS, "1") };
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => {
            let _ = usage.print();
            return ExitCode::from(usage.exit_code() as u8);
        }
    };
    // One provider for every library that speaks TLS; a second call fails, and there is none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match arguments.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}
