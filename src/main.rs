//! The `multi-user-server` program: flags, configuration, run, exit status.

mod commands;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use multi_user_server::{
    cli::{Cli, Command, ProbeArgs, expand},
    config::{self, Clients, Config},
    log,
    probe::{self, Address},
};

/// The exit status for mistakes in flags or configuration, as clap has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse_from(expand(std::env::args_os()));
    let command = cli.command.clone().unwrap_or_default();
    let result = match command {
        Command::Completions { shell } => Some(commands::completions(shell)),
        Command::Man => Some(commands::man()),
        _ => None,
    };
    if let Some(result) = result {
        return end(result);
    }
    let loaded = match config::load(&cli) {
        Ok(loaded) => loaded,
        Err(errors) => return fail(USAGE, &errors.to_string()),
    };
    end(match command {
        Command::CheckConfig => commands::check_config(&loaded),
        Command::PrintConfig => commands::print_config(&loaded),
        Command::Probe(args) => return probe(&args, &loaded.config),
        Command::AdminPassword(args) => commands::admin_password(&loaded, &args),
        _ => serve(loaded.config),
    })
}

fn end(result: anyhow::Result<()>) -> ExitCode {
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
    log::init(&config.log)?;
    multi_user_server::run(config).context("cannot serve")
}

fn probe(args: &ProbeArgs, config: &Config) -> ExitCode {
    let wanted = match &args.clients[..] {
        [] => config.session.clients.clone(),
        eras => Clients::of(eras),
    };
    let address = args.address.clone();
    let address = address.unwrap_or_else(|| Address::of_own(&config.bind));
    let report = match probe::run(&address, config.port, wanted, args.wait) {
        Ok(report) => report,
        Err(error) => return fail(USAGE, &format!("error: {error}")),
    };
    let text = match (args.quiet, args.json) {
        (true, _) => String::new(),
        (_, true) => report.to_json() + "\n",
        _ => report.to_string(),
    };
    // Who does not read the report still gets the status.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(report.exit_status)
}
