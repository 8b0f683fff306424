//! Read from one end of a pipe, what somebody wrote to the other.

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::advance;

use super::*;
use crate::ports::Ports;
use crate::ports::linked::{HERE, connected, linked};

/// A message that is read into memory of its own, of which some, but fewer than a batch has, are enough.
const LONG: usize = 2 * BULK;

/// The data link of a user of 0.9.11, as it is read here, and its other end.
struct Linked {
    reader: Reader<DuplexStream>,
    peer: Arc<Peer>,
    link: Arc<Link>,
    ports: Ports,
    permit: Permit,
    other: DuplexStream,
}

impl Linked {
    fn new() -> Self {
        let (ports, peer, link) = linked();
        let context = &ports.context;
        let (other, io) = duplex(4 << 20);
        Self {
            reader: Reader::new(io, connected(), &link, context),
            peer,
            link,
            permit: context.admission.admit(HERE).unwrap(),
            ports,
            other,
        }
    }

    /// Another connection takes the place of this one.
    fn reopen(&mut self) {
        let context = &self.ports.context;
        let (other, io) = duplex(4 << 20);
        self.other = other;
        self.reader = Reader::new(io, connected(), &self.link, context);
        self.reader.entered(&self.peer, Role::Subscriber);
    }

    /// Since when the connection has been busy by a message that comes after so many seconds.
    async fn began(&mut self, seconds: u64) -> Instant {
        let (control, _controls) = mpsc::channel(CONTROL);
        let (context, permit) = (&self.ports.context, &self.permit);
        let mut began = None;
        let next = self.reader.next(
            &self.peer,
            &self.link,
            context,
            permit,
            &control,
            |received| {
                began = Some(received.began);
            },
        );
        let comes = async {
            advance(Duration::from_secs(seconds)).await;
            let message = zmtp::encode(&Message::new(vec![Bytes::from_static(b"node")]));
            for segment in message.segments() {
                self.other.write_all(segment).await.unwrap();
            }
        };
        let (read, ()) = tokio::join!(next, comes);
        read.unwrap();
        began.unwrap()
    }

    /// A message of one frame of so many bytes comes.
    async fn send(&mut self, bytes: usize) {
        let message = Message::new(vec![vec![7; bytes].into()]);
        for segment in zmtp::encode(&message).segments() {
            self.other.write_all(segment).await.unwrap();
        }
    }

    /// How many messages are read together.
    async fn next(&mut self) -> Result<usize, End> {
        // With all the time a task has: sending took some of it.
        tokio::task::yield_now().await;
        let (control, _controls) = mpsc::channel(CONTROL);
        let (context, permit) = (&self.ports.context, &self.permit);
        let mut received = 0;
        let next = self
            .reader
            .next(&self.peer, &self.link, context, permit, &control, |_| {
                received += 1
            });
        next.await.map(|_paid| received)
    }
}

#[tokio::test]
async fn long_messages_are_read_together() {
    let mut linked = Linked::new();
    for _ in 0..40 {
        linked.send(LONG).await;
    }
    let most = TOGETHER / LONG;
    assert_eq!(linked.next().await, Ok(most));
    assert_eq!(linked.next().await, Ok(40 - most));
    for _ in 0..5 {
        linked.send(LONG).await;
        linked.send(1).await;
    }
    assert_eq!(linked.next().await, Ok(10), "short ones among them");
    for (bytes, together) in [(BULK + 1, 2), (BULK, 1)] {
        for _ in 0..2 {
            linked.send(bytes).await;
        }
        assert_eq!(linked.next().await, Ok(together), "{bytes}");
    }
    assert_eq!(linked.next().await, Ok(1));
    for bytes in [TOGETHER, 6000] {
        for _ in 0..2 {
            linked.send(bytes).await;
        }
        for _ in 0..2 {
            assert_eq!(linked.next().await, Ok(1), "enough, or too short");
        }
    }
}

/// Reading on must not lose what was read before the end.
#[tokio::test]
async fn what_came_before_the_end_is_told_before_the_end() {
    let mut linked = Linked::new();
    for _ in 0..2 {
        linked.send(LONG).await;
    }
    linked.other.shutdown().await.unwrap();
    assert_eq!(linked.next().await, Ok(2));
    assert_eq!(linked.next().await, Err(End::Closed));
}

#[tokio::test]
async fn what_came_before_a_breach_is_taken() {
    let mut linked = Linked::new();
    linked.send(LONG).await;
    linked.other.write_all(&[2; 9]).await.unwrap();
    assert_eq!(linked.next().await, Ok(1));
    assert_eq!(linked.next().await, Err(End::Misused));
    // Within one message, too.
    let mut linked = Linked::new();
    linked.send(5).await;
    linked
        .other
        .write_all(&[1, 0].repeat(20_000))
        .await
        .unwrap();
    assert_eq!(linked.next().await, Ok(1));
    assert_eq!(linked.next().await, Err(End::Misused));
}

/// What waited at the client for a connection was sent earlier than it arrives.
#[tokio::test(start_paused = true)]
async fn what_was_held_up_counts_from_when_it_may_have_been_sent() {
    let mut linked = Linked::new();
    assert_eq!(linked.began(10).await, Instant::now());
    // The connection breaks, and the one after it brings what was pushed meanwhile.
    let last = Instant::now();
    linked.peer.detach(&linked.link);
    advance(Duration::from_secs(1)).await;
    linked.reopen();
    assert_eq!(linked.began(1).await, last);
    // What comes later was sent just now.
    assert_eq!(linked.began(4).await, Instant::now());
}
