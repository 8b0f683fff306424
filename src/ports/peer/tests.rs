//! What a link is given that comes up for somebody who has left.

use std::net::Ipv4Addr;

use bytes::Bytes;
use tokio::time::{advance, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::outlet::LINGER;
use super::*;
use crate::ports::outbox::{Batch, Lane};
use crate::session::gate::Gate;
use crate::session::outlet::{FRESH_LOGIN, Outlet, Slot};
use crate::wire::dialect;
use crate::wire::message::Encoded;

const BRIEF: Duration = Duration::from_millis(1);

struct Place {
    registry: Arc<Registry>,
    links: u64,
}

impl Place {
    fn new() -> Self {
        Self {
            registry: Registry::new(1 << 20, Duration::ZERO, Gate::default()),
            links: 0,
        }
    }

    /// A command link comes up.
    fn link(&mut self) -> (Arc<Peer>, Arc<Link>) {
        self.link_as(Role::Command)
    }

    fn link_as(&mut self, role: Role) -> (Arc<Peer>, Arc<Link>) {
        self.links += 1;
        let address = Ipv4Addr::LOCALHOST.into();
        let cancel = CancellationToken::new();
        let link = Arc::new(Link::new(self.links, role, address, true, cancel));
        let identity = Identity::new(&[7; 16]).unwrap();
        let attached = self.registry.attach(&identity, false, false, &link);
        let (peer, _) = attached.unwrap();
        peer.linked(role);
        (peer, link)
    }

    /// Somebody was logged in, whose command link broke before a reason came with which it was sent away.
    fn sent_away() -> (Self, Arc<Peer>) {
        let mut place = Self::new();
        let (peer, link) = place.link();
        peer.log_in(dialect::oldest());
        peer.detach(&link);
        say(&peer, "bye");
        peer.log_out();
        (place, peer)
    }
}

fn say(peer: &Arc<Peer>, text: &'static str) {
    let bytes = Encoded::new(vec![Bytes::from_static(text.as_bytes())]);
    peer.command(Slot::Plain, bytes);
}

/// What goes to the command link now.
async fn given(peer: &Peer) -> String {
    let mut batch = Batch::default();
    let next = peer.outbox.next(Lane::Command, usize::MAX, &mut batch);
    if timeout(BRIEF, next).await.is_err() {
        return String::new();
    }
    String::from_utf8(batch.segments.concat()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_new_login_is_told_nothing_of_the_one_before() {
    let (mut place, peer) = Place::sent_away();
    advance(LINGER / 2).await;
    let (again, _) = place.link();
    assert!(Arc::ptr_eq(&again, &peer));
    assert_eq!(given(&peer).await, "", "who it is has yet to be seen");
    again.start_over();
    again.log_in(dialect::oldest());
    say(&again, "welcome");
    assert_eq!(given(&peer).await, "welcome");
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_told_nothing_of_the_one_before() {
    let (mut place, peer) = Place::sent_away();
    let (again, _) = place.link();
    again.start_over();
    say(&again, "refused");
    assert_eq!(given(&peer).await, "refused");
}

/// Its client knows nothing of that, and has to learn why it was sent away.
#[tokio::test(start_paused = true)]
async fn who_comes_back_without_a_login_is_told_what_it_has_missed() {
    let (mut place, peer) = Place::sent_away();
    place.link();
    sleep(FRESH_LOGIN - 2 * BRIEF).await;
    assert_eq!(given(&peer).await, "");
    sleep(2 * BRIEF).await;
    assert_eq!(given(&peer).await, "bye");
}

/// The link came up while the session was sending its user away.
#[tokio::test(start_paused = true)]
async fn a_link_that_crosses_the_end_of_its_login_is_not_held_for_ever() {
    let mut place = Place::new();
    let (peer, link) = place.link();
    peer.log_in(dialect::oldest());
    peer.detach(&link);
    place.link();
    say(&peer, "bye");
    peer.log_out();
    assert_eq!(given(&peer).await, "");
    sleep(FRESH_LOGIN).await;
    assert_eq!(given(&peer).await, "bye");
}

/// Strangers are answered at once.
#[tokio::test(start_paused = true)]
async fn nothing_is_held_back_from_a_stranger() {
    let mut place = Place::new();
    let (peer, _) = place.link();
    say(&peer, "info");
    assert_eq!(given(&peer).await, "info");
}

#[tokio::test(start_paused = true)]
async fn a_login_on_its_way_over_a_new_link_finds_it_open() {
    let (mut place, peer) = Place::sent_away();
    sleep(LINGER - BRIEF).await;
    let (_, link) = place.link();
    sleep(2 * BRIEF).await;
    assert!(!link.cancel.is_cancelled());
    peer.start_over();
    peer.log_in(dialect::oldest());
    sleep(2 * LINGER).await;
    assert!(!link.cancel.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn links_without_a_login_end() {
    let mut place = Place::new();
    let (peer, old) = place.link();
    peer.log_in(dialect::oldest());
    peer.log_out();
    sleep(LINGER - BRIEF).await;
    let (_, new) = place.link();
    sleep(2 * BRIEF).await;
    assert!(old.cancel.is_cancelled() && !new.cancel.is_cancelled());
    sleep(FRESH_LOGIN).await;
    assert!(new.cancel.is_cancelled());
    for link in [&old, &new] {
        peer.detach(link);
    }
    assert!(place.registry.is_empty());
}

/// Graves are kept for what may have waited since then.
#[tokio::test(start_paused = true)]
async fn while_nothing_can_be_pushed_the_last_push_counts() {
    for (version, role) in [("0.1.26", Role::Publisher), ("0.9.11", Role::Subscriber)] {
        let mut place = Place::new();
        let (peer, _) = place.link();
        peer.log_in(dialect::for_version(Some(version)).unwrap());
        let (_, pushing) = place.link_as(role);
        assert_eq!(peer.waited_since(role), None, "{version}");
        advance(Duration::from_secs(30)).await;
        let pushed = Instant::now();
        peer.busy(pushed);
        advance(Duration::from_secs(90)).await;
        assert_eq!(peer.busy_since(), Instant::now(), "{version}");
        peer.detach(&pushing);
        advance(Duration::from_secs(50)).await;
        assert_eq!(peer.busy_since(), pushed, "{version}");
        let (_, again) = place.link_as(role);
        assert_eq!(peer.waited_since(role), Some(pushed), "{version}");
        assert_eq!(peer.waited_since(Role::Command), None, "{version}");
        peer.detach(&again);
        advance(Duration::from_secs(70)).await;
        assert_eq!(peer.busy_since(), Instant::now(), "{version}: not for ever");
        let (again, _) = place.link();
        again.log_in(dialect::for_version(Some(version)).unwrap());
        assert_eq!(again.waited_since(role), None, "{version}: another login");
    }
}
