//! A dedicated server for collaborative Blender sessions: clients of the *multi-user* add-on
//! connect, the server keeps the master copy of the scene's nodes, relays every change and knows
//! who may change what.
//!
//! A tour, in the direction of a node's bytes:
//!
//! - [`net`] accepts connections within limits and learns what each is for.
//! - [`wire`] turns bytes into messages and messages into requests and nodes, for every published
//!   generation of clients; it knows neither sockets nor the session.
//! - `ports` has one task per port role between the connections and the session.
//! - [`session`] is the actor that owns nodes, users, rights and passwords.
//! - [`store`] keeps the session on disk, so that it is there after the next start; [`session_file`]
//!   exchanges it with the add-on, as the file that the add-on itself saves.
//! - [`server`] puts these together, on the [`platform`] it finds itself on; [`config`] says how;
//!   [`counters`] count, and [`beat`] tells the moments of what is done again and again.
//!
//! Beside the server stands [`probe`], which tells from outside whether one can be reached.

#![forbid(unsafe_code)]

pub mod admin;
pub mod admin_password;
pub mod backup;
pub mod beat;
pub mod cli;
pub mod config;
mod console;
pub mod counters;
pub mod log;
mod memory;
pub mod net;
pub mod platform;
pub mod ports;
pub mod probe;
pub mod server;
pub mod session;
pub mod session_file;
pub mod store;
mod text;
pub mod wire;

use std::io;

use tracing::info;

use crate::beat::Beat;
use crate::config::Config;
use crate::console::Console;
#[cfg(unix)]
use crate::platform::files;
use crate::platform::signals::{self, Signals};
use crate::platform::{attached, service};
use crate::server::{Server, StartError};

/// What was typed at the console, in the data directory.
const CONSOLE_HISTORY: &str = "console-history";

/// Runs a server in runtimes of its own until the process is asked to stop.
///
/// # Errors
///
/// If it cannot start, a fault has ended its session, or the last changes could not be written.
pub fn run(config: Config) -> Result<(), StartError> {
    #[cfg(unix)]
    files::allow(config.net.max_connections);
    let threads = config.runtime.worker_threads.resolve();
    Beat::of_process();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("session")
        .enable_all()
        .build()?;
    // Heartbeats have a thread of their own: no work of the session delays them.
    let heartbeats = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("heartbeats")
        .enable_all()
        .build()?;
    let handle = heartbeats.handle().clone();
    let result = runtime.block_on(async {
        let attached = config.runtime.attached;
        let history = config.data_dir.join(CONSOLE_HISTORY);
        #[cfg(unix)]
        let socket = admin::socket_path(&config.data_dir, &config.session.name);
        let console = config.runtime.console;
        let server = Server::start(config, Some(handle)).await?;
        let session = server.session();
        #[cfg(unix)]
        let socket = open_socket(socket, server.desk());
        // Who reads that it listens may tell it to stop.
        let signals = Signals::listen()?;
        server.announce();
        service::ready(session);
        let mut console = console
            .then(|| Console::open(server.desk().clone(), history))
            .flatten();
        let stop = tokio::select! {
            stop = signals.wait_for_stop(server.counters(), server.backups()) => stop,
            () = server.desk().wait_for_stop() => Ok(()),
            () = exit_typed(console.as_mut()) => Ok(()),
            why = session.ended() => return Err(why.map_or(StartError::Ended, StartError::Load)),
            why = attached::wait(session.user_count()), if attached => {
                info!(name: "server.alone", "ending, because {why}");
                Ok(())
            }
        };
        service::stopping();
        drop(console);
        let stopped = server.stop_before(signals::another()).await;
        #[cfg(unix)]
        drop(socket);
        stop.map_err(|error: io::Error| StartError::from(error))
            .and(stopped)
    });
    heartbeats.shutdown_background();
    runtime.shutdown_background();
    result
}

/// The server serves without it, too.
#[cfg(unix)]
fn open_socket<O: session::Outlet + Sync>(
    path: std::path::PathBuf,
    desk: &admin::Desk<O>,
) -> Option<admin::socket::Socket> {
    match admin::socket::Socket::open(path.clone(), desk.clone()) {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::warn!(name: "ctl.closed", path = %path.display(), %error, "ctl cannot be used");
            None
        }
    }
}

async fn exit_typed(console: Option<&mut Console>) {
    match console {
        Some(console) => console.wait_for_exit().await,
        None => std::future::pending().await,
    }
}
