//! Servers that are not this one: such as the clients' own are, seen from outside (made of the
//! `zeromq` crate's sockets), and such as are none at all.

use std::net::TcpListener;

use bytes::Bytes;
use multi_user_server::wire::client::OwnedAnswer;
use multi_user_server::wire::command::{self, Command, CommandLimits, Request};
use multi_user_server::wire::dialect;
use multi_user_server::wire::framed;
use multi_user_server::wire::message::Message;
use multi_user_server::wire::zmtp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use zeromq::util::PeerIdentity;
use zeromq::{
    DealerSocket, PullSocket, RouterSocket, Socket, SocketOptions, SocketRecv, SocketSend,
    ZmqMessage,
};

use super::common::ANYTHING;
use super::{at, free_run, probe, reachable, troubles, within};

/// A ROUTER at this port, with the name that the clients' own servers give it.
async fn router(at: TcpListener, name: Option<&str>) -> RouterSocket {
    let mut options = SocketOptions::default();
    if let Some(name) = name {
        options.peer_identity(name.parse::<PeerIdentity>().unwrap());
    }
    let mut socket = RouterSocket::with_options(options);
    socket.bind_listener(at).await.unwrap();
    socket
}

/// Answers heartbeats as servers do, once.
async fn beat(mut socket: RouterSocket) {
    loop {
        let frames = socket.recv().await.unwrap().into_vec();
        assert_eq!(frames[1..], [&b"INIT"[..]]);
        answer(
            &mut socket,
            frames[0].clone(),
            vec![Bytes::from_static(b"PING")],
        )
        .await;
    }
}

async fn answer(socket: &mut RouterSocket, to: Bytes, frames: Vec<Bytes>) {
    let frames: Vec<Bytes> = [vec![to], frames].concat();
    let message = ZmqMessage::try_from(frames).unwrap();
    socket.send(message).await.unwrap();
}

/// The server info as servers from 0.9.1 on send it.
fn info(version: &str) -> Message {
    let dialect = dialect::for_version(Some(version)).unwrap();
    let info = OwnedAnswer::Info {
        private: true,
        version: version.to_owned(),
    };
    command::encode(dialect, &info.borrow()).remove(0)
}

fn is_info_request(frames: Vec<Bytes>) -> bool {
    let command = command::decode(&Message::new(frames), &CommandLimits::default());
    matches!(command, Ok(Command { request: Request::Info, owner, .. }) if owner == "guest")
}

#[tokio::test]
async fn four_ports() {
    let run = free_run();
    let address = at(&run);
    let [first, second, third, fourth] = run;
    let mut commands = router(first, Some("SERVER_COMMAND")).await;
    let _nodes = router(second, Some("SERVER_PUSH")).await;
    let mut pull = PullSocket::new();
    pull.bind_listener(third).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(beat(router(fourth, None).await));

    let probed = probe(&[&address, "--json"]).await;
    let report = probed.json();
    assert_eq!(
        (probed.status, &report["server"]),
        (0, &"four-ports".into()),
        "{report}"
    );
    assert!(reachable(&report)[0]);
    assert!(report["session"].is_null());
    // The oldest of these servers break on a question they don't know. Nothing came before this:
    let mut marker = DealerSocket::new();
    marker.connect(&format!("tcp://{address}")).await.unwrap();
    marker.send("marker".into()).await.unwrap();
    let heard = within("the marker", commands.recv()).await.unwrap();
    assert_eq!(heard.into_vec()[1..], [&b"marker"[..]]);
}

#[tokio::test]
async fn three_ports() {
    let run = free_run();
    let address = at(&run);
    let [first, second, third, fourth] = run;
    drop(fourth);
    let mut commands = router(first, Some("SERVER_COMMAND")).await;
    let _nodes = router(second, Some("SERVER_PUSH")).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(beat(router(third, None).await));
    tasks.spawn(async move {
        let mut frames = commands.recv().await.unwrap().into_vec();
        let asker = frames.remove(0);
        assert!(is_info_request(frames));
        answer(&mut commands, asker, info("0.9.4").into_frames()).await;
        // The next one is not answered, as by servers before 0.9.1.
        commands.recv().await.unwrap();
        std::future::pending().await
    });

    let probed = probe(&[&address, "--json"]).await;
    let report = probed.json();
    assert_eq!(
        (probed.status, &report["server"]),
        (0, &"three-ports".into()),
        "{report}"
    );
    assert_eq!(report["session"]["version"], "0.9.4");
    assert_eq!(report["session"]["private"], true);
    assert_eq!(report["ports"][3]["needed"], false);
    assert!(reachable(&report)[1]);

    let probed = probe(&[&address, "--json", "--wait", "1s"]).await;
    let report = probed.json();
    assert_eq!(probed.status, 0, "{report}");
    assert!(report["session"].is_null());

    // Who names the second port is told so.
    let port = report["port"].as_u64().unwrap() + 1;
    let probed = probe(&[&format!("127.0.0.1:{port}"), "--json", "--wait", "1s"]).await;
    assert_eq!(probed.status, 1);
    assert_eq!(probed.json()["ports"][0]["trouble"], "other-port");
}

