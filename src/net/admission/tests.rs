use std::net::Ipv6Addr;
use std::time::Duration;

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Room for some dozens of users, perhaps all behind one address.
fn roomy() -> AdmissionConfig {
    AdmissionConfig {
        connections: 2048,
        strangers: 256,
        source_connections: 256,
        source_strangers: 64,
        home_places: 16,
        home_kept: Duration::from_secs(60),
        stranger_memory: 64 * 1024,
        strangers_memory: 16 * 1024 * 1024,
        accepts: Rate::new(1000, 2),
        source_accepts: Rate::new(256, 30),
        source_newcomers: Rate::new(128, 500),
        source_logins: Rate::new(60, 2000),
        shared: Vec::new(),
        shared_logins: Rate::new(240, 250),
    }
}

fn small() -> AdmissionConfig {
    AdmissionConfig {
        connections: 6,
        strangers: 4,
        source_connections: 3,
        source_strangers: 2,
        stranger_memory: 100,
        strangers_memory: 150,
        home_places: 1,
        ..roomy()
    }
}

/// What is taken at present.
#[derive(Debug)]
struct Usage {
    /// Connections.
    connections: usize,
    /// Connections on which nobody is logged in.
    strangers: usize,
    /// Bytes buffered for those.
    strangers_memory: usize,
    /// Sources with connections.
    sources: usize,
    /// Sources for which places are kept.
    homes: usize,
    /// Sources that a rate limit remembers, in the limit that remembers most.
    remembered: usize,
}

impl Admission {
    /// What is taken at present.
    fn usage(&self) -> Usage {
        let shared = &self.shared;
        let places = shared.places();
        Usage {
            connections: places.all.connections,
            strangers: places.all.strangers.saturating_add(places.kept),
            strangers_memory: places.memory.saturating_add(places.kept_memory),
            sources: places.sources.len(),
            homes: places.homes.len(),
            remembered: shared
                .source_accepts
                .len()
                .max(shared.source_newcomers.len())
                .max(shared.source_logins.len()),
        }
    }
}

fn refusal(result: Result<Permit, Refusal>) -> Option<Refusal> {
    result.err()
}

