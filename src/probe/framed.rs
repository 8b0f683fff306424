//! The check of the newest clients' transport: three connections to one port, of which the one for
//! commands is tried here. Called by the probe; the crate `zeromq` does not know this transport.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::line;
use super::{Answer, Check, Info, Trouble, fresh_identity, info_request, read_info};
use crate::wire::framed::{self, Decoder, Item, Role};
use crate::wire::limits::{Assembler, Limits};

/// Asks for the server info, which every server of this transport answers. `knows_info` is told
/// if it does.
///
/// Servers of the older clients close the connection at its first byte, which is zero: ZeroMQ
/// cannot begin like that.
pub(super) async fn command(
    to: SocketAddr,
    deadline: Instant,
    knows_info: mpsc::Sender<()>,
) -> (Check, Option<Info>) {
    let (mut stream, connect) = match line::connect(to, deadline).await {
        Ok(connected) => connected,
        Err(trouble) => return (Err(trouble), None),
    };
    let begun = Instant::now();
    let asked = timeout_at(deadline, ask(&mut stream))
        .await
        .unwrap_or(Err(Trouble::Silent));
    let round_trip = begun.elapsed();
    if asked.is_ok() {
        // The command port may have failed already.
        let _ = knows_info.try_send(());
    }
    drop(knows_info);
    line::farewell(stream).await;
    match asked {
        Ok(info) => {
            let answer = Answer {
                connect,
                round_trip: Some(round_trip),
            };
            (Ok(answer), Some(info))
        }
        Err(trouble) => (Err(trouble), None),
    }
}

async fn ask(stream: &mut TcpStream) -> Result<Info, Trouble> {
    let hung_up = |_| Trouble::HungUp;
    let mut request = framed::hello(&fresh_identity(), Role::Command).to_vec();
    for segment in framed::encode_all(&info_request()).segments() {
        request.extend_from_slice(segment);
    }
    stream.write_all(&request).await.map_err(hung_up)?;
    let mut decoder = Decoder::of_a_server();
    let mut assembler = Assembler::new();
    let broken = |error: &dyn std::fmt::Display| Trouble::Broken(error.to_string());
    loop {
        while let Some(item) = decoder
            .next(&Limits::STRANGER)
            .map_err(|error| broken(&error))?
        {
            let (more, body) = match item {
                Item::Frame { more, body } => (more, body),
                _ => (false, Bytes::new()),
            };
            let message = assembler
                .push(more, body, &Limits::STRANGER)
                .map_err(|error| broken(&error))?;
            if let Some(info) = message.as_ref().and_then(read_info) {
                return Ok(info);
            }
        }
        assembler.settle();
        let read = stream.read_buf(&mut decoder.space()).await;
        if read.map_err(hung_up)? == 0 {
            return Err(Trouble::HungUp);
        }
    }
}
