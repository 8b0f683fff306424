//! One connection to a server, as cheap as it can be: what is sent is written from where it lies,
//! and of what comes only the beginnings are looked at. The rest is thrown away by the kernel
//! before it is copied.
//!
//! The measuring default of [`client`](crate::client); [`foreign`](crate::foreign) is the same by
//! the `zeromq` crate.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use multi_user_server::wire::framed::{self, Role};
use multi_user_server::wire::identity::Identity;
use multi_user_server::wire::message::{Encoded, Message};
use multi_user_server::wire::zmtp::{self, SocketType};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;

/// How much is read at once. What is longer than that is thrown away where nobody wants it.
const READ: usize = 64 << 10;
/// How much is thrown away at once.
const SKIP: usize = 4 << 20;
/// Linux: the kernel forgets the bytes instead of copying them.
const MSG_TRUNC: i32 = 0x20;
/// How often a connection that is refused is tried again: servers with a short queue of
/// connections refuse some of many.
const TRIES: u32 = 50;

/// The bytes in front of each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A DEALER or PUSH socket of ZeroMQ's.
    Zmtp(SocketType),
    /// The newest clients' chunks.
    Chunks(Role),
}

impl Framing {
    /// A message in the bytes of this transport.
    pub(crate) fn encode(self, message: &Message) -> Encoded {
        match self {
            Self::Zmtp(_) => zmtp::encode(message),
            Self::Chunks(_) => framed::encode(message),
        }
    }
}

/// Connects and says who is there. Gives the end that sends and the one that reads.
pub(crate) async fn connect(
    address: SocketAddr,
    framing: Framing,
    identity: &Identity,
) -> io::Result<(Sender, Reader)> {
    let stream = Rc::new(patiently(address).await?);
    stream.set_nodelay(true)?;
    let sender = Sender {
        stream: Rc::clone(&stream),
        framing,
    };
    let mut reader = Reader {
        stream,
        framing,
        buffer: vec![0; READ].into(),
        unread: 0..0,
        place: Place::Start,
        heads: Heads::default(),
        keep: Rc::new(Cell::new(1 << 10)),
        void: Vec::new(),
    };
    match framing {
        Framing::Zmtp(socket) => {
            let named = (socket == SocketType::Dealer).then(|| identity.as_bytes());
            let ready = zmtp::ready(socket, named);
            sender.write(&[&zmtp::greeting(), &ready]).await?;
            reader.greeting().await?;
        }
        Framing::Chunks(role) => sender.write(&[&framed::hello(identity, role)]).await?,
    }
    Ok((sender, reader))
}

