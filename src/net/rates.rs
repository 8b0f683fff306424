//! Rate limits per source address, for [`admission`](super::admission).

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use super::source::Source;

/// How often something may happen: `burst` times at once, then once `every` so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How often at once; 0 is taken as 1, and more than a million as a million.
    pub burst: u32,
    /// Time after which it may happen once more, at most an hour; zero lifts the limit.
    pub every: Duration,
}

impl Rate {
    /// So often at once, then once in so many milliseconds.
    #[cfg(test)]
    pub(super) const fn new(burst: u32, every_ms: u64) -> Self {
        Self {
            burst,
            every: Duration::from_millis(every_ms),
        }
    }

    /// `None` if there is no limit. Within these bounds the limiter's arithmetic cannot overflow.
    fn quota(self) -> Option<Quota> {
        let burst = NonZeroU32::new(self.burst.clamp(1, 1_000_000))?;
        let every = self.every.min(Duration::from_secs(3600));
        Some(Quota::with_period(every)?.allow_burst(burst))
    }
}

/// tokio's clock, so that a paused or simulated time rules the limits as well.
#[derive(Clone, Debug)]
struct TokioClock {
    start: Instant,
}

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// One rate limit for each source.
#[derive(Debug)]
pub(super) struct Keyed(Option<KeyedLimiter>);

type KeyedLimiter =
    RateLimiter<Source, DashMapStateStore<Source>, TokioClock, NoOpMiddleware<Duration>>;

impl Keyed {
    pub(super) fn new(rate: Rate) -> Self {
        let start = Instant::now();
        let limiter = |quota| RateLimiter::dashmap_with_clock(quota, TokioClock { start });
        Self(rate.quota().map(limiter))
    }

    /// Whether it may happen now; counts it if so.
    pub(super) fn allows(&self, source: &Source) -> bool {
        match &self.0 {
            Some(limiter) => limiter.check_key(source).is_ok(),
            None => true,
        }
    }

    /// Forgets the sources that are back to their full burst.
    pub(super) fn sweep(&self) {
        if let Some(limiter) = &self.0 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    /// How many sources are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, RateLimiter::len)
    }
}

/// One rate limit for everybody.
#[derive(Debug)]
pub(super) struct Global(Option<GlobalLimiter>);

type GlobalLimiter = RateLimiter<
    governor::state::NotKeyed,
    governor::state::InMemoryState,
    TokioClock,
    NoOpMiddleware<Duration>,
>;

impl Global {
    pub(super) fn new(rate: Rate) -> Self {
        let start = Instant::now();
        let limiter = |quota| RateLimiter::direct_with_clock(quota, TokioClock { start });
        Self(rate.quota().map(limiter))
    }

    /// Whether it may happen now; counts it if so.
    pub(super) fn allows(&self) -> bool {
        match &self.0 {
            Some(limiter) => limiter.check().is_ok(),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_one_by_one() {
        let source = Source::of(IpAddr::from([192, 0, 2, 1]));
        let keyed = Keyed::new(Rate::new(3, 1000));
        let global = Global::new(Rate::new(3, 1000));
        for _ in 0..3 {
            assert!(keyed.allows(&source) && global.allows());
        }
        assert!(!keyed.allows(&source) && !global.allows());
        assert!(keyed.allows(&Source::of(IpAddr::from([192, 0, 2, 2]))));
        tokio::time::advance(Duration::from_millis(1001)).await;
        assert!(keyed.allows(&source) && global.allows());
        assert!(!keyed.allows(&source) && !global.allows());
    }

    #[tokio::test(start_paused = true)]
    async fn extreme_rates_do_no_harm() {
        let source = Source::of(IpAddr::from([192, 0, 2, 1]));
        let unlimited = Keyed::new(Rate::new(1, 0));
        assert!((0..1000).all(|_| unlimited.allows(&source)));
        let slowest = Keyed::new(Rate {
            burst: u32::MAX,
            every: Duration::MAX,
        });
        assert!(slowest.allows(&source));
        let strictest = Keyed::new(Rate::new(0, 1000));
        assert!(strictest.allows(&source));
        assert!(!strictest.allows(&source));
    }

    #[tokio::test(start_paused = true)]
    async fn sources_are_forgotten() {
        let keyed = Keyed::new(Rate::new(2, 1000));
        for host in 0..100 {
            assert!(keyed.allows(&Source::of(IpAddr::from([192, 0, 2, host]))));
        }
        keyed.sweep();
        assert_eq!(keyed.len(), 100);
        tokio::time::advance(Duration::from_secs(10)).await;
        keyed.sweep();
        assert_eq!(keyed.len(), 0);
    }
}
