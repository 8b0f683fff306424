//! Logins: answers, their order, and every refusal.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::room::{ADMIN_PASSWORD, Recorder, Room, VERSIONS, admin_auth, auth, node, row};
use crate::config::{Clients, Era, NewerClients, Secret};
use crate::session::event::End;
use crate::wire::command::{Auth, Credentials, Request};
use crate::wire::dialect::Passwords;
use crate::wire::role::Role;

fn one(name: &str, version: &str, admin: bool, password: Option<&str>) -> Auth {
    Auth {
        admin,
        credentials: Credentials::One(password.map(str::to_owned)),
        ..auth(name, version)
    }
}

fn two(name: &str, server: Option<&str>, admin: Option<&str>) -> Auth {
    Auth {
        admin: admin.is_some_and(|password| !password.is_empty()),
        credentials: Credentials::Two {
            server: server.map(str::to_owned),
            admin: admin.map(str::to_owned),
        },
        ..auth(name, "0.9.11")
    }
}

/// Clients up to 0.1.26 show what follows the first colon and end without one; all look for
/// words in the text.
fn assert_refusal(text: &str) {
    let text = text
        .strip_prefix("auth ")
        .unwrap_or_else(|| panic!("{text}"));
    assert!(text.starts_with("FAILED: "), "{text}");
    assert_eq!(text.matches(':').count(), 1, "{text}");
    assert!(
        !text.contains("LOBBY") && !text.contains("RUNNING"),
        "{text}"
    );
}

fn last_users(room: &Room, peer: &Recorder) -> String {
    let told = room.told(peer);
    let users = told.into_iter().rfind(|line| line.starts_with("users"));
    users.unwrap()
}

fn refusal(room: &mut Room, auth: Auth) -> String {
    // The oldest clients overlook a refusal, but show why they are disconnected.
    let shown_by_disconnect = auth.version.is_none();
    let peer = room.enter(auth);
    let told = room.told(&peer);
    assert_refusal(&told[0]);
    assert_eq!(
        told.len(),
        if shown_by_disconnect { 2 } else { 1 },
        "{told:?}"
    );
    told[0].clone()
}

#[test]
fn the_first_is_told_that_there_is_nothing_yet() {
    for version in VERSIONS {
        let mut room = Room::new(version);
        let alice = room.enter(admin_auth("alice", version));
        let told = room.told(&alice);
        if row(version).generation < 3 {
            assert_eq!(told, ["auth LOBBY"], "{version}");
            room.pass(1100);
            assert_eq!(room.told(&alice), ["users alice!/6"], "{version}");
        } else {
            assert_eq!(told, ["users alice!/10", "auth LOBBY"], "{version}");
        }
    }
}

#[test]
fn later_ones_are_told_that_it_runs_and_all_learn_of_them() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        let eve = room.enter(auth("eve", version));
        let users = if row(version).generation < 3 {
            assert_eq!(room.told(&eve), ["auth RUNNING"], "{version}");
            room.pass(1100);
            assert_eq!(room.told(&eve), ["users alice!/6 bob/6 eve/6"]);
            "users alice!/6 bob/6 eve/6"
        } else {
            let users = "users alice!/2 bob/2 eve/10";
            assert_eq!(room.told(&eve), [users, "auth RUNNING"], "{version}");
            users
        };
        assert_eq!(room.told(&alice), [users], "{version}");
        assert_eq!(room.told(&bob), [users], "{version}");
    }
}

#[test]
fn the_framed_transport_hears_the_answer_first() {
    let mut room = Room::new("0.10.2");
    let alice = room.stranger().over_the_framed_transport();
    alice.state().linked[Role::Subscriber.index()] = true;
    room.ask(&alice, Request::Auth(admin_auth("alice", "0.10.2")));
    assert_eq!(room.told(&alice), ["auth LOBBY", "users alice!/10"]);
}

#[test]
fn the_framed_transport_hears_the_answer_when_its_data_link_is_there() {
    let role = Role::Subscriber;
    let mut room = Room::new("0.10.2");
    let alice = room.stranger().over_the_framed_transport();
    alice.state().linked[role.index()] = false;
    room.ask(&alice, Request::Auth(admin_auth("alice", "0.10.2")));
    assert_eq!(room.told(&alice), ["users alice!/11"]);
    room.event(&alice, crate::session::Event::Linked { role });
    assert_eq!(room.told(&alice), ["auth LOBBY", "users alice!/10"]);

    let bob = room.stranger().over_the_framed_transport();
    bob.state().linked[role.index()] = false;
    room.ask(&bob, Request::Auth(admin_auth("bob", "0.10.2")));
    room.hush(&[&alice, &bob]);
    room.pass(15_000);
    assert!(
        room.told(&bob)
            .contains(&"auth FAILED: data channel timeout".to_owned())
    );
    assert_eq!(room.told(&alice), ["users alice!/10"]);
}