#[tokio::test]
async fn one_port() {
    let run = free_run();
    let address = at(&run);
    let [first, others @ ..] = run;
    drop(others);
    first.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(first).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut decoder = framed::Decoder::new();
            let mut frames = Vec::new();
            while frames.len() < 3 {
                match decoder.next(&ANYTHING) {
                    Ok(Some(framed::Item::Handshake { role, .. })) => {
                        assert_eq!(role, framed::Role::Command);
                    }
                    Ok(Some(framed::Item::Frame { body, .. })) => frames.push(body),
                    Ok(None) if stream.read_buf(&mut decoder.space()).await.unwrap() > 0 => {}
                    // ZeroMQ begins in another way.
                    _ => break,
                }
            }
            if is_info_request(frames) {
                let info = framed::encode(&info("0.10.2"));
                let bytes = info.segments().concat();
                stream.write_all(&bytes).await.unwrap();
            }
        }
    });

    let probed = probe(&[&address, "--json"]).await;
    let report = probed.json();
    assert_eq!(
        (probed.status, &report["server"]),
        (0, &"one-port".into()),
        "{report}"
    );
    assert_eq!(report["session"]["version"], "0.10.2");
    assert_eq!(report["ports"][0]["framed"], true);
    assert_eq!(reachable(&report), [false, false, true]);
}

/// Says this to whoever connects, however often.
fn says(listener: TcpListener, bytes: Vec<u8>) -> JoinSet<()> {
    floods(listener, bytes, Vec::new())
}

/// Says `start`, and `flood` as soon as it is asked something.
fn floods(listener: TcpListener, start: Vec<u8>, flood: Vec<u8>) -> JoinSet<()> {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut lines = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let (start, flood) = (start.clone(), flood.clone());
            lines.spawn(async move {
                let mut heard = Vec::new();
                let asked = |heard: &[u8]| {
                    let questions: [&[u8]; 2] = [b"INIT", b"RQ_INFO"];
                    let all = |q: &&[u8]| heard.windows(q.len()).any(|part| part == *q);
                    questions.iter().any(all)
                };
                // Whoever asks may have gone.
                let _ = stream.write_all(&start).await;
                while !asked(&heard) && stream.read_buf(&mut heard).await.is_ok_and(|n| n > 0) {}
                let _ = stream.write_all(&flood).await;
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            });
        }
    });
    tasks
}

#[tokio::test]
async fn what_is_no_session_server() {
    let run = free_run();
    let address = at(&run);
    let [first, second, third, fourth] = run;
    let publisher = [
        &zmtp::greeting()[..],
        &zmtp::ready(zmtp::SocketType::Pub, None),
    ]
    .concat();
    // A terabyte is announced; who believed that would end for want of memory.
    let hostile = [&zmtp::greeting()[..], b"\x02\0\0\x01\0\0\0\0\0"].concat();
    let _said = [
        says(first, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        says(second, b"SSH-2.0-server\r\n".to_vec()),
        says(third, publisher),
        says(fourth, hostile),
    ];
    let probed = probe(&[&address, "--json"]).await;
    let report = probed.json();
    assert_eq!(
        (probed.status, &report["verdict"]),
        (3, &"nothing".into()),
        "{report}"
    );
    let expected = ["foreign", "foreign", "other-socket", "broken"].map(serde_json::Value::from);
    assert_eq!(troubles(&report), expected.each_ref());
    let hint = report["ports"][0]["hint"].as_str().unwrap();
    assert!(hint.contains("speaks HTTP"), "{hint}");
}

#[tokio::test]
async fn a_server_that_floods_once_it_is_asked() {
    let run = free_run();
    let address = at(&run);
    let ready = zmtp::ready(zmtp::SocketType::Router, None);
    let start = [&zmtp::greeting()[..], &ready].concat();
    let frame = [&b"\x03\0\0\0\0\0\0\x10\0"[..], &[7; 4096]].concat();
    // One message without end, and without an answer in it.
    let flood = frame.repeat(64);
    let [first, second, third, fourth] = run;
    drop((second, fourth));
    let _said = [first, third].map(|port| floods(port, start.clone(), flood.clone()));
    let probed = probe(&[&address, "--json", "--wait", "2s"]).await;
    assert_eq!(probed.status, 1);
    assert_eq!(probed.json()["ports"][2]["trouble"], "mute");
}
