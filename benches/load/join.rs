//! A host brings the scene, and somebody joins.
//!
//!     join nodes=2000 size=20480 [editors=4 rate=20] [distance=0.2]
//!
//! With editors, they work for a second while one after the other joins, and the delays of their updates
//! are taken before and meanwhile. The distance is how long, in seconds, the joiners' lines take there
//! and back.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;

use crate::client::Client;
use crate::latency;
use crate::payload::Content;
use crate::scene::{Better, Scene, Share, bytes};

pub(crate) async fn run(scene: &Scene) -> Result<()> {
    let nodes: u32 = scene.key("nodes", 2000);
    let size = scene.key("size", 20 << 10);
    let editors: usize = scene.key("editors", 0);
    let rate = scene.key("rate", 20.0);
    let megabytes = f64::from(nodes) * size as f64 / 1e6;
    let case = format!("{nodes} nodes of {}", bytes(size));

    let host = scene.newcomer().await?;
    let share = scene.begin();
    host.upload(nodes, size).await?;
    let upload = share.elapsed();
    if editors == 0 {
        scene.figure(&case, "upload", "s", Better::Less, upload);
        let cpu = share.cpu() / megabytes * 1e3;
        scene.figure(&case, "upload, CPU per GB", "s", Better::Less, cpu);
        let share = scene.begin();
        let _joiner = scene.client().await?;
        note(scene, &case, &share, megabytes);
        return Ok(());
    }

    let mut team = vec![host];
    for _ in 0..editors {
        team.push(scene.client().await?);
    }
    // The host watches.
    team.rotate_left(1);
    let team = Rc::new(team);
    let newcomers = &team[0].ear.room.newcomers;
    newcomers.set(u16::try_from(team.len()).unwrap());
    let quiet = work(&team, editors, rate, 1.0).await?;
    scene.delays(&case, "before, others' ", &quiet);
    let share = scene.begin();
    let busy = tokio::task::spawn_local({
        let team = Rc::clone(&team);
        async move { work(&team, editors, rate, 1.0).await }
    });
    let distance: f64 = scene.key("distance", 0.0);
    let case = match distance {
        0.0 => format!("{case}, {editors} at work"),
        distance => format!("{case}, {editors} at work, {} ms away", distance * 1e3),
    };
    let distance = Duration::from_secs_f64(distance);
    let mut joined = vec![scene.distant_client(distance).await?];
    note(scene, &case, &share, megabytes);
    // As long as they work there is somebody who joins.
    while !busy.is_finished() {
        joined.push(scene.distant_client(distance).await?);
    }
    let delays = busy.await??;
    scene.delays(&case, "others' ", &delays);
    // And then it goes on, for all of them.
    newcomers.set(u16::MAX);
    let after = work(&team, editors, rate, 0.3).await?;
    let listeners = team.len() - 1 + joined.len();
    let expected = (rate * 0.3 * editors as f64).ceil() * listeners as f64;
    let arrived = after.len() as f64 / expected * 100.0;
    scene.figure(
        &case,
        "updates arrive afterwards",
        "%",
        Better::More,
        arrived,
    );
    Ok(())
}

fn note(scene: &Scene, case: &str, share: &Share, megabytes: f64) {
    let elapsed = share.elapsed();
    scene.figure(case, "join", "s", Better::Less, elapsed);
    let cpu = share.cpu() / megabytes * 1e3;
    scene.figure(case, "join, CPU per GB", "s", Better::Less, cpu);
    let peak = scene.server.peak();
    scene.figure(case, "peak memory", "MiB", Better::Less, peak);
    share.end(scene, case, elapsed);
}

/// Some of the team change nodes of their own, and everybody's delays are taken.
async fn work(team: &[Client], editors: usize, rate: f64, secs: f64) -> Result<Vec<f64>> {
    let room = &team[0].ear.room;
    let mut changes: Vec<_> = team[..editors]
        .iter()
        .map(|client| client.template(Content::Opaque, 2048))
        .collect();
    room.begin_timing();
    latency::turns(team, &mut changes, rate, secs, false).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(room.end_timing())
}