#[test]
fn one_name_one_user() {
    for version in VERSIONS {
        let (mut room, ..) = Room::busy(version);
        let text = refusal(&mut room, auth("bob", version));
        assert_eq!(text, "auth FAILED: client already logged in", "{version}");
        // Wrong in two ways: the name counts, as in the reference.
        let mut wrong = auth("bob", version);
        wrong.version = Some("0.0.21".to_owned()).filter(|_| version != "0.0.21");
        if row(version).passwords == Passwords::One && row(version).generation < 14 {
            let text = refusal(&mut room, wrong);
            assert_eq!(text, "auth FAILED: client already logged in", "{version}");
        }
    }
}

#[test]
fn names_that_cannot_be_used_are_refused() {
    for version in VERSIONS {
        let mut room = Room::new(version);
        let long = "x".repeat(129);
        for name in [
            "", "COMMON", "common", "Server", "client", "gUEst", "a\nb", "\0", &long,
        ] {
            refusal(&mut room, auth(name, version));
            assert_eq!(room.session.user_count(), 0, "{version} {name:?}");
        }
        for name in ["a", &"x".repeat(128), "Zoë: RUNNING in the LOBBY"] {
            room.enter(auth(name, version));
        }
        assert_eq!(room.session.user_count(), 3, "{version}");
    }
}

#[test]
fn one_password_field_without_server_password() {
    for version in VERSIONS.into_iter().filter(|v| *v != "0.9.11") {
        let mut room = Room::new(version);
        let text = refusal(&mut room, one("a", version, true, Some("wrong")));
        assert_eq!(text, "auth FAILED: wrong password");
        refusal(&mut room, one("a", version, true, None));
        room.enter(one("b", version, false, None));
        room.enter(one("c", version, true, Some(ADMIN_PASSWORD)));
        let watch = room.enter(one("d", version, false, None));
        room.pass(1100);
        let users = last_users(&room, &watch);
        assert!(users.contains(" b/") && users.contains(" c!/"), "{users}");
    }
}

#[test]
fn one_password_field_with_server_password() {
    for version in VERSIONS.into_iter().filter(|v| *v != "0.9.11") {
        let mut room = Room::with(version, |s| s.server_password = Some(Secret::new("open")));
        for (admin, password) in [
            (false, None),
            (true, None),
            (true, Some("wrong")),
            (false, Some("wrong")),
            (true, Some("")),
        ] {
            let text = refusal(&mut room, one("a", version, admin, password));
            assert!(text.contains("admin password field"), "tells where: {text}");
        }
        room.enter(one("b", version, true, Some("open")));
        let watch = room.enter(one("c", version, true, Some(ADMIN_PASSWORD)));
        room.pass(1100);
        let users = last_users(&room, &watch);
        assert!(users.contains(" b/") && users.contains(" c!/"), "{users}");
    }
}

#[test]
fn two_password_fields() {
    let mut room = Room::new("0.9.11");
    let text = refusal(&mut room, two("a", Some(""), Some("wrong")));
    assert_eq!(text, "auth FAILED: wrong admin password");
    // Whatever a client without a server password sends, there is none to be wrong.
    for (name, server) in [
        ("a", None),
        ("b", Some("")),
        ("c", Some("None")),
        ("d", Some("x")),
    ] {
        room.enter(two(name, server, None));
    }
    room.enter(two("e", Some(""), Some(ADMIN_PASSWORD)));
    assert_eq!(room.session.user_count(), 5);

    let mut room = Room::with("0.9.11", |s| s.server_password = Some(Secret::new("open")));
    for server in [None, Some(""), Some("wrong"), Some("None")] {
        let text = refusal(&mut room, two("a", server, None));
        assert_eq!(text, "auth FAILED: wrong server password");
        let text = refusal(&mut room, two("a", server, Some(ADMIN_PASSWORD)));
        assert_eq!(text, "auth FAILED: wrong server password");
    }
    let text = refusal(&mut room, two("a", Some("wrong"), Some("wrong")));
    assert_eq!(
        text, "auth FAILED: wrong admin password",
        "the order is the reference's"
    );
    room.enter(two("b", Some("open"), None));
    let watch = room.enter(two("c", Some("open"), Some(ADMIN_PASSWORD)));
    assert_eq!(room.told(&watch), ["users b/10 c!/10", "auth LOBBY"]);
}

