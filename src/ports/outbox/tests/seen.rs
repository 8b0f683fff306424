//! What a peer may not have seen yet, and what has to wait for that.

use tokio::time::advance;

use super::super::marks::{Marks, keep_newest};
use super::*;

#[tokio::test(start_paused = true)]
async fn unseen_until_a_round_trip_has_passed() {
    let outbox = queue(1000);
    let now = Instant::now() + RTT * 10;
    assert!(!outbox.unseen(node(1), now, RTT));
    push(&outbox, 1, Joins::Replaces, &[], "a1");
    assert!(outbox.unseen(node(1), now, RTT));
    drain(&outbox, Lane::Data, now);
    assert!(outbox.unseen(node(1), now, RTT));
    assert!(!outbox.unseen(node(1), now + RTT * 2, RTT));
    assert_eq!(outbox.sent_since(now), [node(1)]);
    assert!(outbox.remembers(now));
    outbox.prune(now + RTT);
    assert!(outbox.sent_since(now).is_empty());
    assert!(!outbox.remembers(now) && outbox.remembers(now + RTT));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_has_arrived() {
    let outbox = queue(1000);
    let arrived = || !outbox.unseen(node(1), Instant::now(), Duration::ZERO);
    for answers in [false, true] {
        push(&outbox, 1, Joins::Renews, &[], "a1");
        assert!(!arrived());
        let batch = take(&outbox, Lane::Data, usize::MAX);
        let receipt = outbox.ask_receipt(&batch, Instant::now()).unwrap();
        assert!(!arrived());
        outbox.written(Lane::Data, &batch, Instant::now(), RTT);
        advance(Duration::from_millis(1)).await;
        assert_eq!(
            arrived(),
            !answers,
            "no answers known yet: as good as there"
        );
        outbox.receipt(receipt, Instant::now());
        advance(Duration::from_millis(1)).await;
        assert!(arrived());
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_is_unseen_until_a_round_trip_has_passed() {
    let outbox = queue(1000);
    let window = Duration::from_millis(100);
    let unseen = || outbox.unseen_right(node(1), Instant::now(), window);
    push(&outbox, 1, Joins::Renews, &[], "a1");
    assert!(!unseen());
    outbox.edit(node(1), Edit::Right, bytes("r1"));
    assert!(unseen(), "it waits for the data");
    drain(&outbox, Lane::Data, Instant::now());
    assert_eq!(drain(&outbox, Lane::Command, Instant::now()).0, ["r1"]);
    assert!(unseen());
    advance(window + Duration::from_millis(1)).await;
    assert!(!unseen());
    outbox.edit(node(1), Edit::Delete, bytes("d1"));
    drain(&outbox, Lane::Command, Instant::now());
    assert!(!unseen(), "that is no Right");
}

#[tokio::test(start_paused = true)]
async fn the_newest_marks_are_kept_and_those_of_what_is_being_written() {
    let outbox = queue(1_000_000);
    let push = |n| push(&outbox, n, Joins::Renews, &[], "x");
    for n in 0..10 {
        push(n);
        drain(&outbox, Lane::Data, Instant::now());
        advance(Duration::from_secs(1)).await;
    }
    push(10);
    let writing = take(&outbox, Lane::Data, 1000);
    let mut marks = std::mem::take(&mut outbox.state().marks);
    assert_eq!(keep_newest(&mut marks, 11, Marks::written), None);
    assert_eq!(marks.len(), 11);
    let gone = keep_newest(&mut marks, 4, Marks::written).unwrap();
    assert_eq!(gone + Duration::from_secs(4), Instant::now());
    let left: Vec<_> = (0..=10).filter(|n| marks.contains_key(&node(*n))).collect();
    assert_eq!(left, [7, 8, 9, 10]);
    keep_newest(&mut marks, 0, Marks::written);
    assert_eq!(
        marks.len(),
        1,
        "it is open when that will have been written"
    );
    outbox.written(Lane::Data, &writing, Instant::now(), RTT);
}

/// A delta that gets there after the Delete of the node it builds on ends clients.
#[tokio::test(start_paused = true)]
async fn changes_of_a_node_made_anew_wait_until_it_must_be_there() {
    let outbox = queue(1000);
    let now = Instant::now;
    let follow = || outbox.data(node(1), Joins::Follows, &[], bytes("d1"), now(), || RTT);
    outbox.edit(node(1), Edit::Delete, bytes("delete a"));
    let writing = take(&outbox, Lane::Command, usize::MAX);
    assert_eq!(texts(&writing), ["delete a"]);
    push(&outbox, 1, Joins::Replaces, &[], "a2");
    assert_eq!(follow(), Taken::Refused, "it is being written");
    outbox.edit(node(1), Edit::Right, bytes("right"));
    assert_eq!(drain(&outbox, Lane::Data, now()).0, ["a2"]);
    outbox.written(Lane::Command, &writing, now(), RTT);
    assert_eq!(drain(&outbox, Lane::Command, now()).0, ["right"]);
    assert_eq!(follow(), Taken::Refused, "it may still be under way");
    push(&outbox, 2, Joins::Follows, &[], "d of b");
    advance(RTT + Duration::from_millis(1)).await;
    assert_eq!(follow(), Taken::Refused, "it may have got there last");
    push(&outbox, 1, Joins::Replaces, &[], "a2");
    assert_eq!(follow(), Taken::Queued(0));
    assert_eq!(drain(&outbox, Lane::Data, now()).0, ["d of b", "a2", "d1"]);
}
