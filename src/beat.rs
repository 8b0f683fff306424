//! The moments at which what is done again and again is done: the session's look around.
//!
//! All of it in one process counts from the same moment, so that one wake-up serves many.

use std::time::Duration;

use tokio::time::Instant;

/// From one such moment to the next. A multiple of 64 ms, which is how finely tokio's timers tell moments
/// beyond the next: who waits for another moment than the beginning of such a step is woken twice.
const STEP: Duration = Duration::from_millis(128);

/// About a second.
pub(crate) const SECOND: Duration = STEP.saturating_mul(8);

/// What beats are counted from.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    start: Instant,
}

/// What keeps time.
#[derive(Clone, Debug)]
pub struct Clockwork {
    /// What beats are counted from.
    pub beat: Beat,
    /// Where heartbeats run, if not with the rest.
    pub heartbeats: Option<tokio::runtime::Handle>,
}

impl Default for Clockwork {
    fn default() -> Self {
        Self {
            beat: Beat::begin(),
            heartbeats: None,
        }
    }
}

impl Beat {
    /// From now on. Timers count from when their runtime is built, rounded up to milliseconds: this is
    /// to be called just before.
    pub fn begin() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// The last beat up to this moment.
    pub(crate) fn last(self, moment: Instant) -> Instant {
        let since = moment.saturating_duration_since(self.start).as_nanos();
        let past = since % STEP.as_nanos();
        moment - Duration::from_nanos(u64::try_from(past).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_at_about_the_same_time_is_due_at_the_same_moment() {
        let beat = Beat::begin();
        let at = |millis| beat.start + Duration::from_millis(millis);
        assert_eq!(beat.last(at(1024)), at(1024));
        assert_eq!(beat.last(at(1025)), at(1024));
        assert_eq!(beat.last(at(1151)), at(1024));
        assert_eq!(beat.last(at(1152)), at(1152));
        // What takes its time delays nothing, up to a limit.
        let now = at(5 * 1024);
        let done = now + Duration::from_millis(100);
        assert_eq!(beat.last(done + SECOND), now + SECOND);
        let later = Beat { start: at(70) };
        assert_eq!(later.last(at(9)), at(9));
    }
}
