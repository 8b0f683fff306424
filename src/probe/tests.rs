//! The report, over every kind of evidence, and what servers say of themselves.

use std::time::Duration;

use bytes::Bytes;

use super::report::Server;
use super::*;
use crate::config::Era;

const FAST: Check = Ok(Answer {
    connect: Duration::from_micros(210),
    round_trip: None,
});
const ANSWERED: Check = Ok(Answer {
    connect: Duration::from_micros(210),
    round_trip: Some(Duration::from_micros(1_234)),
});
const REFUSED: Check = Err(Trouble::Refused);
const DROPPED: Check = Err(Trouble::Dropped);

/// Of this program, as it should be.
fn ours() -> Evidence {
    Evidence {
        host: "example.org".to_owned(),
        wanted: Clients::default(),
        first: "203.0.113.5:5555".parse().unwrap(),
        command: ANSWERED,
        framed: ANSWERED,
        subscriber: FAST,
        publisher: FAST,
        third_ttl: ANSWERED,
        fourth_ttl: ANSWERED,
        info: Some(Info {
            private: true,
            version: "0.9.11".to_owned(),
        }),
    }
}

fn nothing() -> Evidence {
    Evidence {
        command: REFUSED,
        framed: REFUSED,
        subscriber: REFUSED,
        publisher: REFUSED,
        third_ttl: REFUSED,
        fourth_ttl: REFUSED,
        info: None,
        ..ours()
    }
}

/// Which ages of clients can join, as far as the server is made for them.
fn joining(report: &Report) -> [Option<bool>; 3] {
    let ages: Vec<_> = report
        .clients
        .iter()
        .map(|age| (age.served != Some(false)).then_some(age.reachable))
        .collect();
    ages.try_into().unwrap()
}

fn troubles(report: &Report) -> [Option<&'static str>; 4] {
    let troubles: Vec<_> = report.ports.iter().map(|port| port.trouble).collect();
    troubles.try_into().unwrap()
}

#[test]
fn this_server_as_it_should_be() {
    let report = Report::new(&ours());
    assert_eq!(report.server, Server::All);
    assert_eq!(
        (report.verdict, report.exit_status),
        (Verdict::Reachable, 0)
    );
    assert_eq!(joining(&report), [Some(true); 3]);
    assert_eq!(troubles(&report), [None; 4]);
    assert_eq!(
        report.to_string(),
        "\
example.org (203.0.113.5), ports 5555 to 5558

  5555   command (newest clients, too), connects in 0.21 ms, answers in 1.23 ms
  5556   subscriber, connects in 0.21 ms
  5557   publisher and ttl, connects in 0.21 ms, answers in 1.23 ms
  5558   ttl, connects in 0.21 ms, answers in 1.23 ms

A server for all versions of the add-on; version 0.9.11, a password is needed to join.
Who can connect from here:
  yes  add-on 0.0.3 to 0.3.0 (replication 0.0.3 to 0.1.31)
  yes  add-on 0.4.0 to today (replication 0.1.33 to 0.9.11)
  yes  add-on newest builds (replication 0.9.12 and later)

All ports that are needed answer.
"
    );
}

