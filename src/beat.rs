//! The moments at which what is done again and again is done: heartbeats, and the session's look around itself.
//!
//! A thread that waits for a moment in tokio's timers wakes up twice for it, because they tell moments further ahead
//! by steps of 64 ms: once at the beginning of the step, to find out that it is not time yet. At rest that is most of
//! what a server does. So these moments are beginnings of steps, and many things share each of them.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

/// From one moment to the next: a multiple of the timers' steps.
const STEP: Duration = Duration::from_millis(128);

/// About a second.
pub(crate) const SECOND: Duration = STEP.saturating_mul(8);

/// When this process began.
static BEGAN: OnceLock<Instant> = OnceLock::new();

/// What moments are counted from. Timers count from when their runtime is built, and round up to milliseconds; where
/// this is not shortly before, moments are as good, but for the second waking.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    start: Instant,
}

impl Beat {
    /// That of the process, which begins when it is first asked for: just before the runtimes are built.
    pub fn of_process() -> Self {
        Self::since(*BEGAN.get_or_init(Instant::now))
    }

    /// Counts from a moment.
    pub fn since(start: Instant) -> Self {
        Self { start }
    }

    /// The last of the moments up to this one.
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
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let beat = Beat::since(start);
        assert_eq!(beat.last(at(1024)), at(1024));
        assert_eq!(beat.last(at(1025)), at(1024));
        assert_eq!(beat.last(at(1151)), at(1024));
        assert_eq!(beat.last(at(1152)), at(1152));
        assert_eq!(Beat::since(at(70)).last(start), start);
    }

    #[test]
    fn what_takes_its_time_delays_no_beat() {
        let start = Instant::now();
        let now = start + 5 * SECOND;
        let done = now + Duration::from_millis(100);
        assert_eq!(Beat::since(start).last(done + SECOND), now + SECOND);
    }
}
