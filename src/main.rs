//! The life of the process: arguments, settings, tracing, the command, the exit code.

use std::process::ExitCode;

use clap::Parser;

use cervella::cli::{Arguments, exit_code, tell};

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
    match arguments.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}
