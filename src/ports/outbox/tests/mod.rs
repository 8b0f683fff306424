//! What a peer gets, in which order.

mod seen;

use bytes::Bytes;
use tokio::time::advance;

use super::*;
use crate::session::outlet::Repeat;

fn node(n: u8) -> NodeId {
    NodeId::new(format!("{n:02}345678-0000-4000-8000-000000000000").as_bytes()).unwrap()
}

fn bytes(text: &'static str) -> Encoded {
    Encoded::new(vec![Bytes::from_static(text.as_bytes())])
}

const LAG: Duration = Duration::from_millis(50);

fn queue(budget: usize) -> Outbox {
    Outbox::new(budget, LAG, Gate::default())
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

/// Queues data of a node, and returns the bytes that wait if the peer is behind.
fn push(outbox: &Outbox, n: u8, joins: Joins, after: &[NodeId], text: &'static str) -> usize {
    match outbox.data(node(n), joins, after, bytes(text), Instant::now(), || RTT) {
        Taken::Queued(waiting) => waiting,
        Taken::Refused => panic!("refused"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_state_takes_the_older_ones_place_once_that_has_waited() {
    let outbox = queue(1000);
    assert_eq!(push(&outbox, 1, Joins::Renews, &[], "a1"), 0);
    push(&outbox, 2, Joins::Renews, &[], "b1");
    assert_eq!(push(&outbox, 1, Joins::Renews, &[], "a2"), 0);
    advance(LAG).await;
    assert_eq!(push(&outbox, 1, Joins::Renews, &[], "a3"), 2);
    // That waits in the place of what has waited, so that what follows does not wait anew.
    assert_eq!(push(&outbox, 1, Joins::Renews, &[], "a4"), 2);
    assert_eq!(drain(&outbox, Lane::Data, Instant::now()).0, ["a4", "b1"]);
    assert_eq!(outbox.state().bytes, 0);
}

/// Who logs in again gets everything anew, whatever is still on its way to the link before.
#[test]
fn what_is_being_written_for_a_login_that_is_over_does_not_count() {
    let (outbox, now) = (queue(1000), Instant::now());
    push(&outbox, 1, Joins::Renews, &[], "of the first");
    let first = take(&outbox, Lane::Data, 1);
    outbox.clear();
    push(&outbox, 2, Joins::Renews, &[], "second");
    let second = take(&outbox, Lane::Data, 1);
    assert_eq!(outbox.ask_receipt(&first, now), None);
    assert!(
        outbox
            .written(Lane::Data, &first, now, RTT)
            .repeats
            .is_empty()
    );
    assert_eq!(outbox.queued(), 6);
    assert!(!outbox.has_no_data(), "it is being written");
    assert!(!outbox.state().marks.contains_key(&node(1)));
    outbox.written(Lane::Data, &second, now, RTT);
    assert_eq!(outbox.queued(), 0);
    assert!(outbox.has_no_data());
}

#[tokio::test(start_paused = true)]
async fn every_state_is_sent_to_a_peer_that_keeps_up() {
    let outbox = queue(1000);
    let mut sent = Vec::new();
    for _ in 0..10 {
        for text in ["a1", "a2", "a3"] {
            push(&outbox, 1, Joins::Renews, &[], text);
        }
        // Less than what waits goes out at a time.
        while !outbox.has_no_data() {
            advance(LAG / 4).await;
            let batch = take(&outbox, Lane::Data, 4);
            outbox.written(Lane::Data, &batch, Instant::now(), RTT);
            sent.extend(texts(&batch).into_iter().map(str::to_owned));
        }
    }
    assert_eq!(sent, ["a1", "a2", "a3"].repeat(10));
}

#[tokio::test(start_paused = true)]
async fn the_age_of_what_waits_counts_not_that_something_always_does() {
    let outbox = queue(1000);
    for n in 0..20 {
        push(&outbox, 1, Joins::Renews, &[], "a1");
        if n > 0 {
            take(&outbox, Lane::Data, 1);
        }
        advance(LAG * 2 / 3).await;
        assert_eq!(outbox.state().groups[&node(1)].parts.len(), 1, "{n}");
    }
    push(&outbox, 1, Joins::Renews, &[], "a2");
    assert_eq!(texts(&take(&outbox, Lane::Data, 9)), ["a1", "a2"]);
}

#[tokio::test(start_paused = true)]
async fn a_newer_state_takes_the_older_ones_place_if_the_queue_is_half_full() {
    let outbox = queue(20);
    for text in ["a1", "a2", "a3", "a4", "a5"] {
        push(&outbox, 1, Joins::Renews, &[], text);
    }
    push(&outbox, 1, Joins::Renews, &[], "a6");
    assert_eq!(drain(&outbox, Lane::Data, Instant::now()).0, ["a6"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_node_keeps_its_place_and_what_waits_for_it() {
    let outbox = queue(1000);
    let now = Instant::now();
    push(&outbox, 1, Joins::Renews, &[], "a1");
    push(&outbox, 1, Joins::Renews, &[], "a2");
    push(&outbox, 2, Joins::Renews, &[node(1)], "b1");
    outbox.edit(node(1), Edit::Right, bytes("right"));
    for expected in ["a1", "a2"] {
        assert!(drain(&outbox, Lane::Command, now).0.is_empty());
        let batch = take(&outbox, Lane::Data, 1);
        assert_eq!(texts(&batch), [expected]);
        outbox.written(Lane::Data, &batch, now, RTT);
    }
    assert_eq!(drain(&outbox, Lane::Command, now).0, ["right"]);
    assert_eq!(drain(&outbox, Lane::Data, now).0, ["b1"]);
}

#[tokio::test(start_paused = true)]
async fn a_dependency_that_does_not_fit_holds_back_what_needs_it() {
    let outbox = queue(1000);
    push(&outbox, 2, Joins::Renews, &[node(1)], "b1");
    push(&outbox, 1, Joins::Renews, &[], "a1");
    push(&outbox, 1, Joins::Renews, &[], "a2");
    for expected in ["a1", "a2", "b1"] {
        assert_eq!(texts(&take(&outbox, Lane::Data, 1)), [expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_goes_behind_what_it_newly_depends_on() {
    for joins in [Joins::Replaces, Joins::Renews] {
        let outbox = queue(1000);
        push(&outbox, 1, joins, &[], "a1");
        push(&outbox, 2, joins, &[], "b1");
        push(&outbox, 1, joins, &[node(2)], "a2");
        let sent = drain(&outbox, Lane::Data, Instant::now()).0;
        match joins {
            Joins::Replaces => assert_eq!(sent, ["b1", "a2"]),
            _ => assert_eq!(sent, ["b1", "a1", "a2"]),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn deltas_pile_up_until_a_whole_state_replaces_them() {
    let outbox = queue(1000);
    push(&outbox, 1, Joins::Follows, &[], "d1");
    assert_eq!(push(&outbox, 1, Joins::Follows, &[], "d2"), 0);
    advance(LAG).await;
    assert_eq!(push(&outbox, 1, Joins::Follows, &[], "d3"), 6);
    assert_eq!(push(&outbox, 1, Joins::Replaces, &[], "w"), 1);
    push(&outbox, 1, Joins::Follows, &[], "d4");
    assert_eq!(drain(&outbox, Lane::Data, Instant::now()).0, ["w", "d4"]);
}

#[tokio::test(start_paused = true)]
async fn a_right_waits_for_the_nodes_data_and_is_repeated_if_it_may_overtake() {
    let outbox = queue(1000);
    let now = Instant::now();
    push(&outbox, 1, Joins::Replaces, &[], "a1");
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

/// The data says whose the node was when it was queued.
#[tokio::test(start_paused = true)]
async fn a_right_that_waits_already_lets_data_that_was_queued_since_go_first() {
    let outbox = queue(1000);
    let now = Instant::now();
    outbox.edit(node(1), Edit::Right, bytes("bob's"));
    outbox.edit(node(2), Edit::Right, bytes("eve's"));
    push(&outbox, 1, Joins::Renews, &[], "a, bob's");
    outbox.edit(node(1), Edit::Right, bytes("alice's"));
    assert_eq!(drain(&outbox, Lane::Command, now).0, ["eve's"]);
    assert_eq!(drain(&outbox, Lane::Data, now).0, ["a, bob's"]);
    assert_eq!(drain(&outbox, Lane::Command, now).0, ["alice's"]);
    assert_eq!(outbox.state().bytes, 0);
    assert!(outbox.state().commands.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_edit_waits_while_the_data_is_on_its_way_to_the_socket() {
    let outbox = queue(1000);
    let now = Instant::now();
    push(&outbox, 1, Joins::Replaces, &[], "a1");
    let batch = take(&outbox, Lane::Data, usize::MAX);
    outbox.edit(node(1), Edit::Delete, bytes("delete"));
    assert!(drain(&outbox, Lane::Command, now).0.is_empty());
    outbox.written(Lane::Data, &batch, now, RTT);
    assert_eq!(drain(&outbox, Lane::Command, now).0, ["delete"]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_drops_what_has_not_been_started() {
    let outbox = queue(1000);
    let now = Instant::now();
    push(&outbox, 1, Joins::Replaces, &[], "a1");
    outbox.edit(node(1), Edit::Right, bytes("right"));
    outbox.edit(node(1), Edit::Delete, bytes("delete"));
    assert!(drain(&outbox, Lane::Data, now).0.is_empty());
    assert_eq!(drain(&outbox, Lane::Command, now).0, ["delete"]);
    assert_eq!(outbox.state().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn data_of_a_node_created_anew_takes_the_place_of_its_delete() {
    let outbox = queue(1000);
    let now = Instant::now();
    outbox.edit(node(1), Edit::Delete, bytes("delete"));
    push(&outbox, 1, Joins::Replaces, &[], "anew");
    assert!(drain(&outbox, Lane::Command, now).0.is_empty());
    assert_eq!(drain(&outbox, Lane::Data, now).0, ["anew"]);

    outbox.edit(node(2), Edit::Delete, bytes("delete"));
    drain(&outbox, Lane::Command, now);
    push(&outbox, 2, Joins::Replaces, &[], "anew");
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
    let outbox = queue(1000);
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

/// As long as it is not asked what the peer made of it, too.
#[tokio::test(start_paused = true)]
async fn says_once_that_it_has_drained() {
    let outbox = queue(4);
    let now = Instant::now();
    assert!(outbox.has_room());
    push(&outbox, 1, Joins::Replaces, &[], "12345");
    assert!(!outbox.has_room());
    let batch = take(&outbox, Lane::Data, usize::MAX);
    assert!(outbox.written(Lane::Data, &batch, now, RTT).drained);
    push(&outbox, 1, Joins::Replaces, &[], "1");
    let batch = take(&outbox, Lane::Data, usize::MAX);
    assert!(!outbox.written(Lane::Data, &batch, now, RTT).drained);
}

#[tokio::test(start_paused = true)]
async fn data_is_taken_back_and_what_waited_for_it_goes() {
    let outbox = queue(1000);
    for (n, text) in [(2, "b1"), (1, "a1"), (2, "b2")] {
        push(&outbox, n, Joins::Follows, &[], text);
    }
    outbox.edit(node(1), Edit::Right, bytes("r1"));
    assert_eq!(outbox.take_back(), [node(2), node(1)]);
    assert!(outbox.has_no_data());
    assert!(take(&outbox, Lane::Data, 10).segments.is_empty());
    assert_eq!(texts(&take(&outbox, Lane::Command, 10)), ["r1"]);
    assert_eq!(outbox.queued(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_while_it_is_held() {
    let outbox = queue(1000);
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
    let outbox = std::sync::Arc::new(Outbox::new(1000, LAG, gate.clone()));
    gate.close();
    let wait = || {
        let waiting = std::sync::Arc::clone(&outbox);
        tokio::spawn(async move {
            let mut batch = Batch::default();
            waiting.next(Lane::Command, 1000, &mut batch).await;
            batch.segments.len()
        })
    };
    let next = wait();
    tokio::task::yield_now().await;
    outbox.command(Slot::Plain, Encoded::new(vec!["x".into()]));
    tokio::task::yield_now().await;
    assert!(!next.is_finished());
    gate.open();
    assert_eq!(next.await.unwrap(), 1);
    // Closed before something is queued, although somebody waits already.
    let next = wait();
    tokio::task::yield_now().await;
    gate.close();
    outbox.command(Slot::Plain, Encoded::new(vec!["y".into()]));
    tokio::task::yield_now().await;
    assert!(!next.is_finished());
    gate.open();
    assert_eq!(next.await.unwrap(), 1);
}

/// A gate that closes while a writer is on its way to what was queued before: it has been woken for that,
/// and nobody wakes it again.
#[test]
fn what_a_closing_gate_was_faster_than_is_asked_for_again() {
    let gate = Gate::default();
    let outbox = Outbox::new(1000, LAG, gate.clone());
    push(&outbox, 1, Joins::Renews, &[], "a");
    let mut batch = Batch::default();
    gate.close();
    assert!(!outbox.take(Lane::Data, 1000, &mut batch));
    gate.open();
    assert!(outbox.take(Lane::Data, 1000, &mut batch));
    assert_eq!(texts(&batch), ["a"]);
    // Who is held is woken when it is let go.
    outbox.hold(true);
    assert!(outbox.take(Lane::Data, 1000, &mut batch));
}

/// Clients take the dict for all there is.
#[tokio::test(start_paused = true)]
async fn metadata_never_comes_before_an_older_users_dict() {
    let outbox = queue(1000);
    let metadata = |text| outbox.command(Slot::Metadata("bob".into()), bytes(text));
    metadata("bob: 1");
    outbox.command(Slot::Users, bytes("users (bob: 1)"));
    assert!(!outbox.holds_metadata("bob"));
    metadata("bob: 2");
    metadata("bob: 3");
    let (told, _) = drain(&outbox, Lane::Command, Instant::now());
    assert_eq!(told, ["users (bob: 1)", "bob: 3"]);
    // Nor after a newer one, which has taken the place of an older one.
    outbox.command(Slot::Users, bytes("users (bob: 3)"));
    metadata("bob: 4");
    outbox.command(Slot::Users, bytes("users (bob: 4)"));
    let (told, _) = drain(&outbox, Lane::Command, Instant::now());
    assert_eq!(told, ["users (bob: 4)"]);
    assert_eq!(outbox.queued(), 0);
}
