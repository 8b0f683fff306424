//! Reads of any size, and what memory they take.

use super::*;

/// One read that brings as much as it may; of pages, some.
fn fill(intake: &mut Intake) -> usize {
    if let Some(pages) = intake.pages() {
        let read = pages.len().min(3_000_000);
        pages[..read].fill(1);
        intake.paged(read);
        return read;
    }
    let mut space = intake.space();
    let room = space.remaining_mut();
    space.put_bytes(1, room);
    room
}

#[test]
fn the_buffer_grows_only_while_reads_fill_it() {
    let mut intake = Intake::new();
    intake.set_ceiling(usize::MAX);
    assert_eq!(intake.space().remaining_mut(), MIN_CHUNK);
    for _ in 0..100 {
        fill(&mut intake);
        intake.skip(usize::MAX);
    }
    assert!(intake.allocated() >= MAX_CHUNK / 2, "{intake:?}");
    assert!(intake.allocated() <= MAX_CHUNK, "{intake:?}");
    for _ in 0..100 {
        intake.space().put_u8(1);
        intake.skip(1);
    }
    assert!(intake.allocated() <= MIN_CHUNK, "{intake:?}");
}

#[test]
fn the_ceiling_bounds_the_buffer() {
    let mut intake = Intake::new();
    intake.set_ceiling(16 * 1024);
    for _ in 0..100 {
        fill(&mut intake);
        intake.skip(usize::MAX);
    }
    assert!(intake.allocated() <= 16 * 1024, "{intake:?}");
}

#[test]
fn a_big_body_grows_with_what_arrives() {
    let len = 100 * 1024 * 1024;
    let mut intake = Intake::new();
    intake.set_ceiling(len);
    intake.feed(&[1; 100]);
    assert_eq!(intake.body(len), None);
    let mut received = 100;
    while received < len {
        received += fill(&mut intake);
        assert_eq!(intake.buffered(), received);
        assert!(intake.allocated() <= received * 4 + len / 16 + FIRST + MIN_CHUNK);
    }
    assert_eq!(received, len);
    // Until it is fetched, reads go on elsewhere.
    intake.feed(b"next");
    let body = intake.body(len).unwrap();
    assert!(body.len() == len && body.iter().all(|byte| *byte == 1));
    assert_eq!(intake.bytes(), b"next");
}

/// Whichever way it is read, and even if nobody asks for pages.
#[test]
fn a_body_in_pages_is_what_arrived() {
    let sent: Vec<u8> = (0..PAGED + 5000).map(|n| (n % 251) as u8).collect();
    let len = sent.len() - 10;
    for in_pages in [[true, true], [true, false], [false, false]] {
        let mut intake = Intake::new();
        intake.set_ceiling(usize::MAX);
        let (mut rest, mut paged, mut ways) = (&sent[..], 0, in_pages.iter().cycle());
        let body = loop {
            if let Some(body) = intake.body(len) {
                break body;
            }
            let way = *ways.next().unwrap();
            let take = rest.len().min(100_000);
            let read = match intake.pages().filter(|_| way) {
                Some(pages) => {
                    let read = take.min(pages.len());
                    pages[..read].copy_from_slice(&rest[..read]);
                    intake.paged(read);
                    paged += 1;
                    read
                }
                None => {
                    intake.feed(&rest[..take]);
                    take
                }
            };
            rest = &rest[read..];
        };
        assert!(body == sent[..len]);
        assert_eq!(paged > 0, in_pages[0]);
        assert_eq!(intake.bytes().len() + rest.len(), 10);
    }
}

#[test]
fn bodies_share_the_read_buffer() {
    let mut intake = Intake::new();
    intake.feed(b"abcdef");
    intake.skip(1);
    let body = intake.body(3).unwrap();
    assert_eq!(body, "bcd");
    assert!(!body.is_unique());
    assert_eq!(intake.body(3), None);
    intake.feed(b"g");
    assert_eq!(intake.body(3).unwrap(), "efg");
    assert_eq!(intake.buffered(), 0);
}