/// Clients newer than any known are treated like the newest that comes the same way, or refused.
#[test]
fn newer_clients_are_taken_for_the_newest_known() {
    const NEWER: &str = "0.99.1";
    let login = |name: &str| Auth {
        version: Some(NEWER.to_owned()),
        ..two(name, None, None)
    };
    let mut room = Room::new("0.9.11");
    let alice = room.enter(login("alice"));
    assert_eq!(room.told(&alice), ["users alice/10", "auth LOBBY"]);
    let mut room = Room::new("0.10.2");
    let bob = room.stranger().over_the_framed_transport();
    bob.state().linked[Role::Subscriber.index()] = true;
    room.ask(&bob, Request::Auth(login("bob")));
    assert_eq!(room.told(&bob), ["auth LOBBY", "users bob/10"]);

    let mut room = Room::with("0.9.11", |settings| {
        settings.newer_clients = NewerClients::Refuse;
    });
    let eve = room.stranger();
    room.ask(&eve, Request::Auth(login("eve")));
    let told = room.told(&eve);
    assert_refusal(&told[0]);
    assert!(told[0].contains("is newer than this server"), "{told:?}");
}

#[test]
fn only_clients_of_the_allowed_ages_are_let_in() {
    for (version, era) in [
        ("0.1.26", Era::ThreePorts),
        ("0.9.11", Era::FourPorts),
        ("0.9.11", Era::OnePort),
    ] {
        let mut room = Room::with(version, |settings| settings.clients = Clients::of(&[era]));
        let eve = room.stranger();
        room.ask(&eve, Request::Auth(auth("eve", version)));
        let told = room.told(&eve);
        assert_refusal(&told[0]);
        assert!(told[0].contains("not allowed in this session"), "{told:?}");
    }
}

#[test]
fn the_version_of_those_present_counts() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        let other = match version {
            "0.0.3" => "0.0.20",
            "0.9.11" => "0.9.10",
            _ => "0.0.3",
        };
        let peer = room.stranger();
        room.ask(&peer, Request::Auth(auth("eve", other)));
        let told = room.told(&peer);
        assert_refusal(&told[0]);
        assert!(told[0].contains("wrong client version ("), "{told:?}");
        // When all are gone any version of the same family may go on.
        for user in [&alice, &bob] {
            room.unlink(user, Role::Command, End::Closed);
        }
        room.pass(1000);
        assert_eq!(room.session.user_count(), 0);
        let next = match version {
            "0.0.3" | "0.0.20" => "0.0.21",
            "0.0.21" => "0.0.3",
            "0.1.3" | "0.1.26" => "0.1.31",
            "0.1.31" => "0.1.3",
            _ => "0.9.10",
        };
        let peer = room.stranger();
        room.ask(&peer, Request::Auth(auth("eve", next)));
        assert!(
            room.told(&peer).contains(&"auth RUNNING".to_owned()),
            "{version} {next}"
        );
    }
}

#[test]
fn work_of_another_family_is_not_shown() {
    for (author, reader) in [
        ("0.0.20", "0.1.3"),
        ("0.1.31", "0.9.11"),
        ("0.1.3", "0.0.21"),
    ] {
        let (mut room, alice, bob) = Room::busy(author);
        for user in [&alice, &bob] {
            room.unlink(user, Role::Command, End::Closed);
        }
        room.pass(1000);
        let mut peer = room.stranger();
        let framing = row(reader).commands;
        room.version = reader;
        assert_eq!(room.dialect().commands, framing);
        room.ask(&peer, Request::Auth(auth("eve", reader)));
        let told = room.told(&peer);
        assert_refusal(&told[0]);
        assert!(told[0].contains(reader), "{told:?}");
        assert_eq!(room.session.user_count(), 0);
        // The first to come back with the old version has everything.
        room.version = author;
        peer = room.enter(auth("alice", author));
        assert_eq!(room.catalog(&peer).len(), 3);
    }
}