async fn patiently(address: SocketAddr) -> io::Result<TcpStream> {
    for _ in 1..TRIES {
        if let Ok(stream) = TcpStream::connect(address).await {
            return Ok(stream);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    TcpStream::connect(address).await
}

/// The end that sends. One task at a time uses it.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    stream: Rc<TcpStream>,
    framing: Framing,
}

impl Sender {
    /// Sends a message.
    pub(crate) async fn send(&self, message: &Message) -> io::Result<()> {
        let encoded = self.framing.encode(message);
        let parts: Vec<&[u8]> = encoded.segments().iter().map(Bytes::as_ref).collect();
        self.write(&parts).await
    }

    /// Sends bytes that are in the transport's form already.
    pub(crate) async fn write(&self, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            consume_budget().await;
            match self.stream.try_write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The beginnings of a message's frames.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    bytes: Vec<u8>,
    /// Of each frame, where its kept bytes end in `bytes`, and how long it is.
    frames: Vec<(usize, usize)>,
}

impl Heads {
    /// How many frames there are.
    pub(crate) fn count(&self) -> usize {
        self.frames.len()
    }

    /// What was kept of a frame.
    pub(crate) fn head(&self, frame: usize) -> &[u8] {
        let start = frame.checked_sub(1).map_or(0, |last| self.frames[last].0);
        &self.bytes[start..self.frames[frame].0]
    }

    /// What was kept of the last frame, which is the one with the payload.
    pub(crate) fn last(&self) -> &[u8] {
        self.count()
            .checked_sub(1)
            .map_or(&[], |last| self.head(last))
    }

    /// Bytes of all frames.
    pub(crate) fn len(&self) -> usize {
        self.frames.iter().map(|(_, len)| len).sum()
    }

    /// The message itself, if all of it was kept.
    pub(crate) fn whole(&self) -> Option<Message> {
        (self.bytes.len() == self.len()).then(|| {
            let frames = 0..self.count();
            Message::new(
                frames
                    .map(|frame| Bytes::copy_from_slice(self.head(frame)))
                    .collect(),
            )
        })
    }

    /// The heads of a message that somebody else has read.
    pub(crate) fn fill(&mut self, frames: &[Bytes], keep: usize) {
        self.clear();
        for frame in frames {
            let kept = kept(frame.len(), keep);
            self.bytes.extend_from_slice(&frame[..kept]);
            self.frames.push((self.bytes.len(), frame.len()));
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.frames.clear();
    }
}

/// How much is kept of a frame: all of one that is short enough, the head of a longer one.
fn kept(len: usize, keep: usize) -> usize {
    if len <= keep { len } else { len.min(512) }
}

#[derive(Debug)]
enum Place {
    /// Before a message (in chunks: before its count).
    Start,
    /// Before a frame; in chunks so many are to come.
    Frame { left: u32 },
    /// Within one.
    Body {
        keep: usize,
        left: usize,
        last: bool,
        command: bool,
        chunks: u32,
    },
}

/// The end that reads.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: Rc<TcpStream>,
    framing: Framing,
    buffer: Box<[u8]>,
    unread: std::ops::Range<usize>,
    place: Place,
    heads: Heads,
    keep: Rc<Cell<usize>>,
    void: Vec<MaybeUninit<u8>>,
}

impl Reader {
    /// Up to which length frames are kept whole. May be changed at any time.
    pub(crate) fn keep(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.keep)
    }

    /// Throws the peer's greeting and its READY away.
    async fn greeting(&mut self) -> io::Result<()> {
        while self.unread.len() < zmtp::greeting().len() {
            self.fill().await?;
        }
        self.unread.start += zmtp::greeting().len();
        loop {
            if let Some((used, len, _, _)) = zmtp_frame(&self.buffer[self.unread.clone()])
                && self.unread.len() >= used + len
            {
                self.unread.start += used + len;
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// The next message's heads; an error at the end of the connection.
    pub(crate) async fn next(&mut self) -> io::Result<&Heads> {
        self.heads.clear();
        loop {
            let here = &self.buffer[self.unread.clone()];
            match &mut self.place {
                Place::Start => match (self.framing, here.first_chunk::<4>()) {
                    (Framing::Zmtp(_), _) => self.place = Place::Frame { left: 0 },
                    (Framing::Chunks(_), Some(count)) => {
                        let left = u32::from_be_bytes(*count);
                        self.place = Place::Frame { left };
                        self.unread.start += 4;
                    }
                    _ => self.fill().await?,
                },
                Place::Frame { left } => {
                    let chunks = *left;
                    let Some((used, len, last, command)) = self.frame_head(chunks) else {
                        self.fill().await?;
                        continue;
                    };
                    self.unread.start += used;
                    let keep = if command {
                        0
                    } else {
                        kept(len, self.keep.get())
                    };
                    if !command {
                        self.heads.frames.push((self.heads.bytes.len() + keep, len));
                    }
                    self.place = Place::Body {
                        keep,
                        left: len,
                        last,
                        command,
                        chunks: chunks.saturating_sub(1),
                    };
                }
                Place::Body {
                    keep,
                    left,
                    last,
                    command,
                    chunks,
                } => {
                    let take = here.len().min(*left);
                    let copy = take.min(*keep);
                    self.heads.bytes.extend_from_slice(&here[..copy]);
                    *keep -= copy;
                    *left -= take;
                    self.unread.start += take;
                    let (keep, left) = (*keep, *left);
                    if left == 0 {
                        let done = *last && !*command;
                        self.place = if *last {
                            Place::Start
                        } else {
                            Place::Frame { left: *chunks }
                        };
                        if done {
                            return Ok(&self.heads);
                        }
                    } else if keep == 0 && left > READ / 4 {
                        let skipped = self.skip(left).await?;
                        if let Place::Body { left, .. } = &mut self.place {
                            *left -= skipped;
                        }
                    } else {
                        self.fill().await?;
                    }
                }
            }
        }
    }

    /// Bytes before the frame, its length, whether it is the last and whether it is none.
    fn frame_head(&self, left: u32) -> Option<(usize, usize, bool, bool)> {
        let here = &self.buffer[self.unread.clone()];
        match self.framing {
            Framing::Zmtp(_) => zmtp_frame(here),
            Framing::Chunks(_) => {
                let len = u32::from_be_bytes(*here.first_chunk()?);
                Some((4, len as usize, left <= 1, false))
            }
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        consume_budget().await;
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        loop {
            match self.stream.try_read(&mut self.buffer[self.unread.end..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    self.unread.end += read;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.readable().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn skip(&mut self, most: usize) -> io::Result<usize> {
        if self.void.is_empty() {
            self.void = vec![MaybeUninit::uninit(); SKIP];
        }
        let void = &mut self.void[..most.min(SKIP)];
        loop {
            self.stream.readable().await?;
            let stream = &*self.stream;
            let skipped = stream.try_io(Interest::READABLE, || {
                SockRef::from(stream).recv_with_flags(void, MSG_TRUNC)
            });
            match skipped {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                skipped => return skipped,
            }
        }
    }
}

/// What stands before a frame of ZMTP's: the bytes it takes, the frame's length, whether it is the
/// last of its message, and whether it is a command, which is no message at all.
fn zmtp_frame(here: &[u8]) -> Option<(usize, usize, bool, bool)> {
    let (flags, after) = here.split_first()?;
    let (used, len) = if flags & 2 == 0 {
        (2, usize::from(*after.first()?))
    } else {
        let len = u64::from_be_bytes(*after.first_chunk()?);
        (9, usize::try_from(len).unwrap())
    };
    Some((used, len, flags & 1 == 0, flags & 4 != 0))
}
