//! Lines on their way to where they are written, so that nobody who logs waits for a disk or for
//! whoever reads a pipe. [`log`](super) has one for the file and one for the screen.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Lines that may wait. Others are left out, and counted.
const LINES: usize = 4096;

/// Lines that wait for a thread of their own. Cheap to clone.
#[derive(Debug)]
pub(super) struct Queue<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    waiting: Mutex<Waiting<T>>,
    /// There are lines, or none is left.
    changed: Condvar,
}

#[derive(Debug)]
struct Waiting<T> {
    lines: VecDeque<T>,
    /// One is being written.
    busy: bool,
    /// How many were left out since that was last told.
    left_out: u64,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + 'static> Queue<T> {
    /// Starts the thread. It gives each line to `write`, in order, and tells `report` how many were left
    /// out once there is room again. It ends with the process.
    ///
    /// # Errors
    ///
    /// If there can be no thread.
    pub(super) fn start(
        name: &str,
        mut write: impl FnMut(T) + Send + 'static,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Self(Arc::new(Shared {
            waiting: Mutex::new(Waiting {
                lines: VecDeque::new(),
                busy: false,
                left_out: 0,
            }),
            changed: Condvar::new(),
        }));
        let lines = queue.clone();
        let work = move || {
            loop {
                match lines.next() {
                    Next::Line(line) => write(line),
                    Next::LeftOut(count) => report(count),
                }
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(queue)
    }

    /// Has a line written, unless too many wait.
    pub(super) fn push(&self, line: T) {
        let mut waiting = self.lock();
        if waiting.lines.len() >= LINES {
            waiting.left_out = waiting.left_out.saturating_add(1);
            return;
        }
        waiting.lines.push_back(line);
        self.0.changed.notify_all();
    }

    /// Waits until all lines are written, but not longer than this; whether they are.
    pub(super) fn flush(&self, at_most: Duration) -> bool {
        let is_left = |waiting: &mut Waiting<T>| waiting.busy || !waiting.lines.is_empty();
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.lock(), at_most, is_left);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn next(&self) -> Next<T> {
        let mut waiting = self.lock();
        waiting.busy = false;
        loop {
            if let Some(line) = waiting.lines.pop_front() {
                waiting.busy = true;
                return Next::Line(line);
            }
            if waiting.left_out > 0 {
                waiting.busy = true;
                return Next::LeftOut(std::mem::take(&mut waiting.left_out));
            }
            // Somebody may wait for the last one.
            self.0.changed.notify_all();
            waiting = self
                .0
                .changed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

enum Next<T> {
    Line(T),
    LeftOut(u64),
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{channel, sync_channel};

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn who_logs_waits_for_nobody_and_what_is_left_out_is_told() {
        // Takes a line only when the test takes the one before.
        let (give, written) = sync_channel(0);
        let (tell, told) = channel();
        let write = move |line: usize| give.send(line).unwrap();
        let queue = Queue::start("log", write, move |count| tell.send(count).unwrap()).unwrap();
        queue.push(0);
        while !queue.lock().lines.is_empty() {
            thread::yield_now();
        }
        for line in 1..=LINES + 3 {
            queue.push(line);
        }
        assert!(!queue.flush(Duration::ZERO));
        let lines: Vec<usize> = written.iter().take(LINES + 1).collect();
        assert_eq!(lines, (0..=LINES).collect::<Vec<_>>());
        assert_eq!(told.recv_timeout(SOON), Ok(3));
        assert!(queue.flush(SOON));
        // And it goes on.
        queue.push(7);
        assert_eq!(written.recv_timeout(SOON), Ok(7));
        assert!(queue.flush(SOON));
        assert!(told.try_recv().is_err());
    }
}
