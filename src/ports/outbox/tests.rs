//! What a peer gets, in which order.

use super::*;

fn node(n: u8) -> NodeId {
    NodeId::new(format!("{n:02}345678-0000-4000-8000-000000000000").as_bytes()).unwrap()
}

fn bytes(text: &'static str) -> Encoded {
    Encoded::new(vec![Bytes::from_static(text.as_bytes())])
}

fn texts(batch: &Batch) -> Vec<&str> {
    batch
        .segments
        .iter()
        .map(|s| std::str::from_utf8(s).unwrap())
        .collect()
}

fn take(outbox: &Outbox, lane: Lane, target: usize) -> Batch {
    let mut batch = Batch::default();
    outbox.take(lane, target, &mut batch);
    batch
}

const RTT: Duration = Duration::from_millis(100);

fn drain(outbox: &Outbox, lane: Lane, now: Instant) -> (Vec<String>, Vec<Repeat>) {
    let batch = take(outbox, lane, usize::MAX);
    let written = outbox.written(lane, &batch, now, RTT);
    (
        texts(&batch).into_iter().map(str::to_owned).collect(),
        written.repeats,
    )
}

#[tokio::test(start_paused = true)]
async fn a_newer_state_takes_the_older_ones_place() {
    let outbox = Outbox::new(1000, Gate::default());
    outbox.data(node(1), Joins::Replaces, &[], bytes("a1"));
    outbox.data(node(2), Joins::Replaces, &[], bytes("b1"));
    outbox.data(node(1), Joins::Replaces, &[], bytes("a2"));
    assert_eq!(drain(&outbox, Lane::Data, Instant::now()).0, ["a2", "b1"]);
    assert_eq!(outbox.state().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_state_goes_behind_what_it_newly_depends_on() {
    let outbox = Outbox::new(1000, Gate::default());
    outbox.data(node(1), Joins::Replaces, &[], bytes("a1"));
    outbox.data(node(2), Joins::Replaces, &[], bytes("b1"));
    outbox.data(node(1), Joins::Replaces, &[node(2)], bytes("a2"));
    assert_eq!(drain(&outbox, Lane::Data, Instant::now()).0, ["b1", "a2"]);
}

#[tokio::test(start_paused = true)]
async fn deltas_pile_up_until_a_whole_state_replaces_them() {
    let outbox = Outbox::new(1000, Gate::default());
    outbox.data(node(1), Joins::Follows, &[], bytes("d1"));
    assert_eq!(outbox.data(node(1), Joins::Follows, &[], bytes("d2")), 4);
    assert_eq!(outbox.data(node(1), Joins::Replaces, &[], bytes("w")), 1);
    outbox.data(node(1), Joins::Follows, &[], bytes("d3"));
    assert_eq!(drain(&outbox, Lane::Data, Instant::now()).0, ["w", "d3"]);
}

#[tokio::test(start_paused = true)]
async fn a_right_waits_for_the_nodes_data_and_is_repeated_if_it_may_overtake() {
    let outbox = Outbox::new(1000, Gate::default());
    let now = Instant::now();
    outbox.data(node(1), Joins::Replaces, &[], bytes("a1"));
    outbox.edit(node(1), Edit::Right, bytes("right"));
    assert!(drain(&outbox, Lane::Command, now).0.is_empty());
    assert_eq!(drain(&outbox, Lane::Data, now).0, ["a1"]);
    let (sent, repeats) = drain(&outbox, Lane::Command, now);
    assert_eq!(sent, ["right"]);
    assert_eq!(
        repeats,
        [Repeat {
            node: node(1),
            data: false
        }]
    );
    outbox.edit(node(1), Edit::Right, bytes("again"));
    assert!(drain(&outbox, Lane::Command, now + RTT * 2).1.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_edit_waits_while_the_data_is_on_its_way_to_the_socket() {
    let outbox = Outbox::new(1000, Gate::default());
    let now = Instant::now();
    outbox.data(node(1), Joins::Replaces, &[], bytes("a1"));
    let batch = take(&outbox, Lane::Data, usize::MAX);
    outbox.edit(node(1), Edit::Delete, bytes("delete"));
    assert!(drain(&outbox, Lane::Command, now).0.is_empty());
    outbox.written(Lane::Data, &batch, now, RTT);
    assert_eq!(drain(&outbox, Lane::Command, now).0, ["delete"]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_drops_what_has_not_been_started() {
    let outbox = Outbox::new(1000, Gate::default());
    let now = Instant::now();
    outbox.data(node(1), Joins::Replaces, &[], bytes("a1"));
    outbox.edit(node(1), Edit::Right, bytes("right"));
    outbox.edit(node(1), Edit::Delete, bytes("delete"));
    assert!(drain(&outbox, Lane::Data, now).0.is_empty());
    assert_eq!(drain(&outbox, Lane::Command, now).0, ["delete"]);
    assert_eq!(outbox.state().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn data_of_a_node_created_anew_takes_the_place_of_its_delete() {
    let outbox = Outbox::new(1000, Gate::default());
    let now = Instant::now();
    outbox.edit(node(1), Edit::Delete, bytes("delete"));
    outbox.data(node(1), Joins::Replaces, &[], bytes("anew"));
    assert!(drain(&outbox, Lane::Command, now).0.is_empty());
    assert_eq!(drain(&outbox, Lane::Data, now).0, ["anew"]);

    outbox.edit(node(2), Edit::Delete, bytes("delete"));
    drain(&outbox, Lane::Command, now);
    outbox.data(node(2), Joins::Replaces, &[], bytes("anew"));
    let (_, repeats) = drain(&outbox, Lane::Data, now);
    assert_eq!(
        repeats,
        [Repeat {
            node: node(2),
            data: true
        }]
    );
}

#[tokio::test(start_paused = true)]
async fn only_the_latest_users_dict_is_sent_and_it_keeps_its_place() {
    let outbox = Outbox::new(1000, Gate::default());
    outbox.command(Slot::Users, bytes("users1"));
    outbox.command(Slot::Metadata("bob".into()), bytes("bob1"));
    outbox.command(Slot::Users, bytes("users2"));
    outbox.command(Slot::Metadata("bob".into()), bytes("bob2"));
    outbox.command(Slot::Metadata("eve".into()), bytes("eve"));
    outbox.forget_metadata("eve");
    assert_eq!(
        drain(&outbox, Lane::Command, Instant::now()).0,
        ["users2", "bob2"]
    );
    assert_eq!(outbox.state().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn unseen_until_a_round_trip_has_passed() {
    let outbox = Outbox::new(1000, Gate::default());
    let now = Instant::now() + RTT * 10;
    assert!(!outbox.unseen(node(1), now, RTT));
    outbox.data(node(1), Joins::Replaces, &[], bytes("a1"));
    assert!(outbox.unseen(node(1), now, RTT));
    drain(&outbox, Lane::Data, now);
    assert!(outbox.unseen(node(1), now, RTT));
    assert!(!outbox.unseen(node(1), now + RTT * 2, RTT));
    assert_eq!(outbox.sent_since(now), [node(1)]);
    outbox.prune(now + RTT);
    assert!(outbox.sent_since(now).is_empty());
}

#[tokio::test(start_paused = true)]
async fn says_once_that_it_has_drained() {
    let outbox = Outbox::new(4, Gate::default());
    let now = Instant::now();
    assert!(outbox.has_room());
    outbox.data(node(1), Joins::Replaces, &[], bytes("12345"));
    assert!(!outbox.has_room());
    let batch = take(&outbox, Lane::Data, usize::MAX);
    assert!(outbox.written(Lane::Data, &batch, now, RTT).drained);
    outbox.data(node(1), Joins::Replaces, &[], bytes("1"));
    let batch = take(&outbox, Lane::Data, usize::MAX);
    assert!(!outbox.written(Lane::Data, &batch, now, RTT).drained);
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_while_it_is_held() {
    let outbox = Outbox::new(1000, Gate::default());
    outbox.hold(true);
    outbox.command(Slot::Plain, bytes("x"));
    assert!(take(&outbox, Lane::Command, 10).segments.is_empty());
    outbox.hold(false);
    assert_eq!(texts(&take(&outbox, Lane::Command, 10)), ["x"]);
}

/// What is queued while the gate is closed goes out when it opens, and wakes who waits for it.
#[tokio::test(start_paused = true)]
async fn a_closed_gate_holds_everything_back() {
    let gate = Gate::default();
    let outbox = std::sync::Arc::new(Outbox::new(1000, gate.clone()));
    gate.close();
    let waiting = std::sync::Arc::clone(&outbox);
    let next = tokio::spawn(async move {
        let mut batch = Batch::default();
        waiting.next(Lane::Command, 1000, &mut batch).await;
        batch.segments.len()
    });
    tokio::task::yield_now().await;
    outbox.command(Slot::Plain, Encoded::new(vec!["x".into()]));
    tokio::task::yield_now().await;
    assert!(!next.is_finished());
    gate.open();
    assert_eq!(next.await.unwrap(), 1);
    // Closed before something is queued, although somebody waits already.
    let waiting = std::sync::Arc::clone(&outbox);
    let next = tokio::spawn(async move {
        let mut batch = Batch::default();
        waiting.next(Lane::Command, 1000, &mut batch).await;
        batch.segments.len()
    });
    tokio::task::yield_now().await;
    gate.close();
    outbox.command(Slot::Plain, Encoded::new(vec!["y".into()]));
    tokio::task::yield_now().await;
    assert!(!next.is_finished());
    gate.open();
    assert_eq!(next.await.unwrap(), 1);
}
