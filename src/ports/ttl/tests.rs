//! What is sent on heartbeat links, and what is learnt from the answers.

use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Duration, advance};

use super::*;
use crate::ports::Ports;
use crate::ports::linked::{HERE, connected, linked_as};
use crate::wire::zmtp;

#[test]
fn what_holds_up_single_heartbeats_is_not_shown() {
    let mut round_trips = RoundTrips::default();
    let mut shown = |millis| round_trips.add(Duration::from_millis(millis)).as_millis();
    let jitter = [30, 40, 31, 900, 35, 31, 60].map(&mut shown);
    assert_eq!(jitter, [30, 30, 30, 30, 31, 31, 31]);
    assert_eq!([80, 85, 81, 82].map(&mut shown), [31, 31, 60, 80]);
    assert_eq!(shown(10), 10);
}

/// The heartbeat link of a user, and its other end.
struct Linked {
    peer: Arc<Peer>,
    other: DuplexStream,
    decoder: Decoder,
    beating: JoinHandle<End>,
    _ports: Ports,
}

impl Linked {
    /// Of a version on port p+3; whether its transport answers pings.
    fn new(version: &str, answers_pings: bool) -> Self {
        let (ports, peer, link) = linked_as(version, Role::Ttl, answers_pings);
        let (io, other) = duplex(4096);
        let beats = Heartbeats {
            io,
            decoder: connected(),
            peer: Arc::clone(&peer),
            link,
            port: 3,
            greeted: true,
        };
        let context = ports.context.clone();
        let permit = context.admission.admit(HERE).unwrap();
        let beating = tokio::spawn(async move { beats.run(&context, &permit).await });
        Self {
            peer,
            other,
            decoder: connected(),
            beating,
            _ports: ports,
        }
    }

    async fn say(&mut self, word: &'static [u8]) {
        let message = Message::new(vec![Bytes::from_static(word)]);
        for segment in zmtp::encode(&message).segments() {
            self.other.write_all(segment).await.unwrap();
        }
    }

    /// What was sent within a moment: how many PINGs, and what pings of the transport want for an answer.
    async fn heard(&mut self) -> (usize, Vec<Bytes>) {
        let (mut pings, mut answers) = (0, Vec::new());
        let moment = Duration::from_millis(1);
        while let Ok(read) = timeout(moment, self.decoder.read(&mut self.other)).await {
            assert!(read.unwrap() > 0, "the link has ended");
            while let Some(item) = self.decoder.next(&Limits::STRANGER).unwrap() {
                match item {
                    Item::Frame { more: false, body } => {
                        assert_eq!(body, heartbeat::PING);
                        pings += 1;
                    }
                    Item::Ping(answer) => answers.push(answer),
                    item => panic!("{item:?}"),
                }
            }
        }
        (pings, answers)
    }
}

#[tokio::test(start_paused = true)]
async fn clients_of_a_pace_of_their_own_have_pings_before_them() {
    let mut linked = Linked::new("0.0.10", true);
    linked.say(heartbeat::INIT).await;
    let (pings, _) = linked.heard().await;
    // One was sent with the end of the handshake.
    assert_eq!(pings, 7);
    for _ in 0..100 {
        advance(Duration::from_millis(50)).await;
        linked.say(heartbeat::PONG).await;
        assert_eq!(linked.heard().await.0, 1);
    }
    // A pause of its, after which it catches up.
    for _ in 0..3 {
        linked.say(heartbeat::PONG).await;
    }
    assert_eq!(linked.heard().await.0, 3);
}

#[tokio::test(start_paused = true)]
async fn the_line_of_such_clients_is_measured_by_the_transport() {
    let mut linked = Linked::new("0.0.11", true);
    linked.say(heartbeat::INIT).await;
    let mut asked = 0;
    for _ in 0..60 {
        let (_, answers) = linked.heard().await;
        advance(Duration::from_millis(49)).await;
        for answer in answers {
            asked += 1;
            linked.other.write_all(&answer).await.unwrap();
        }
        linked.say(heartbeat::PONG).await;
    }
    // Once a second, and not by how long PINGs wait at the client.
    assert_eq!(asked, 3);
    let round_trip = linked.peer.round_trip().unwrap();
    assert!(round_trip >= Duration::from_millis(49), "{round_trip:?}");
    assert!(round_trip <= Duration::from_millis(55), "{round_trip:?}");
}

#[tokio::test(start_paused = true)]
async fn one_ping_is_on_its_way_to_others_and_where_the_transport_does_not_answer() {
    one_ping_is_on_its_way(Linked::new("0.0.20", true)).await;
    one_ping_is_on_its_way(Linked::new("0.0.10", false)).await;
}

async fn one_ping_is_on_its_way(mut linked: Linked) {
    linked.say(heartbeat::INIT).await;
    // The one that went out with the end of the handshake.
    assert_eq!(linked.heard().await, (0, Vec::new()));
    for _ in 0..10 {
        advance(Duration::from_millis(80)).await;
        linked.say(heartbeat::PONG).await;
        assert_eq!(linked.heard().await, (1, Vec::new()));
    }
    // What it waits before it answers is no part of the way.
    let round_trip = linked.peer.round_trip().unwrap();
    assert!(round_trip >= Duration::from_millis(30), "{round_trip:?}");
    assert!(round_trip <= Duration::from_millis(35), "{round_trip:?}");
}

#[tokio::test(start_paused = true)]
async fn others_are_pinged_once_a_second() {
    let mut linked = Linked::new("0.1.26", true);
    linked.say(heartbeat::INIT).await;
    assert_eq!(linked.heard().await, (1, Vec::new()));
    for _ in 0..5 {
        linked.say(heartbeat::PONG).await;
        assert_eq!(linked.heard().await, (0, Vec::new()));
        advance(SECOND).await;
        assert_eq!(linked.heard().await, (1, Vec::new()));
    }
    drop(linked.other);
    assert_eq!(linked.beating.await.unwrap(), End::Closed);
}
