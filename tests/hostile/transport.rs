//! What breaks the transports' rules: lengths, frames without end, other protocols, nothing at
//! all.

use bytes::Bytes;
use multi_user_server::wire::zmtp::{self, SocketType};

use crate::common::client::{As, Client, Heard};
use crate::common::link::{Via, framed_hello};
use crate::common::raw::Raw;
use crate::common::team::{Team, VERSION};
use crate::{SHORT, STRANGERS, all_closed};

/// The header of a frame that announces so many bytes.
fn header(flags: u8, len: u64) -> Bytes {
    [&[flags | 2][..], &len.to_be_bytes()].concat().into()
}

/// Lengths nobody could keep, and some that one could.
const LENGTHS: [u64; 6] = [1 << 40, 1 << 62, 1 << 63, u64::MAX, 1 << 31, 1 << 20];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announced_lengths_reserve_nothing() {
    let team = Team::start(&SHORT).await;
    let ports = team.ports;
    let mut all = Vec::new();
    for (offset, port) in ports.all().into_iter().enumerate() {
        let kind = if offset == 2 {
            SocketType::Push
        } else {
            SocketType::Dealer
        };
        for len in LENGTHS {
            // Message frame, more to come, command.
            for flags in [0, 1, 4] {
                // Before READY.
                let begin = [&zmtp::greeting()[..], &header(flags, len)].concat();
                all.push(Raw::saying(port, &begin).await);
                // After it.
                let ready = zmtp::ready(kind, Some(b"sixteen bytes id"));
                let begin = [&zmtp::greeting()[..], &ready, &header(flags, len)].concat();
                all.push(Raw::saying(port, &begin).await);
            }
        }
    }
    // The other transport counts in 32 bits.
    for role in *b"CDT" {
        for count in [1, 16, 1 << 20, u32::MAX] {
            for len in [1 << 20, 1 << 31, u32::MAX] {
                let hello = framed_hello(b"sixteen bytes di", role);
                let message = [count, len].map(u32::to_be_bytes).concat();
                let begin = [&hello[..], &message].concat();
                all.push(Raw::saying(ports.at(0), &begin).await);
            }
        }
    }
    all_closed(all).await;
    let counters = team.judge(STRANGERS).await;
    assert!(counters.get("broken_transports") >= 100);
}

/// Users may send large nodes: what they announce is believed, but not kept ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_announced_by_users_reserve_nothing() {
    let team = Team::start(&[]).await;
    let mut users = Vec::new();
    for n in 0..8 {
        let mut mallory = Client::enter(
            &team.ports,
            VERSION,
            Via::Elsewhere,
            &format!("mallory{n}"),
            As::User,
        )
        .await;
        mallory.join().await;
        // 300 MB to come, of which a little comes.
        let publisher = mallory.publisher.as_ref().unwrap();
        let identity = mallory.identity.as_bytes();
        publisher.send_bytes([&[1, 16], identity].concat());
        publisher.send_bytes(header(1, 300 << 20));
        publisher.send_bytes(vec![0; 10_000]);
        mallory.commands.send_bytes(header(1, 4 << 20));
        mallory.commands.send_bytes(vec![0; 10_000]);
        users.push(mallory);
    }
    team.progress().await;
    // And now more than anybody may.
    for mallory in &mut users {
        mallory.data.send_bytes(header(0, 1 << 62));
        mallory
            .until("being sent away", |mallory| mallory.dismissed.is_some())
            .await;
    }
    let counters = team.judge(STRANGERS).await;
    assert_eq!(counters.get("broken_transports"), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_without_end_are_cut_off() {
    let team = Team::start(&SHORT).await;
    let more = [1, 1, b'x'].repeat(20_000);
    let empty = [1, 0].repeat(20_000);
    for endless in [&more, &empty] {
        let mut all = Vec::new();
        for offset in 0..4 {
            let mut raw = if offset == 2 {
                Raw::push(team.ports.at(2)).await
            } else {
                Raw::dealer(team.ports.at(offset)).await
            };
            // The server may close it before it has taken all of this.
            let _ = raw.send(endless).await;
            all.push(raw);
        }
        all_closed(all).await;
        let mut mallory =
            Client::enter(&team.ports, VERSION, Via::Elsewhere, "mallory", As::User).await;
        mallory.join().await;
        mallory.commands.send_bytes(endless.clone());
        mallory
            .until("the end of the link", Client::is_cut_off)
            .await;
        // Clients connect again by themselves; then this one is told that it is out.
        mallory.reopen_commands(&team.ports, Via::Elsewhere).await;
        mallory
            .until("being sent away", |mallory| mallory.dismissed.is_some())
            .await;
    }
    team.judge(STRANGERS).await;
}

/// Peers of other protocols are sent off at once, whichever port they try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_protocols_are_closed() {
    const TLS: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3];
    const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.6\r\n";
    const ZMTP_1: &[u8] = &[1, 0];
    let team = Team::start(&[]).await;
    for port in team.ports.all() {
        for first in [TLS, HTTP, SSH, ZMTP_1, b"\0\0\0\0\0\0\0\0", b"hello\n"] {
            let raw = Raw::saying(port, first).await;
            assert_eq!(raw.closed().await, b"", "{first:?}");
        }
    }
    let counters = team.judge(STRANGERS).await;
    assert_eq!(counters.get("foreign_protocols"), 24);
}

/// Half handshakes and silent strangers cost their places for a moment; a newcomer gets in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_and_half_handshakes_end() {
    let team = Team::start(&SHORT).await;
    let ports = team.ports;
    let mut whole = zmtp::greeting().to_vec();
    whole.extend(zmtp::ready(SocketType::Dealer, Some(b"slow")));
    let mut all = Vec::new();
    for n in 0..120 {
        let port = ports.at(n % 4);
        let cut = n % (whole.len() - 1);
        all.push(Raw::saying(port, &whole[..cut]).await);
    }
    for n in 0..60 {
        all.push(match n % 4 {
            2 => Raw::push(ports.at(2)).await,
            offset => Raw::dealer(ports.at(offset)).await,
        });
    }
    for role in *b"CDT" {
        all.push(Raw::saying(ports.at(0), &framed_hello(b"silent", role)).await);
    }
    // Somebody comes while all of them are there.
    let mut zoe = Client::enter(&ports, VERSION, Via::Crate, "zoe", As::User).await;
    zoe.join().await;
    zoe.wait("an edit", |heard| {
        matches!(heard, Heard::Update(_)).then_some(())
    })
    .await;
    zoe.close();
    let strangers = all.len() as u64;
    all_closed(all).await;
    let counters = team.judge(STRANGERS).await;
    assert!(counters.get("late_connections") >= strangers);
}
