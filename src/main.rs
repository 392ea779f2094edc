//! The life of the process: arguments, settings, tracing, the command, the exit code.

use std::process::ExitCode;

use clap::Parser;

use cervella::cli::{Arguments, exit_code, report};
use cervella::telemetry;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => {
            let _ = usage.print();
            return ExitCode::from(usage.exit_code() as u8);
        }
    };
    // One provider for every library that speaks TLS; a second call fails, and there is none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    telemetry::log_to_stderr(arguments.verbosity());
    match arguments.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}
