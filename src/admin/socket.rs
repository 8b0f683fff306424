//! The socket in the data directory through which `ctl` orders.
//!
//! One JSON object with an order on a line, one with the answer on a line, and the end. Only the
//! user who runs the server, and root, may connect: the socket is theirs alone, and who is on the
//! other side is looked at, too.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::desk::Desk;
use super::order::Order;
use crate::session::Outlet;

/// Longest order.
const LONGEST: u64 = 64 * 1024;
/// How long an order may take to arrive, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// Orders at a time, and so many others that wait for the disk: however slow it is, the server can be asked how it
/// is, and stopped.
const TOGETHER: usize = 16;

/// The open socket. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    /// Which file it is: another server may have put its own in its place.
    inode: Option<u64>,
    listening: tokio::task::JoinHandle<()>,
}

impl Socket {
    /// Opens the socket, in place of one that a server left which is gone.
    ///
    /// # Errors
    /// If that is not possible; nothing else of the server needs it.
    pub(crate) fn open<O: Outlet + Sync>(path: PathBuf, desk: Desk<O>) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let listener = bind(&path)?;
        let listening = tokio::spawn(serve(listener, desk));
        let inode = inode(&path);
        Ok(Self {
            path,
            inode,
            listening,
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.listening.abort();
        if inode(&self.path) == self.inode {
            // The next server would, too.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some(std::os::unix::fs::MetadataExt::ino(&metadata))
}

/// Binds under another name, so that the socket is nobody else's by the time it can be found.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let new = path.with_extension("new");
    for stale in [&new, path] {
        match std::fs::remove_file(stale) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

async fn serve<O: Outlet + Sync>(listener: UnixListener, desk: Desk<O>) {
    let places = Arc::new(Semaphore::new(TOGETHER));
    let long = Arc::new(Semaphore::new(TOGETHER));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (desk, long) = (desk.clone(), Arc::clone(&long));
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, desk, place, long).await {
                        debug!(name: "ctl.lost", %error, "an order or its answer was lost");
                    }
                });
            }
            Err(error) => {
                warn!(name: "ctl.refused", %error, "cannot take an order");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer<O: Outlet + Sync>(
    mut stream: UnixStream,
    desk: Desk<O>,
    place: OwnedSemaphorePermit,
    long: Arc<Semaphore>,
) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if uid != 0 && uid != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::other(format!("ordered by the user {uid}")));
    }
    let (read, mut write) = stream.split();
    // As bytes: what is no text is answered, too.
    let mut line = Vec::new();
    let mut limited = BufReader::new(read.take(LONGEST));
    timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await??;
    let answer = match serde_json::from_slice::<Order>(&line) {
        Ok(order) => match place_for(&order, place, long) {
            Some(_place) => carry_out(order, desk).await,
            None => bad("others wait for the disk already; ctl stats tells how it is"),
        },
        Err(error) => bad(&format!("no order this server knows: {error}")),
    };
    let line = format!("{answer}\n");
    timeout(PATIENCE, write.write_all(line.as_bytes())).await??;
    write.shutdown().await
}

/// What waits for the disk does so in a place of its own, if there is one.
fn place_for(
    order: &Order,
    place: OwnedSemaphorePermit,
    long: Arc<Semaphore>,
) -> Option<OwnedSemaphorePermit> {
    match order.waits_for_the_disk() {
        true => long.try_acquire_owned().ok(),
        false => Some(place),
    }
}

async fn carry_out<O: Outlet + Sync>(order: Order, desk: Desk<O>) -> Value {
    info!(name: "ctl.order", order = ?order, "an order");
    // Also if whoever gave it does not wait: what has begun is not left half done.
    let performed = tokio::spawn(async move { desk.perform(order).await });
    match performed.await {
        Ok(Ok(answer)) => good(&answer),
        Ok(Err(error)) => bad(&error),
        Err(_) => bad("a fault of this server; please report it"),
    }
}

fn good(answer: &super::Answer) -> Value {
    let data = serde_json::to_value(answer).unwrap_or_default();
    json!({ "ok": true, "text": answer.to_string(), "data": data })
}

fn bad(error: &str) -> Value {
    json!({ "ok": false, "error": error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::desk::tests::at_work;

    async fn ordered(path: &Path, order: &str) -> io::Result<Value> {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(format!("{order}\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// As many as are tried again and again by a timer, of which none is answered.
    #[tokio::test]
    async fn who_waits_for_the_disk_keeps_nobody_from_stopping_the_server() {
        let (desk, _hand, data) = at_work();
        let path = data.path().join("control");
        let _socket = Socket::open(path.clone(), desk).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..TOGETHER {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(b"{\"order\":\"save\"}\n").await.unwrap();
            waiting.push(stream);
        }
        let mut last = waiting.pop().unwrap();
        // The orders are read in any order; one more is one too many, whichever it is.
        let more = ordered(&path, r#"{"order":"save"}"#);
        let mut refused = String::new();
        tokio::select! {
            answer = more => refused = answer.unwrap().to_string(),
            read = last.read_to_string(&mut refused) => drop(read.unwrap()),
        }
        assert!(refused.contains("others wait for the disk"), "{refused}");
        let stopped = ordered(&path, r#"{"order":"stop"}"#).await.unwrap();
        assert_eq!(stopped["ok"], true, "{stopped}");
    }
}
