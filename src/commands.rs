//! What the program does besides serving: the subcommands that look at, print or change
//! something and end.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, bail};
use clap::CommandFactory;

#[cfg(unix)]
use multi_user_server::admin::owner;
use multi_user_server::admin::sessions;
use multi_user_server::admin_password::{self, AdminPasswordError};
#[cfg(unix)]
use multi_user_server::cli::CtlArgs;
use multi_user_server::cli::{AdminPasswordArgs, Cli, ProbeArgs, SessionArgs, Shell};
use multi_user_server::config::{Clients, Config, Loaded, Origin, Secret, without_mark};
use multi_user_server::probe::{self, Address, ProbeError};

/// Longest line taken as a password.
const LINE: u64 = 4096;

/// What `check-config` finds that loading does not: a kept admin password that does not go with the
/// configuration.
///
/// # Errors
///
/// If the server would not start with it.
pub(crate) fn check_kept_password(config: &Config) -> Result<(), AdminPasswordError> {
    if config.session.admin_password.is_some() {
        return Ok(());
    }
    match admin_password::load(&config.data_dir) {
        Ok(Some(kept)) => admin_password::check_differs(&config.data_dir, &kept, &config.session),
        // Whoever checks may be another user than the server's, who alone can read it.
        Ok(None) | Err(AdminPasswordError::File { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// `check-config`, for a configuration that has no mistakes.
///
/// # Errors
///
/// If it cannot be printed.
pub(crate) fn check_config(loaded: &Loaded) -> anyhow::Result<()> {
    say(format!("ok ({})\n", loaded.files()))
}

/// `print-config`.
///
/// # Errors
///
/// If it cannot be printed.
pub(crate) fn print_config(loaded: &Loaded) -> anyhow::Result<()> {
    say(loaded.to_string())
}

/// `admin-password`: prints the password in effect, or changes the one that is kept.
///
/// # Errors
///
/// If it cannot be read or kept, or another one is configured.
pub(crate) fn admin_password(loaded: &Loaded, args: &AdminPasswordArgs) -> anyhow::Result<()> {
    let config = &loaded.config;
    let directory = &config.data_dir;
    if !args.set && !args.new {
        let password = match &config.session.admin_password {
            Some(password) => password.clone(),
            None => kept_or_new(directory)?,
        };
        #[cfg(unix)]
        owner::settle(config, &config.session.name)?;
        return say(format!("{}\n", password.reveal()));
    }
    for key in ["session.admin_password", "session.admin_password_file"] {
        let origin = loaded.origins.of(key);
        if config.session.admin_password.is_some() && *origin != Origin::Default {
            bail!("the admin password comes from {origin}: change it there");
        }
    }
    let password = if args.new {
        admin_password::make_up()?
    } else {
        ask()?
    };
    admin_password::check_differs(directory, &password, &config.session)?;
    admin_password::keep(directory, &password)?;
    #[cfg(unix)]
    owner::settle(config, &config.session.name)?;
    if args.new {
        say(format!("{}\n", password.reveal()))?;
    }
    let path = admin_password::file(directory);
    // On standard error, so that scripts get the password alone.
    let _ = writeln!(
        io::stderr(),
        "kept in {}; a running server takes it at its next start",
        path.display()
    );
    Ok(())
}

fn kept_or_new(directory: &Path) -> anyhow::Result<Secret> {
    if let Some(kept) = admin_password::load(directory)? {
        return Ok(kept);
    }
    let password = admin_password::load_or_create(directory)?;
    let _ = writeln!(
        io::stderr(),
        "there was none in {}, so one was made up for the next start there; is --data-dir the server's \
         own?",
        directory.display()
    );
    Ok(password)
}

fn ask() -> anyhow::Result<Secret> {
    let input = io::stdin();
    if input.is_terminal() {
        let _ = write!(io::stderr(), "new admin password: ");
    }
    let mut line = String::new();
    io::Read::take(input.lock(), LINE)
        .read_line(&mut line)
        .context("can't read a password from standard input")?;
    let password = without_mark(&line).trim_end_matches(['\r', '\n']);
    Ok(Secret::new(password.to_owned()))
}

/// `probe`: reports on a server, and gives the exit status that says the same.
///
/// # Errors
///
/// If there is nothing that could be probed.
pub(crate) fn probe(args: &ProbeArgs, config: &Config) -> Result<u8, ProbeError> {
    let wanted = match &args.clients[..] {
        [] => config.session.clients.clone(),
        eras => Clients::of(eras),
    };
    let address = args.address.clone();
    let address = address.unwrap_or_else(|| Address::of_own(&config.bind));
    let report = probe::run(&address, config.port, wanted, args.wait)?;
    let text = match (args.quiet, args.json) {
        (true, _) => String::new(),
        (_, true) => report.to_json() + "\n",
        _ => report.to_string(),
    };
    // Who does not read the report still gets the status.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(report.exit_status)
}

/// `ctl`: has the running server do something.
///
/// # Errors
///
/// If there is none, or it did not do it.
#[cfg(unix)]
pub(crate) fn ctl(args: &CtlArgs, config: &Config) -> anyhow::Result<()> {
    use multi_user_server::admin::{Order, client};

    let session = args.session.as_deref().unwrap_or(&config.session.name);
    sessions::check_name(session)?;
    let answered = match &args.order {
        Order::Restore {
            backup: Some(which),
            ..
        } => client::restore(&config.data_dir, session, which),
        order => client::order(&config.data_dir, session, order),
    }?;
    print(args.json, &answered.text, &answered.data)
}

/// `session`: looks at, copies or changes what is kept of a session.
///
/// # Errors
///
/// If that is not possible; nothing has changed then.
pub(crate) fn session(args: &SessionArgs, config: &Config) -> anyhow::Result<()> {
    let name = args.name.as_deref().unwrap_or(&config.session.name);
    let answered = sessions::run(&args.command, name, config);
    // Also if it failed: it may have come half way.
    #[cfg(unix)]
    let settled = owner::settle(config, name);
    let answered = answered?;
    #[cfg(unix)]
    settled?;
    print(args.json, &answered.text, &answered.data)
}

fn print(json: bool, text: &str, data: &serde_json::Value) -> anyhow::Result<()> {
    if json {
        say(format!("{data}\n"))
    } else {
        say(text)
    }
}

/// Prints on standard output. Who has closed it, as `head` does, has read enough.
fn say(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_ref()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        said => said.context("can't print"),
    }
}

/// `completions`: a script for a shell.
///
/// # Errors
///
/// If it cannot be printed.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    say(script)
}

/// `man`: the manual page in roff.
///
/// # Errors
///
/// If it cannot be printed.
pub(crate) fn man() -> anyhow::Result<()> {
    let page = clap_mangen::Man::new(Cli::command());
    let mut text = Vec::new();
    page.render(&mut text).context("can't make the page")?;
    say(text)
}
