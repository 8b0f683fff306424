//! The console: who starts the server on a terminal can list and remove users and end it, as with
//! the original server's shell. [`run`](crate::run) opens it. The end of the input closes it and
//! leaves the server running; that is how a container without a terminal behaves.

mod orders;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Context, Editor, ExternalPrinter, Helper, Highlighter, Hinter, Validator};
use tokio::runtime;
use tokio::sync::oneshot;
use tracing::debug;

use self::orders::Line;
use crate::admin::{Answer, Desk, Order};
use crate::log;
use crate::session::Outlet;

/// As in the original's shell.
const PROMPT: &str = ">> ";

/// An open console. Dropping it puts the terminal back as it was.
#[derive(Debug)]
pub(crate) struct Console {
    exit: oneshot::Receiver<()>,
    #[cfg(unix)]
    terminal: Option<nix::sys::termios::Termios>,
}

impl Console {
    /// Opens the console if somebody is there to type: the input and the output are a terminal,
    /// and the program does not run in its background. What was typed is remembered in `history`.
    pub(crate) fn open<O: Outlet + Sync>(desk: Desk<O>, history: PathBuf) -> Option<Self> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal() && in_foreground()) {
            return None;
        }
        #[cfg(unix)]
        let terminal = nix::sys::termios::tcgetattr(io::stdin()).ok();
        // What was logged until now is not to get into the first line.
        log::flush();
        let mut editor: Editor<Words<O>, FileHistory> = Editor::new().ok()?;
        if io::stderr().is_terminal()
            && let Ok(mut printer) = editor.create_external_printer()
        {
            log::print_through(Some(Box::new(move |line| printer.print(line).is_ok())));
        }
        // There is none at the first start.
        let _ = editor.load_history(&history);
        let runtime = runtime::Handle::current();
        editor.set_helper(Some(Words {
            desk: desk.clone(),
            runtime: runtime.clone(),
        }));
        let (ends, exit) = oneshot::channel();
        let talk = move || {
            let wants_exit = talk(&mut editor, &desk, &runtime);
            log::print_through(None);
            // A convenience; the directory may not be there.
            let _ = editor.save_history(&history);
            if wants_exit {
                let _ = ends.send(());
            }
        };
        let thread = std::thread::Builder::new().name("console".to_owned());
        // Ends with the process: it waits for keys.
        if let Err(error) = thread.spawn(talk) {
            debug!(name: "console.failed", %error, "no console");
            return None;
        }
        Some(Self {
            exit,
            #[cfg(unix)]
            terminal,
        })
    }

    /// Waits until the operator wants the server to end; for ever if the console was closed.
    pub(crate) async fn wait_for_exit(&mut self) {
        if (&mut self.exit).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        log::print_through(None);
        // Its thread may be waiting for keys, with the terminal set up for that.
        #[cfg(unix)]
        if let Some(terminal) = &self.terminal {
            use nix::sys::termios::{SetArg, tcsetattr};
            // At once: what is being written may never be taken.
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, terminal);
        }
    }
}

/// A program in the background (`server &`) is stopped by the system when it reads the terminal.
#[cfg(unix)]
fn in_foreground() -> bool {
    nix::unistd::tcgetpgrp(io::stdin()).is_ok_and(|group| group == nix::unistd::getpgrp())
}

#[cfg(not(unix))]
fn in_foreground() -> bool {
    true
}

/// Takes lines until there are no more. Returns whether the server is to end.
fn talk<O: Outlet + Sync>(
    editor: &mut Editor<Words<O>, FileHistory>,
    desk: &Desk<O>,
    runtime: &runtime::Handle,
) -> bool {
    let mut out = io::stdout();
    if writeln!(out, "Type help or ? for what can be done here.").is_err() {
        return false;
    }
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => return true,
            Err(ReadlineError::Eof) => {
                let _ = writeln!(out, "console closed; the server goes on (Ctrl+C ends it)");
                return false;
            }
            Err(ReadlineError::Signal(_)) => continue,
            Err(error) => {
                debug!(name: "console.failed", %error, "the console ended");
                return false;
            }
        };
        let answer = match orders::understand(&line) {
            Line::Nothing => continue,
            Line::Exit => return true,
            Line::Help => orders::help(),
            Line::Order(order) => match runtime.block_on(desk.perform(order)) {
                Ok(answer) => answer.to_string(),
                Err(problem) => sentence(&problem),
            },
            Line::Incomplete(problem) => format!("{problem}\n"),
            Line::Unknown(text) => format!("*** Unknown: {text} (help lists what there is)\n"),
        };
        // What can't be remembered is only less convenient.
        let _ = editor.add_history_entry(line.trim());
        if out.write_all(answer.as_bytes()).is_err() {
            return false;
        }
    }
}

/// What `ctl` says after "error:" as the original's shell says it.
fn sentence(problem: &str) -> String {
    let mut chars = problem.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    format!("{}{}.\n", first.unwrap_or(' '), chars.as_str())
}

/// Completes orders and names.
#[derive(Helper, Highlighter, Hinter, Validator)]
struct Words<O: Outlet + Sync> {
    desk: Desk<O>,
    runtime: runtime::Handle,
}

impl<O: Outlet + Sync> Completer for Words<O> {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        cursor: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..cursor).unwrap_or(line);
        let users = || match self.runtime.block_on(self.desk.perform(Order::Users)) {
            Ok(Answer::Users { users }) => users,
            _ => Vec::new(),
        };
        let nodes = || self.runtime.block_on(self.desk.nodes()).unwrap_or_default();
        Ok(orders::complete(before, users, nodes))
    }
}
