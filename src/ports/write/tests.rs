use std::net::IpAddr;
use std::pin::Pin;
use std::task::{self, Poll};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Config;
use crate::wire::role::Role;

#[test]
fn short_pieces_become_few() {
    let segments: Vec<Bytes> = (0..500usize)
        .map(|n| match n {
            300 => vec![7; 2 * PIECE].into(),
            _ => vec![1; n * 37 % (SHORT + 1)].into(),
        })
        .collect();
    let pieces = merged(segments.iter().cloned());
    assert_eq!(
        Vec::from(pieces.clone()).concat(),
        segments.concat(),
        "{}",
        pieces.len()
    );
    assert!(pieces.len() < 20, "{}", pieces.len());
    assert!(pieces.iter().all(|p| p.len() <= 2 * PIECE));
}

/// Takes so many bytes at a time, and notes them.
struct Sink {
    takes: usize,
    taken: Vec<Vec<u8>>,
}

impl AsyncWrite for Sink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let part = bytes.get(..self.takes).unwrap_or(bytes).to_vec();
        let len = part.len();
        self.taken.push(part);
        Poll::Ready(Ok(len))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        self.poll_write(context, &bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The lengths of what was written when the system takes so much at a time.
async fn written(lengths: &[usize], takes: usize) -> Vec<usize> {
    let (timing, counters) = (Timing::new(&Config::default()), Counters::default());
    let link = Link::new(
        1,
        Role::Publisher,
        IpAddr::from([127, 0, 0, 1]),
        false,
        CancellationToken::new(),
    );
    let segments: VecDeque<Bytes> = lengths
        .iter()
        .zip(1..)
        .map(|(length, byte)| vec![byte; *length].into())
        .collect();
    let expected = Vec::from(segments.clone()).concat();
    let taken = Vec::new();
    let mut sink = Sink { takes, taken };
    let result = flush(&mut sink, segments, &link, &timing, &counters).await;
    assert!(result.is_ok());
    assert!(sink.taken.concat() == expected, "{lengths:?}");
    sink.taken.iter().map(Vec::len).collect()
}

#[tokio::test]
async fn the_head_of_what_is_large_is_written_first() {
    let all = usize::MAX;
    assert_eq!(
        written(&[80, LARGE, 5], all).await,
        [HEAD, 80 + LARGE + 5 - HEAD]
    );
    // It may be taken in parts itself.
    let parts = written(&[80, LARGE, 5], 1500).await;
    assert_eq!(parts.get(..2), Some(&[1500, 1500][..]));
    assert_eq!(
        written(&[80, LARGE - 86, 5], all).await,
        [LARGE - 1],
        "not so much"
    );
    // What it is made of does not matter.
    let many = [LARGE / 4; 4];
    assert_eq!(written(&many, all).await, [HEAD, LARGE - HEAD]);
}

#[tokio::test]
async fn what_is_long_is_written_in_turns() {
    let all = usize::MAX;
    assert_eq!(written(&[HEAD + LONG], all).await, [HEAD, LONG]);
    let two = HEAD + TURN + LONG;
    assert_eq!(written(&[two - 1], all).await, [HEAD, TURN, LONG - 1]);
    assert_eq!(
        written(&[80, two], all).await,
        [HEAD, TURN, TURN, 80 + LONG - TURN]
    );
}

#[test]
fn fast_lines_are_given_more_at_a_time() {
    let (fast, slow) = (line::FAST, line::FAST + Duration::from_millis(1));
    let mut now = Instant::now();
    let mut pace = Pace::default();
    let mut target = |bytes, pause, took| {
        let begun = now + pause;
        now = begun + took;
        pace.wrote(bytes, begun, now);
        pace.target()
    };
    // The system's own buffer may have had room for one, time and again.
    for _ in 0..5 {
        assert_eq!(target(TARGET, slow, fast), TARGET);
        assert_eq!(target(TARGET - 1, fast, fast), TARGET);
    }
    assert_eq!(target(TARGET, fast, fast), LONG_TARGET);
    assert_eq!(target(1, slow, fast), LONG_TARGET);
    assert_eq!(target(1, fast, slow), TARGET);
}

#[test]
fn no_more_is_written_than_there_is_room_for() {
    let segments: VecDeque<Bytes> = [vec![1; 68], vec![2; 300], vec![3; 5]]
        .map(Bytes::from)
        .into();
    for (room, lengths) in [
        (usize::MAX, &[68, 300, 5][..]),
        (100, &[68, 32]),
        (68, &[68]),
        (1, &[1]),
    ] {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let used = fill(&mut slices, &segments, room);
        let filled: Vec<_> = slices.iter().take(used).map(|slice| slice.len()).collect();
        assert_eq!(filled, lengths, "{room}");
    }
}
