//! Which backups are kept.

use std::collections::{HashMap, HashSet};

use super::Reason;
use super::name::Found;
use crate::config::BackupConfig;

/// How many are kept. One that fits any of these is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The newest.
    pub last: usize,
    /// The last one of each hour, for so many hours that have one.
    pub hourly: usize,
    /// The last one of each day, for so many days that have one.
    pub daily: usize,
}

impl Keep {
    /// What a configuration says.
    pub fn of(config: &BackupConfig) -> Self {
        Self {
            last: config.keep_last,
            hourly: config.keep_hourly,
            daily: config.keep_daily,
        }
    }

    /// Those that are to be removed of all backups, which are given the newest first. Those somebody
    /// asked for stay. Those made before something happened count for themselves, by what that was:
    /// however often it happens, it costs none of the others.
    pub(super) fn surplus<'a>(&self, newest_first: &'a [Found]) -> Vec<&'a Found> {
        let mut kinds: HashMap<Option<Reason>, Kind> = HashMap::new();
        let surplus = newest_first.iter().filter(|found| {
            let kind = match found.reason {
                Reason::Manual => return false,
                Reason::Interval | Reason::Left | Reason::Stop | Reason::Signal => None,
                special => Some(special),
            };
            !kinds.entry(kind).or_default().keeps(self, found.time)
        });
        surplus.collect()
    }
}

/// What was seen of one kind of backups.
#[derive(Default)]
struct Kind {
    number: usize,
    hours: HashSet<u64>,
    days: HashSet<u64>,
}

impl Kind {
    /// Whether the next older one is kept.
    fn keeps(&mut self, keep: &Keep, time: u64) -> bool {
        const HOUR: u64 = 3600;
        const DAY: u64 = 24 * HOUR;
        self.number = self.number.saturating_add(1);
        let new_hour = self.hours.insert(time / HOUR) && self.hours.len() <= keep.hourly;
        let new_day = self.days.insert(time / DAY) && self.days.len() <= keep.daily;
        self.number <= keep.last || new_hour || new_day
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(time: u64, reason: Reason) -> Found {
        Found {
            name: format!("{time}"),
            path: "x".into(),
            reason,
            time,
            bytes: 1,
        }
    }

    fn kept(keep: Keep, all: &[Found]) -> Vec<u64> {
        let surplus: Vec<_> = keep.surplus(all).iter().map(|found| found.time).collect();
        let times = all.iter().map(|found| found.time);
        times.filter(|time| !surplus.contains(time)).collect()
    }

    #[test]
    fn the_newest_and_the_last_of_hours_and_days_are_kept() {
        let keep = Keep {
            last: 2,
            hourly: 3,
            daily: 2,
        };
        // Every half an hour for three days.
        let all: Vec<_> = (0..144)
            .rev()
            .map(|n| found(n * 1800, Reason::Interval))
            .collect();
        let half_hours: Vec<_> = kept(keep, &all).into_iter().map(|t| t / 1800).collect();
        assert_eq!(half_hours, [143, 142, 141, 139, 95]);
    }

    #[test]
    fn what_somebody_asked_for_stays_and_takes_no_place() {
        let keep = Keep {
            last: 1,
            hourly: 0,
            daily: 0,
        };
        let all = [
            found(50, Reason::Manual),
            found(40, Reason::Stop),
            found(30, Reason::Interval),
            found(20, Reason::Manual),
        ];
        assert_eq!(kept(keep, &all), [50, 40, 20]);
    }

    #[test]
    fn what_happens_again_and_again_costs_no_other_backup() {
        let keep = Keep {
            last: 2,
            hourly: 1,
            daily: 0,
        };
        let mut all: Vec<_> = (0..20)
            .rev()
            .map(|n| found(1000 + n, Reason::Deletion))
            .collect();
        all.push(found(900, Reason::Interval));
        all.push(found(800, Reason::Left));
        assert_eq!(kept(keep, &all), [1019, 1018, 900, 800]);
    }

    proptest! {
        #[test]
        fn as_many_stay_as_were_asked_for_and_the_newest_is_one_of_them(
            mut times in prop::collection::hash_set(0u64..2_000_000, 1..60),
            last in 1usize..5, hourly in 0usize..5, daily in 0usize..5,
        ) {
            let keep = Keep { last, hourly, daily };
            let mut all: Vec<_> = times.drain().map(|time| found(time, Reason::Left)).collect();
            all.sort_by_key(|found| std::cmp::Reverse(found.time));
            let kept = kept(keep, &all);
            prop_assert!(kept.len() >= last.min(all.len()));
            prop_assert!(kept.len() <= last + hourly + daily);
            prop_assert_eq!(kept[0], all[0].time);
            // Doing it again changes nothing.
            all.retain(|found| kept.contains(&found.time));
            prop_assert!(keep.surplus(&all).is_empty());
        }
    }
}
