//! When a peer had read what was written to its data link.
//!
//! A socket takes what it is given long before it gets there: over a thin line, seconds. After a
//! batch the writer asks with a heartbeat of the transport (ZMTP PING) that carries the batch's
//! number; the peer's answer says that it has read everything before. One question is under way
//! at a time. Peers that never answer (the newest transport has no such thing) are judged by time
//! alone.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Receipts remembered; older ones are long ago.
const LOG: usize = 64;
/// A question that is unanswered for so long may be asked again.
const PATIENCE: Duration = Duration::from_secs(5);
/// What was written so long ago has arrived, or never will.
const LONG_AGO: Duration = Duration::from_secs(120);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// Number of the last batch given out.
    given: u64,
    /// Receipts: everything up to this batch had been read at this moment.
    log: VecDeque<(u64, Instant)>,
    /// The question under way.
    asked: Option<(u64, Instant)>,
    /// Whether this peer answers.
    answers: bool,
}

impl Receipts {
    /// A batch is given out; its number.
    pub(super) fn give(&mut self) -> u64 {
        self.given = self.given.wrapping_add(1);
        self.given
    }

    /// Whether to ask for a receipt for this batch now.
    pub(super) fn ask(&mut self, batch: u64, now: Instant) -> bool {
        let waiting = self.asked.is_some_and(|(_, at)| now < at + PATIENCE);
        if !waiting {
            self.asked = Some((batch, now));
        }
        !waiting
    }

    /// An answer came. Returns the batch to ask for next, if more was given out since.
    pub(super) fn answered(&mut self, batch: u64, now: Instant) -> Option<u64> {
        if self.asked.is_none_or(|(asked, _)| asked != batch) {
            return None;
        }
        self.answers = true;
        self.asked = None;
        self.note(batch, now);
        let more = self.given > batch;
        (more && self.ask(self.given, now)).then_some(self.given)
    }

    /// A new link: what went to the old one is sent again or was never needed.
    pub(super) fn start_over(&mut self, now: Instant) {
        self.asked = None;
        self.note(self.given, now);
    }

    fn note(&mut self, batch: u64, now: Instant) {
        if self.log.len() >= LOG {
            self.log.pop_front();
        }
        self.log.push_back((batch, now));
    }

    /// When what was written as part of this batch, at `written`, was read. `None` if it may not
    /// have been yet.
    pub(super) fn read_at(&self, batch: u64, written: Instant, now: Instant) -> Option<Instant> {
        if !self.answers || now > written + LONG_AGO {
            return Some(written);
        }
        if self.log.back().is_none_or(|(last, _)| *last < batch) {
            return None;
        }
        let receipt = self.log.iter().find(|(last, _)| *last >= batch);
        Some(receipt.map_or(written, |(_, at)| *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_question_at_a_time_and_the_answer_counts_for_all_before_it() {
        let mut receipts = Receipts::default();
        let start = Instant::now();
        let later = start + Duration::from_millis(300);
        let (first, second, third) = (receipts.give(), receipts.give(), receipts.give());
        assert!(receipts.ask(second, start));
        assert!(!receipts.ask(third, start));
        assert_eq!(
            receipts.read_at(first, start, start),
            Some(start),
            "no answers known yet"
        );
        assert_eq!(receipts.answered(second, later), Some(third));
        assert_eq!(receipts.read_at(first, start, later), Some(later));
        assert_eq!(receipts.read_at(third, start, later), None);
        assert_eq!(
            receipts.answered(second, later),
            None,
            "a forged or late answer"
        );
        assert_eq!(receipts.answered(third, later), None);
        assert_eq!(receipts.read_at(third, start, later), Some(later));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_does_not_last_for_ever() {
        let mut receipts = Receipts::default();
        let start = Instant::now();
        let first = receipts.give();
        assert!(receipts.ask(first, start));
        receipts.answered(first, start);
        let second = receipts.give();
        assert!(receipts.ask(second, start));
        assert_eq!(receipts.read_at(second, start, start), None);
        assert!(receipts.ask(second, start + PATIENCE));
        let end = start + LONG_AGO + PATIENCE;
        assert_eq!(receipts.read_at(second, start, end), Some(start));
        let third = receipts.give();
        receipts.start_over(end);
        assert_eq!(receipts.read_at(third, end, end), Some(end));
    }
}