#[tokio::test(start_paused = true)]
async fn places_of_a_source_are_counted_and_given_back() {
    let admission = Admission::new(small());
    let first = admission.admit(address("192.0.2.1")).unwrap();
    let second = admission.admit(address("::ffff:192.0.2.1")).unwrap();
    let third = admission.admit(address("192.0.2.1"));
    assert_eq!(refusal(third), Some(Refusal::SourceStrangers));
    first.promote();
    first.promote();
    let third = admission.admit(address("192.0.2.1")).unwrap();
    third.promote();
    let fourth = admission.admit(address("192.0.2.1"));
    assert_eq!(refusal(fourth), Some(Refusal::SourceConnections));
    drop(first);
    second.promote();
    let fourth = admission.admit(address("192.0.2.1"));
    assert_eq!(admission.usage().strangers, 1);
    drop((second, third, fourth));
    let usage = admission.usage();
    assert_eq!(
        (usage.connections, usage.strangers, usage.sources),
        (0, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn places_in_all_are_counted() {
    let admission = Admission::new(small());
    let admit = |host: u8| admission.admit(IpAddr::from([192, 0, 2, host]));
    let permits: Vec<_> = (0..4).map(|host| admit(host).unwrap()).collect();
    assert_eq!(refusal(admit(4)), Some(Refusal::Strangers));
    permits.iter().for_each(Permit::promote);
    let more = (admit(5).unwrap(), admit(6).unwrap());
    assert_eq!(refusal(admit(7)), Some(Refusal::Connections));
    drop(more);
    assert!(admit(7).is_ok());
}

#[tokio::test(start_paused = true)]
async fn memory_of_strangers_is_counted() {
    let admission = Admission::new(small());
    let first = admission.admit(address("192.0.2.1")).unwrap();
    let second = admission.admit(address("192.0.2.2")).unwrap();
    assert_eq!(first.hold(101), Err(Refusal::StrangerMemory));
    assert_eq!(first.hold(100), Ok(()));
    assert_eq!(second.hold(51), Err(Refusal::StrangersMemory));
    assert_eq!(second.hold(50), Ok(()));
    assert_eq!(first.hold(20), Ok(()));
    assert_eq!(admission.usage().strangers_memory, 70);
    first.promote();
    assert_eq!(first.hold(1_000_000), Ok(()));
    assert_eq!(admission.usage().strangers_memory, 50);
    drop(second);
    assert_eq!(admission.usage().strangers_memory, 0);
}

#[tokio::test(start_paused = true)]
async fn floods_are_stopped_and_forgiven() {
    let admission = Admission::new(AdmissionConfig {
        accepts: Rate::new(5, 1000),
        source_accepts: Rate::new(3, 2000),
        ..roomy()
    });
    let admit = |host: u8| refusal(admission.admit(IpAddr::from([192, 0, 2, host])));
    assert_eq!([admit(1), admit(1), admit(1)], [None; 3]);
    assert_eq!(admit(1), Some(Refusal::SourceAccepts));
    assert_eq!(admit(2), None);
    assert_eq!(admit(3), Some(Refusal::Accepts));
    tokio::time::advance(Duration::from_millis(2001)).await;
    assert_eq!(admit(1), None);
    assert_eq!(admit(1), Some(Refusal::SourceAccepts));
}

/// As by a program that opens connections and closes them at once.
#[tokio::test(start_paused = true)]
async fn a_flood_from_one_address_keeps_nobody_else_out() {
    let admission = Admission::new(AdmissionConfig {
        accepts: Rate::new(100, 10),
        source_accepts: Rate::new(50, 100),
        ..roomy()
    });
    let [flood, other] = [1, 2].map(|host| IpAddr::from([192, 0, 2, host]));
    let mut admitted = 0;
    for milli in 0..120_000 {
        admitted += usize::from(admission.admit(flood).is_ok());
        if milli % 150 == 0 {
            assert_eq!(refusal(admission.admit(other)), None, "after {milli} ms");
        }
        if milli % 60_000 == 0 {
            admission.sweep();
        }
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert!((1200..1300).contains(&admitted), "{admitted}");
}

/// Each source that is asked about its pace is remembered until the next sweep.
#[tokio::test(start_paused = true)]
async fn no_more_sources_are_remembered_than_the_rate_of_all_admits() {
    let admission = Admission::new(AdmissionConfig {
        accepts: Rate::new(100, 3_600_000),
        ..roomy()
    });
    for host in 0..1000_u32 {
        drop(admission.admit(IpAddr::from(host.to_be_bytes())));
    }
    assert_eq!(admission.usage().remembered, 100);
}

#[tokio::test(start_paused = true)]
async fn known_identities_are_no_newcomers() {
    let admission = Admission::new(AdmissionConfig {
        source_newcomers: Rate::new(2, 1000),
        ..roomy()
    });
    let permit = admission.admit(address("192.0.2.1")).unwrap();
    for _ in 0..10 {
        assert_eq!(permit.identify(b"me", true), Ok(()));
    }
    assert_eq!(permit.identify(b"me", false), Ok(()));
    assert_eq!(permit.identify(b"me", false), Ok(()));
    assert_eq!(permit.identify(b"me", false), Err(Refusal::SourceNewcomers));
    assert_eq!(permit.identify(b"me", true), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn passwords_are_tried_slowly_and_sources_forgotten() {
    let admission = Admission::new(AdmissionConfig {
        source_logins: Rate::new(2, 1000),
        ..roomy()
    });
    let network: Vec<_> = (1..4_u128)
        .map(|host| address("2001:db8::").with(host))
        .collect();
    let attempt = |at: usize| admission.login_attempt(network[at], b"me");
    assert_eq!((attempt(0), attempt(1)), (Ok(()), Ok(())));
    assert_eq!(attempt(2), Err(Refusal::SourceLogins));
    assert_eq!(admission.usage().remembered, 1);
    tokio::time::advance(Duration::from_secs(60)).await;
    admission.sweep();
    assert_eq!(admission.usage().remembered, 0);
    assert_eq!(attempt(2), Ok(()));
}

trait With {
    fn with(self, host: u128) -> Self;
}

impl With for IpAddr {
    fn with(self, host: u128) -> Self {
        match self {
            Self::V6(network) => Ipv6Addr::from_bits(network.to_bits() | host).into(),
            Self::V4(_) => self,
        }
    }
}

/// Behind an address that everybody shares, one who asks too often keeps nobody else out.
#[tokio::test(start_paused = true)]
async fn a_shared_address_counts_by_identity() {
    let gateway = address("10.88.0.1");
    let admission = Admission::new(AdmissionConfig {
        shared: vec![gateway],
        source_accepts: Rate::new(1, 10_000),
        source_newcomers: Rate::new(1, 10_000),
        source_logins: Rate::new(2, 10_000),
        shared_logins: Rate::new(4, 10_000),
        ..small()
    });
    let permits: Vec<_> = (0..4).map(|_| admission.admit(gateway).unwrap()).collect();
    assert_eq!(refusal(admission.admit(gateway)), Some(Refusal::Strangers));
    for (permit, identity) in permits.iter().zip([b"a", b"b", b"c", b"d"]) {
        assert_eq!(permit.identify(identity, false), Ok(()));
    }
    assert_eq!(
        permits[0].identify(b"a", false),
        Err(Refusal::SourceNewcomers)
    );
    let attempt = |identity| admission.login_attempt(gateway, identity);
    assert_eq!((attempt(b"a"), attempt(b"a")), (Ok(()), Ok(())));
    assert_eq!(attempt(b"a"), Err(Refusal::SourceLogins));
    assert_eq!((attempt(b"b"), attempt(b"c")), (Ok(()), Ok(())));
    // Whoever makes up an identity for every guess is slowed all the same.
    assert_eq!(attempt(b"d"), Err(Refusal::SourceLogins));
    let elsewhere = admission.login_attempt(address("192.0.2.1"), b"a");
    assert_eq!(elsewhere, Ok(()));
}

/// However many strangers there are, and however fast they come.
#[tokio::test(start_paused = true)]
async fn users_whose_lines_break_come_back() {
    let home = address("192.0.2.1");
    let admission = Admission::new(AdmissionConfig {
        connections: 20,
        source_connections: 5,
        source_strangers: 4,
        accepts: Rate::new(7, 3_600_000),
        ..small()
    });
    let links = [home; 3].map(|home| admission.admit(home).unwrap());
    links.iter().for_each(Permit::promote);
    let strangers: Vec<_> = (0..4_u8)
        .map(|host| admission.admit(IpAddr::from([203, 0, 113, host])).unwrap())
        .collect();
    let newcomer = || refusal(admission.admit(address("198.51.100.1")));
    assert_eq!(newcomer(), Some(Refusal::Strangers));
    assert_eq!(strangers[0].hold(100), Ok(()));
    assert_eq!(strangers[1].hold(50), Ok(()));
    drop(links);
    // Three may be back before any of them has said whose it is, and there is one place besides.
    let back: Vec<_> = (0..4).map(|_| admission.admit(home).unwrap()).collect();
    assert_eq!(admission.usage().strangers, 8);
    assert_eq!(back[0].hold(100), Ok(()));
    assert_eq!(back[1].hold(51), Err(Refusal::StrangersMemory));
    assert_eq!(
        refusal(admission.admit(home)),
        Some(Refusal::SourceStrangers)
    );
    back[0].promote();
    let more = admission.admit(home).unwrap();
    assert_eq!(
        refusal(admission.admit(home)),
        Some(Refusal::SourceConnections)
    );
    drop(strangers);
    assert_eq!(newcomer(), Some(Refusal::Accepts));
    drop((back, more));
    let usage = admission.usage();
    assert_eq!((usage.connections, usage.strangers), (0, 0));
    assert_eq!((usage.strangers_memory, usage.sources), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn places_are_kept_for_a_while_and_not_for_more_than_come_back() {
    let home = address("192.0.2.1");
    let admission = Admission::new(AdmissionConfig {
        source_connections: 9,
        source_strangers: 9,
        strangers: 1,
        home_kept: Duration::from_secs(10),
        ..small()
    });
    let link = admission.admit(home).unwrap();
    link.promote();
    let _stranger = admission.admit(address("203.0.113.1")).unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    admission.sweep();
    let back = [home; 2].map(|home| admission.admit(home).unwrap());
    assert_eq!(refusal(admission.admit(home)), Some(Refusal::Strangers));
    drop(link);
    tokio::time::advance(Duration::from_millis(9_999)).await;
    admission.sweep();
    drop(back);
    let back = admission.admit(home).unwrap();
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(refusal(admission.admit(home)), Some(Refusal::Strangers));
    admission.sweep();
    assert_eq!(admission.usage().homes, 1);
    drop(back);
    admission.sweep();
    assert_eq!(admission.usage().homes, 0);
}

/// One user who comes from everywhere, one address after the other.
#[tokio::test(start_paused = true)]
async fn no_more_addresses_of_users_are_remembered_than_there_may_be_connections() {
    let admission = Admission::new(small());
    let staying = admission.admit(address("192.0.2.255")).unwrap();
    staying.promote();
    for host in 0..100 {
        let link = admission.admit(IpAddr::from([192, 0, 2, host])).unwrap();
        link.promote();
        assert!(admission.usage().homes <= small().connections);
    }
    let _strangers: Vec<_> = (0..4_u8)
        .map(|host| admission.admit(IpAddr::from([203, 0, 113, host])).unwrap())
        .collect();
    assert!(admission.admit(address("192.0.2.255")).is_ok());
}

/// Behind an address that everybody shares, nobody can tell who is a user's.
#[tokio::test(start_paused = true)]
async fn no_places_are_kept_at_a_shared_address() {
    let gateway = address("10.88.0.1");
    let admission = Admission::new(AdmissionConfig {
        shared: vec![gateway],
        strangers: 1,
        ..small()
    });
    let user = admission.admit(gateway).unwrap();
    user.promote();
    let _stranger = admission.admit(gateway).unwrap();
    assert_eq!(refusal(admission.admit(gateway)), Some(Refusal::Strangers));
}
