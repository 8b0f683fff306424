//! What the server and the generator take of the machine while they work (Linux).

use std::fs;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// The server's process and its children, seen from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed(pub(crate) Option<i32>);

impl Observed {
    /// Seconds of all processors it has used, all threads and children together.
    pub(crate) fn cpu(self) -> f64 {
        let clocks = self.family().into_iter().filter_map(|pid| {
            let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).ok()?;
            seconds(clock)
        });
        clocks.sum()
    }

    /// MiB it has in memory.
    pub(crate) fn memory(self) -> f64 {
        self.status("VmRSS:") / 1024.0
    }

    /// MiB it had in memory at most since [`forget_peak`](Self::forget_peak).
    pub(crate) fn peak(self) -> f64 {
        self.status("VmHWM:") / 1024.0
    }

    /// Begins to look for the peak anew.
    pub(crate) fn forget_peak(self) {
        for pid in self.family() {
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
    }

    /// MB it has written to the disk.
    pub(crate) fn written(self) -> f64 {
        let bytes = self.family().into_iter().map(|pid| {
            let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
            number_after(&io, "write_bytes:")
        });
        bytes.sum::<f64>() / 1e6
    }

    fn status(self, name: &str) -> f64 {
        let sizes = self.family().into_iter().map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            number_after(&status, name)
        });
        sizes.sum()
    }

    fn family(self) -> Vec<i32> {
        let mut family: Vec<i32> = self.0.into_iter().collect();
        let mut seen = 0;
        while let Some(pid) = family.get(seen) {
            let path = format!("/proc/{pid}/task/{pid}/children");
            let children = fs::read_to_string(path).unwrap_or_default();
            family.extend(
                children
                    .split(' ')
                    .filter_map(|pid| pid.parse::<i32>().ok()),
            );
            seen += 1;
        }
        family
    }
}

/// Seconds of all processors the generator itself has used.
pub(crate) fn own_cpu() -> f64 {
    seconds(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default()
}

fn seconds(clock: ClockId) -> Option<f64> {
    let time = clock_gettime(clock).ok()?;
    Some(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}

fn number_after(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or_default()
}