#[test]
fn ports_that_are_not_forwarded_and_whom_that_keeps_out() {
    let report = Report::new(&Evidence {
        publisher: DROPPED,
        third_ttl: DROPPED,
        fourth_ttl: REFUSED,
        ..ours()
    });
    // Both transports on one port: it must be this program, though p+2 cannot tell.
    assert_eq!(report.server, Server::All);
    assert_eq!((report.verdict, report.exit_status), (Verdict::Partly, 1));
    let expected = [None, None, Some("dropped"), Some("refused")];
    assert_eq!(troubles(&report), expected);
    assert_eq!(joining(&report), [Some(false), Some(false), Some(true)]);
    let text = report.to_string();
    for line in [
        "  5557   nothing answers: the router or a firewall drops it; is TCP port 5557 \
         forwarded to the server's computer, and open in its firewall?",
        "  5558   refused: nothing listens there; is the server running, and is the port \
         forwarded to the right computer?",
        "  no   add-on 0.0.3 to 0.3.0 (replication 0.0.3 to 0.1.31): ports 5557, 5558 are missing",
        "  no   add-on 0.4.0 to today (replication 0.1.33 to 0.9.11): port 5557 is missing",
        "  yes  add-on newest builds (replication 0.9.12 and later)",
        "Not all ports that are needed answer as they should.",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn this_server_without_the_newest_clients_transport() {
    let without = Evidence {
        framed: Err(Trouble::HungUp),
        ..ours()
    };
    let report = Report::new(&without);
    assert_eq!(report.server, Server::All);
    assert_eq!(report.verdict, Verdict::Partly);
    // No tunnel is to blame, since the other transport gets through.
    let text = report.to_string();
    assert!(text.contains("not made for them"), "{text}");
    assert!(!text.contains("a tunnel or proxy"), "{text}");
    let report = Report::new(&Evidence {
        wanted: Clients::of(&[Era::FourPorts, Era::ThreePorts]),
        ..without
    });
    assert_eq!(report.verdict, Verdict::Reachable);
    assert_eq!(joining(&report), [Some(true), Some(true), None]);
}

/// Where only some clients may join, the ports of the others are closed, and not missed.
#[test]
fn this_server_for_some_clients_only() {
    let report = Report::new(&Evidence {
        wanted: Clients::of(&[Era::ThreePorts, Era::OnePort]),
        fourth_ttl: REFUSED,
        ..ours()
    });
    assert_eq!(report.verdict, Verdict::Reachable);
    let needed: Vec<_> = report.ports.iter().map(|port| port.needed).collect();
    assert_eq!(needed, [true, true, true, false]);
}

#[test]
fn the_clients_own_servers() {
    let other = |socket| Err(Trouble::OtherSocket(socket));
    let four = Evidence {
        command: FAST,
        subscriber: FAST,
        publisher: FAST,
        third_ttl: other(crate::wire::zmtp::SocketType::Pull),
        fourth_ttl: ANSWERED,
        ..nothing()
    };
    let three = Evidence {
        command: FAST,
        subscriber: FAST,
        publisher: other(crate::wire::zmtp::SocketType::Router),
        third_ttl: ANSWERED,
        ..nothing()
    };
    let one = Evidence {
        command: Err(Trouble::HungUp),
        framed: ANSWERED,
        ..nothing()
    };
    for (evidence, server, joins) in [
        (four, Server::FourPorts, [Some(true), None, None]),
        (three, Server::ThreePorts, [None, Some(true), None]),
        (one, Server::OnePort, [None, None, Some(true)]),
    ] {
        let report = Report::new(&evidence);
        assert_eq!(report.server, server);
        assert_eq!(report.verdict, Verdict::Reachable, "{server:?}");
        assert_eq!(joining(&report), joins);
        assert_eq!(troubles(&report), [None; 4]);
        assert_eq!(report.session, None);
        let needed = report.ports.iter().filter(|port| port.needed).count();
        let answering = report.ports.iter().filter(|port| port.answers).count();
        assert_eq!(needed, answering);
    }
}

#[test]
fn a_server_that_hangs_is_one_that_does_not_answer() {
    let report = Report::new(&Evidence {
        command: Err(Trouble::Mute),
        info: None,
        ..ours()
    });
    assert_eq!(report.server, Server::All);
    assert_eq!(report.verdict, Verdict::Partly);
    assert_eq!(troubles(&report), [Some("mute"), None, None, None]);
    assert_eq!(joining(&report), [Some(false), Some(false), Some(true)]);
}

#[test]
fn nothing_at_all() {
    let report = Report::new(&nothing());
    assert_eq!((report.verdict, report.exit_status), (Verdict::Nothing, 3));
    assert_eq!(report.server, Server::Unknown);
    assert_eq!(troubles(&report), [Some("refused"); 4]);
    assert!(report.clients.iter().all(|age| age.served.is_none()));
    let text = report.to_string();
    assert!(text.ends_with("There is no session server to be found here.\n"));
}

#[test]
fn on_the_own_computer_no_router_is_blamed() {
    let report = Report::new(&Evidence {
        host: "::1".to_owned(),
        first: "[::1]:5555".parse().unwrap(),
        subscriber: DROPPED,
        ..nothing()
    });
    let text = report.to_string();
    assert!(text.starts_with("::1, ports 5555 to 5558\n"), "{text}");
    assert!(!text.contains("forward"), "{text}");
}

/// All clients open IPv4 sockets.
#[test]
fn nobody_can_connect_over_ipv6() {
    let report = |first: &str| {
        Report::new(&Evidence {
            first: first.parse().unwrap(),
            ..ours()
        })
    };
    let six = report("[2001:db8::1]:5555");
    assert_eq!(six.verdict, Verdict::Reachable);
    assert_eq!(joining(&six), [Some(false); 3]);
    let text = six.to_string();
    assert!(!text.contains("  yes"), "{text}");
    assert_eq!(text.matches("connects by IPv4 only").count(), 3, "{text}");
    // The same address in other words.
    let four = report("[::ffff:203.0.113.5]:5555");
    assert_eq!(joining(&four), [Some(true); 3]);
}

#[test]
fn the_keys_of_the_json() {
    let report: serde_json::Value = serde_json::from_str(
        &Report::new(&Evidence {
            publisher: DROPPED,
            ..ours()
        })
        .to_json(),
    )
    .unwrap();
    let mut expected = serde_json::json!({
        "host": "example.org",
        "address": "203.0.113.5",
        "port": 5555,
        "verdict": "partly",
        "exit_status": 1,
        "server": "all",
        "session": {"version": "0.9.11", "private": true},
    });
    expected["ports"] = report["ports"].clone();
    expected["clients"] = report["clients"].clone();
    assert_eq!(report, expected);
    let mut third = serde_json::json!({
        "port": 5557,
        "needed": true,
        "answers": false,
        "roles": ["ttl"],
        "framed": false,
        "connect_ms": 0.21,
        "round_trip_ms": 1.23,
        "trouble": "dropped",
    });
    third["hint"] = report["ports"][2]["hint"].clone();
    assert_eq!(report["ports"][2], third);
    assert!(report["ports"][2]["hint"].is_string());
    assert_eq!(
        report["clients"][0],
        serde_json::json!({
            "addon": "0.0.3 to 0.3.0",
            "replication": "0.0.3 to 0.1.31",
            "ports": [5555, 5556, 5557, 5558],
            "served": true,
            "reachable": false,
            "missing": [5557],
        })
    );
    let quiet: serde_json::Value =
        serde_json::from_str(&Report::new(&nothing()).to_json()).unwrap();
    assert!(quiet["session"].is_null() && quiet["clients"][0]["served"].is_null());
    assert!(quiet["ports"][0]["connect_ms"].is_null());
}

/// What the server of 0.9.11 sent, recorded.
const RECORDED: &[u8] =
    b"\x80\x04\x95\x23\0\0\0\0\0\0\0\x7d\x94(\x8c\x07private\x94\x88\x8c\x07version\
    \x94\x8c\x060.9.11\x94u.";

fn info(payload: &[u8]) -> Option<Info> {
    read_info(&Message::new(vec![
        Bytes::from_static(b"\x80\x04K\x0e."),
        Bytes::from_static(b"server"),
        Bytes::copy_from_slice(payload),
    ]))
}

#[test]
fn reads_what_the_clients_own_server_says_of_itself() {
    let expected = Info {
        private: true,
        version: "0.9.11".to_owned(),
    };
    assert_eq!(info(RECORDED), Some(expected));
    // Not the server info, or nothing at all.
    assert_eq!(info(b"\x80\x04N."), None);
    assert_eq!(read_info(&Message::default()), None);
}

#[test]
fn a_version_cannot_play_with_the_terminal() {
    let mut payload = RECORDED.to_vec();
    let at = payload.windows(6).position(|w| w == b"0.9.11").unwrap();
    payload[at..at + 6].copy_from_slice(b"\x1b[31m0");
    assert_eq!(info(&payload).unwrap().version, "31m0");
}

#[test]
fn asks_for_the_info_as_clients_do() {
    let [request] = <[Message; 1]>::try_from(info_request()).unwrap();
    let expected: [&[u8]; 3] = [
        b"\x80\x04K\x0e.",
        b"guest",
        // They write more, to the same effect.
        b"\x80\x04\x8c\x07RQ_INFO.",
    ];
    assert_eq!(request.frames(), expected);
}
