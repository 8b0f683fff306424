//! The `multi-user-server` program: flags, configuration, run, exit status.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use multi_user_server::{
    cli::{Cli, Command},
    config::{self, Config},
    log,
};

/// The exit status for mistakes in flags or configuration, as clap has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let loaded = match config::load(&cli) {
        Ok(loaded) => loaded,
        Err(errors) => return fail(USAGE, &errors.to_string()),
    };
    let result = match cli.command.unwrap_or_default() {
        Command::Serve => serve(loaded.config),
        Command::CheckConfig => {
            writeln!(io::stdout(), "ok ({})", loaded.files()).context("can't print")
        }
        Command::PrintConfig => write!(io::stdout(), "{loaded}").context("can't print"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("error: {error:#}")),
    }
}

fn fail(status: u8, message: &str) -> ExitCode {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr(), "{message}");
    ExitCode::from(status)
}

fn serve(config: Config) -> anyhow::Result<()> {
    log::init(&config.log);
    multi_user_server::run(config).context("cannot serve")
}
