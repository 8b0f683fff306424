//! Ports with one user on them, for tests of what is done with its link.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Ports;
use super::peer::{Link, Peer};
use crate::config::Config;
use crate::counters::Counters;
use crate::net::handshake::Decoder;
use crate::session::outlet::Outlet;
use crate::session::{self, Settings};
use crate::wire::dialect::for_version;
use crate::wire::identity::Identity;
use crate::wire::limits::Limits;
use crate::wire::role::Role;
use crate::wire::zmtp;

/// Where the user is.
pub(super) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What reads a connection of ZMTP after the handshake.
pub(super) fn connected() -> Decoder {
    let mut decoder = zmtp::Decoder::new();
    decoder.feed(&zmtp::greeting());
    decoder.feed(&zmtp::ready(zmtp::SocketType::Dealer, None));
    let mut decoder = Decoder::Zmtp(decoder);
    while decoder.next(&Limits::STRANGER).unwrap().is_some() {}
    decoder
}

/// The data link of a user of 0.9.11, behind which nobody is.
pub(super) fn linked() -> (Ports, Arc<Peer>, Arc<Link>) {
    linked_as("0.9.11", Role::Subscriber, false)
}

/// A link of a user of a version, for a role, whose transport answers pings or not.
pub(super) fn linked_as(
    version: &str,
    role: Role,
    answers_pings: bool,
) -> (Ports, Arc<Peer>, Arc<Link>) {
    let (config, counters) = (Config::default(), Arc::new(Counters::default()));
    let settings = Settings::new(&config, 1 << 30, 1 << 28);
    let (backups, _) = mpsc::channel(1);
    let session = session::spawn(settings, Arc::clone(&counters), None, backups);
    let ports = Ports::start(&config, 1 << 28, session, counters, None, Vec::new());
    let token = CancellationToken::new();
    let link = Arc::new(Link::new(1, role, HERE, answers_pings, token));
    let registry = &ports.context.registry;
    let attached = registry.attach(&Identity::anonymous(), false, false, &link);
    let (peer, _) = attached.unwrap();
    peer.log_in(for_version(Some(version)).unwrap());
    (ports, peer, link)
}