#[test]
fn nonsense_versions_and_full_sessions_are_refused() {
    let mut room = Room::new("0.9.11");
    let mut strange = auth("a", "0.9.11");
    strange.version = Some("nine: LOBBY".to_owned());
    refusal(&mut room, strange);
    let mut room = Room::with("0.9.11", |s| s.max_users = 1);
    room.enter(auth("a", "0.9.11"));
    let text = refusal(&mut room, auth("b", "0.9.11"));
    assert!(text.contains("full"), "{text}");
}

#[test]
fn a_second_login_of_the_same_identity_starts_over() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.push(&bob, node(4, "bob", &[], "four"));
        room.hush(&[&alice, &bob]);
        room.ask(&bob, Request::Auth(auth("robert", version)));
        let told = room.told(&bob);
        assert_eq!(
            told.iter().filter(|l| l.starts_with("auth")).count(),
            1,
            "{told:?}"
        );
        assert!(told.contains(&"auth RUNNING".to_owned()));
        assert!(
            room.told(&alice).contains(&"right 4 COMMON".to_owned()),
            "{version}"
        );
        assert_eq!(room.session.user_count(), 2);
        assert_eq!(room.catalog(&bob), [4, 3, 2, 1]);
    }
}

#[test]
fn an_artist_who_restarts_blender_gets_the_name_back() {
    let (mut room, _, bob) = Room::busy("0.1.31");
    room.unlink(&bob, Role::Command, End::Broken);
    refusal(&mut room, auth("bob", "0.1.31"));
    let again = room.stranger().at(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));
    room.ask(&again, Request::Auth(auth("bob", "0.1.31")));
    assert!(room.told(&again).contains(&"auth RUNNING".to_owned()));
}

#[test]
fn the_server_info_needs_no_login() {
    let mut room = Room::new("0.9.11");
    let asker = room.stranger();
    room.ask(&asker, Request::Info);
    assert_eq!(room.told(&asker), ["info false 0.9.11"]);
    let mut room = Room::with("0.9.10", |s| s.server_password = Some(Secret::new("open")));
    room.enter(Auth {
        version: Some("0.9.10".to_owned()),
        ..two("a", Some("open"), None)
    });
    let asker = room.stranger();
    room.ask(&asker, Request::Info);
    assert_eq!(room.told(&asker), ["info true 0.9.10"]);
}

#[test]
fn strangers_change_nothing() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        let eve: Recorder = room.stranger();
        for request in [
            Request::CatalogRequest,
            Request::Get(super::room::id(1)),
            Request::JoinDone,
            Request::UploadInit { nodes: vec![] },
            Request::UploadSet(node(1, "COMMON", &[], "evil")),
            Request::UploadEnd,
            Request::Delete(super::room::id(1)),
            Request::Right {
                nodes: vec![super::room::id(1)],
                owner: "bob".to_owned(),
            },
            Request::Kick {
                user: "bob".to_owned(),
            },
            Request::Disconnect,
            Request::Metadata(crate::wire::pickle::Dict::new().into()),
        ] {
            room.ask(&eve, request);
        }
        room.push(&eve, node(1, "COMMON", &[], "evil"));
        room.push(&eve, node(9, "COMMON", &[], "evil"));
        room.pass(3000);
        assert!(
            super::room::without_users(room.told(&alice)).is_empty(),
            "{version}"
        );
        assert!(
            super::room::without_users(room.told(&bob)).is_empty(),
            "{version}"
        );
        assert!(room.told(&eve).is_empty(), "{version}");
        assert_eq!(room.session.node_count(), 3);
        assert_eq!(room.session.user_count(), 2);
    }
}

proptest! {
    #[test]
    fn no_version_text_makes_a_refusal_look_like_success(
        version in "[0-9]{1,2}\\.[0-9]{1,2}\\.[0-9]{1,2}[a-zA-Z.]{0,12}(LOBBY|RUNNING|)?",
        text in ".{0,60}",
    ) {
        for version in [version, text] {
            let (mut room, ..) = Room::busy("0.1.31");
            let peer = room.stranger();
            let mut auth = auth("eve", "0.1.31");
            auth.version = Some(version.clone()).filter(|v| v != "0.1.31");
            room.ask(&peer, Request::Auth(auth));
            assert_refusal(&room.told(&peer)[0]);
        }
    }
}
