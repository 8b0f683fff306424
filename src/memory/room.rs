//! Room for work that takes much memory for a moment: it says first how much, and begins when there is
//! so much left. Jobs on nodes (`session`) are done like this, and so is what is rewritten as it
//! arrives (`ports::vet`).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};

/// Bytes are counted in steps of this.
const STEP: usize = 4096;
/// What takes no more than this part of the room does not wait for what takes more…
const SMALL: usize = 64;
/// …but has a part of its own.
const SHARE: usize = 4;

/// So much memory for all work together. Clones are the same room.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    small: Part,
    large: Part,
}

#[derive(Clone, Debug)]
struct Part {
    steps: Arc<Semaphore>,
    /// The most that is given at once.
    most: usize,
}

impl Room {
    pub(crate) fn new(bytes: usize) -> Self {
        let share = bytes / SHARE;
        Self {
            small: Part::new(share, bytes / SMALL),
            large: Part::new(bytes.saturating_sub(share), usize::MAX),
        }
    }

    /// The most that work can take.
    pub(crate) fn most(&self) -> usize {
        self.large.most
    }

    /// Does work on threads where it holds up nobody. To weigh it takes `weighing` bytes: it is told
    /// how much there can be, and says how much the work takes, or what came of it if that is clear
    /// by then.
    ///
    /// # Errors
    /// If the thread is lost.
    pub(crate) async fn work<T: Send + 'static, R: Send + 'static>(
        &self,
        weighing: usize,
        weigh: impl FnOnce(usize) -> Result<(T, usize), R> + Send + 'static,
        work: fn(T) -> R,
    ) -> Result<R, JoinError> {
        let held = self.part(weighing).take(weighing).await;
        let room = self.clone();
        let begun = spawn_blocking(move || {
            let (task, bytes) = weigh(room.most())?;
            drop(held);
            // At once, as a rule.
            match room.part(bytes).try_take(bytes) {
                Some(held) => {
                    let done = work(task);
                    drop(held);
                    Err(done)
                }
                None => Ok((task, bytes)),
            }
        });
        let (task, bytes) = match begun.await? {
            Ok(weighed) => weighed,
            Err(done) => return Ok(done),
        };
        let held = self.part(bytes).take(bytes).await;
        spawn_blocking(move || {
            let done = work(task);
            drop(held);
            done
        })
        .await
    }

    fn part(&self, bytes: usize) -> &Part {
        if bytes <= self.small.most {
            &self.small
        } else {
            &self.large
        }
    }
}

impl Part {
    fn new(bytes: usize, most: usize) -> Self {
        let steps = (bytes / STEP).clamp(1, u32::MAX as usize >> 1);
        Self {
            most: most.min(steps.saturating_mul(STEP)),
            steps: Arc::new(Semaphore::new(steps.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Waits until there is so much left, those who asked before first. Nobody gets more than there
    /// is. (Never `None`: it is never closed.)
    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let steps = Arc::clone(&self.steps);
        steps.acquire_many_owned(self.count(bytes)).await.ok()
    }

    /// Takes it if there is so much left and nobody waits.
    fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let steps = Arc::clone(&self.steps);
        steps.try_acquire_many_owned(self.count(bytes)).ok()
    }

    fn count(&self, bytes: usize) -> u32 {
        let steps = bytes.min(self.most).div_ceil(STEP);
        u32::try_from(steps).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::runtime::Builder;
    use tokio::time::timeout;

    use super::*;

    const MIB: usize = 1 << 20;
    const SOON: Duration = Duration::from_secs(60);

    /// What is under way, and the most there was at a time.
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);

    /// A task of so many MiB, which gives the number back when it is done.
    fn counted(mib: usize) -> usize {
        let now = NOW.fetch_add(mib, Ordering::SeqCst) + mib;
        MOST.fetch_max(now, Ordering::SeqCst);
        // Others have their chance.
        std::thread::yield_now();
        NOW.fetch_sub(mib, Ordering::SeqCst);
        mib
    }

    /// Takes as long as it is held.
    fn hold(task: (mpsc::Sender<()>, mpsc::Receiver<()>)) {
        let (began, go) = task;
        began.send(()).unwrap();
        let _ = go.recv();
    }

    fn runtime(threads: usize) -> tokio::runtime::Runtime {
        let mut builder = Builder::new_current_thread();
        builder.enable_time().max_blocking_threads(threads);
        builder.build().unwrap()
    }

    #[test]
    fn there_is_never_more_under_way_than_fits() {
        let room = Room::new(64 * MIB);
        runtime(16).block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for n in 0..200usize {
                let mib = [1, 5, 17, 30, 48][n % 5];
                let room = room.clone();
                tasks.spawn(async move {
                    let weigh = move |_| Ok((mib, mib * MIB));
                    room.work(0, weigh, counted).await.unwrap()
                });
            }
            assert_eq!(tasks.join_all().await.len(), 200);
        });
        let most = MOST.load(Ordering::SeqCst);
        assert!((48..=64).contains(&most), "{most}");
    }

    /// Who waits holds no thread.
    #[test]
    fn one_thread_is_enough() {
        let room = Room::new(64 * MIB);
        runtime(1).block_on(async {
            let held = room.large.take(48 * MIB).await;
            let waits = tokio::spawn({
                let room = room.clone();
                async move {
                    let work = room.work(0, |_| Ok(((), 40 * MIB)), |()| "done");
                    work.await.unwrap()
                }
            });
            // Weighed, and waiting.
            tokio::task::yield_now().await;
            let small = room.work(0, |_| Ok(((), MIB)), |()| "small");
            assert_eq!(timeout(SOON, small).await.unwrap().unwrap(), "small");
            assert!(!waits.is_finished());
            drop(held);
            assert_eq!(timeout(SOON, waits).await.unwrap().unwrap(), "done");
        });
    }

    #[test]
    fn what_is_small_does_not_wait_for_what_is_large() {
        let room = Room::new(64 * MIB);
        runtime(2).block_on(async {
            let (began, begun) = mpsc::channel();
            let (go, gone) = mpsc::channel();
            let large = tokio::spawn({
                let room = room.clone();
                async move {
                    let weigh = |most| Ok(((began, gone), most));
                    room.work(0, weigh, hold).await.unwrap();
                }
            });
            tokio::task::yield_now().await;
            begun.recv().unwrap();
            let small = room.work(0, |_| Ok(((), MIB)), |()| ());
            timeout(SOON, small).await.unwrap().unwrap();
            drop(go);
            timeout(SOON, large).await.unwrap().unwrap();
        });
    }

    #[test]
    fn what_is_clear_when_it_was_weighed_is_not_begun() {
        let room = Room::new(64 * MIB);
        runtime(1).block_on(async {
            let weigh = |most| Err::<((), usize), usize>(most);
            let most = room.work(usize::MAX, weigh, |()| 0).await.unwrap();
            assert_eq!(most, 48 * MIB);
            assert_eq!(room.large.steps.available_permits(), most / STEP);
        });
    }
}
