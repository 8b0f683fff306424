//! What the scene takes, and what goes through.
//!
//!     memory total=1073741824 size=1048576
//!     burst users=16 size=16777216
//!
//! The first brings so many bytes of nodes; in the second everybody pushes one at the same time.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::payload::Content;
use crate::scene::{Better, Scene, bytes};

pub(crate) async fn run(scene: &Scene) -> Result<()> {
    let total: usize = scene.key("total", 1 << 30);
    let size: usize = scene.key("size", 1 << 20);
    let case = format!("{} in nodes of {}", bytes(total), bytes(size));
    let host = scene.newcomer().await?;
    let idle = scene.server.memory();
    let share = scene.begin();
    host.upload(u32::try_from(total / size)?, size).await?;
    let elapsed = share.elapsed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mib = total as f64 / 1_048_576.0;
    let (steady, peak) = (scene.server.memory(), scene.server.peak());
    let less = Better::Less;
    scene.figure(&case, "idle memory", "MiB", less, idle);
    scene.figure(&case, "steady memory", "MiB", less, steady);
    scene.figure(&case, "steady, of the nodes' size", "×", less, steady / mib);
    scene.figure(&case, "peak, of the nodes' size", "×", less, peak / mib);
    scene.figure(&case, "upload", "s", less, elapsed);
    share.end(scene, &case, elapsed);
    Ok(())
}

pub(crate) async fn burst(scene: &Scene) -> Result<()> {
    let users: usize = scene.key("users", 16);
    let size: usize = scene.key("size", 16 << 20);
    let case = format!("{users} × {} at once", bytes(size));
    let team: Vec<_> = scene.team(users).await?.into_iter().map(Rc::new).collect();
    let share = scene.begin();
    let mut pushes = JoinSet::new();
    for client in &team {
        let client = Rc::clone(client);
        pushes.spawn_local(async move {
            let mut change = client.template(Content::Opaque, size);
            client.push(&mut change, 10 + u32::from(client.index)).await
        });
    }
    for pushed in pushes.join_all().await {
        pushed?;
    }
    let others = users as u64 - 1;
    let everything = || team.iter().all(|client| client.ear.updates.get() >= others);
    let all = scene.room.within(Duration::from_secs(20), everything).await;
    let elapsed = share.elapsed();
    let arrived: u64 = team.iter().map(|client| client.ear.updates.get()).sum();
    let expected = users as f64 * others as f64;
    let less = Better::Less;
    scene.figure(
        &case,
        "arrived",
        "%",
        Better::More,
        arrived as f64 / expected * 100.0,
    );
    scene.figure(&case, "peak memory", "MiB", less, scene.server.peak());
    if all {
        scene.figure(&case, "until all have all", "s", less, elapsed);
    }
    share.end(scene, &case, elapsed);
    Ok(())
}
