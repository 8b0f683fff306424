//! The data links by the `zeromq` crate's sockets, to see what they cost: they want each frame in one
//! piece and read all that comes.

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::Result;
use bytes::Bytes;
use multi_user_server::wire::identity::Identity;
use multi_user_server::wire::limits::{Assembler, Limits};
use multi_user_server::wire::zmtp;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use zeromq::util::PeerIdentity;
use zeromq::{
    DealerSendHalf, DealerSocket, PushSocket, Socket, SocketOptions, SocketRecv, SocketSend,
    ZmqMessage,
};

use crate::ear::Ear;
use crate::link::Heads;

/// What is sent is our own.
const ANYTHING: Limits = Limits {
    frame: 1 << 30,
    message: 1 << 30,
    frames: 1 << 16,
};

enum Socketed {
    Dealer(DealerSendHalf),
    Push {
        socket: PushSocket,
        /// Of the link that nodes come on, which would end without it.
        _down: DealerSendHalf,
    },
}

/// Where nodes go.
pub(crate) struct Sender(Mutex<Socketed>);

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

impl Sender {
    /// Sends messages that are in ZMTP's form already.
    pub(crate) async fn write(&self, parts: [&[u8]; 2]) -> Result<()> {
        let mut decoder = zmtp::Decoder::new();
        let mut assembler = Assembler::new();
        decoder.feed(&zmtp::greeting());
        decoder.feed(&zmtp::ready(zmtp::SocketType::Dealer, None));
        for part in parts {
            decoder.feed(part);
        }
        while let Some(item) = decoder.next(&ANYTHING)? {
            if let zmtp::Item::Frame { more, body } = item
                && let Some(message) = assembler.push(more, body, &ANYTHING)?
            {
                let message = ZmqMessage::try_from(message.into_frames()).unwrap();
                match &mut *self.0.lock().await {
                    Socketed::Dealer(socket) => socket.send(message).await?,
                    Socketed::Push { socket, .. } => socket.send(message).await?,
                }
            }
        }
        Ok(())
    }
}

/// Connects the data link, says hello there if that is wanted, and connects the publisher's if there is
/// one.
pub(crate) async fn connect(
    (data, publisher): (SocketAddr, Option<SocketAddr>),
    identity: &Identity,
    ear: &Rc<Ear>,
    tasks: &mut JoinSet<()>,
    hello: Option<&'static str>,
) -> Result<Sender> {
    let mut options = SocketOptions::default();
    options.peer_identity(PeerIdentity::try_from(identity.as_bytes())?);
    let mut socket = DealerSocket::with_options(options);
    socket.connect(&format!("tcp://{data}")).await?;
    let (mut send, mut receive) = socket.split();
    if let Some(hello) = hello {
        send.send(ZmqMessage::from(hello)).await?;
    }
    let ear = Rc::clone(ear);
    tasks.spawn_local(async move {
        let mut heads = Heads::default();
        while let Ok(message) = receive.recv().await {
            let frames: Vec<Bytes> = message.into_vec();
            heads.fill(&frames, 1 << 10);
            ear.on_data(&heads);
        }
        ear.cut("data");
    });
    let socket = match publisher {
        None => Socketed::Dealer(send),
        Some(address) => {
            let mut socket = PushSocket::new();
            socket.connect(&format!("tcp://{address}")).await?;
            Socketed::Push {
                socket,
                _down: send,
            }
        }
    };
    Ok(Sender(Mutex::new(socket)))
}
