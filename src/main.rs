//! The `multi-user-server` program: flags, configuration, run, exit status.

mod commands;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use multi_user_server::{
    cli::{Cli, Command, expand},
    config::{self, Config},
    log,
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
    let loaded = match config::load(&cli.flags) {
        Ok(loaded) => loaded,
        Err(errors) => return fail(USAGE, &errors.to_string()),
    };
    end(match command {
        Command::CheckConfig => {
            if let Err(error) = commands::check_kept_password(&loaded.config) {
                return fail(USAGE, &format!("error: {error}"));
            }
            commands::check_config(&loaded)
        }
        Command::PrintConfig => commands::print_config(&loaded),
        Command::Probe(args) => {
            return match commands::probe(&args, &loaded.config) {
                Ok(status) => ExitCode::from(status),
                Err(error) => fail(USAGE, &format!("error: {error}")),
            };
        }
        #[cfg(unix)]
        Command::Ctl(args) => commands::ctl(&args, &loaded.config),
        Command::Session(args) => commands::session(&args, &loaded.config),
        Command::AdminPassword(args) => commands::admin_password(&loaded, &args),
        _ => return serve(loaded.config),
    })
}

fn end(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("error: {}", words(&error))),
    }
}

/// What failed, and why. Most errors name their cause themselves.
fn words(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn fail(status: u8, message: &str) -> ExitCode {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr(), "{message}");
    ExitCode::from(status)
}

fn serve(config: Config) -> ExitCode {
    if let Err(error) = log::init(&config.log) {
        return end(Err(error.into()));
    }
    let result = multi_user_server::run(config).context("cannot serve");
    if log::flush() {
        return end(result);
    }
    // Who does not take the log would not take another line, and the end would wait for that.
    ExitCode::from(u8::from(result.is_err()))
}
