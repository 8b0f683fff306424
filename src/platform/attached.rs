//! The life of a server that another program started for a session of its own, as Blender did
//! with the original (`--attached`): it ends when the last user has left, or that program has.

use tokio::sync::watch;

/// How often it is looked whether the other program is still there.
#[cfg(unix)]
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// Waits until there is nothing left to live for, and says why. `user_count` is the number of users
/// as it changes.
pub(crate) async fn wait(mut user_count: watch::Receiver<usize>) -> &'static str {
    let left = async {
        let came = user_count.wait_for(|count| *count > 0).await.is_ok();
        // Who runs the server sees for itself that the session has ended.
        if !came || user_count.wait_for(|count| *count == 0).await.is_err() {
            std::future::pending().await
        }
    };
    tokio::select! {
        () = left => "the last user left",
        () = parent_ends() => "the program that started this one ended",
    }
}

/// A process whose parent ends gets another one.
#[cfg(unix)]
async fn parent_ends() {
    use std::os::unix::process::parent_id;
    let parent = parent_id();
    while parent_id() == parent {
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(not(unix))]
async fn parent_ends() {
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_empty_session_counts_only_after_somebody_came() {
        let (count, counted) = watch::channel(0);
        let mut waiting = std::pin::pin!(wait(counted));
        let looked = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
        assert!(looked.is_err());
        count.send(2).unwrap();
        let looked = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
        assert!(looked.is_err());
        count.send(0).unwrap();
        assert_eq!(waiting.await, "the last user left");
    }
}
