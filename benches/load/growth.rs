//! A scene of many nodes: what does a change of one of them cost, and a join?
//!
//!     growth nodes=100000 size=512 change=2048 receivers=2 secs=1

use anyhow::Result;

use crate::fanout::{Pace, pump};
use crate::payload::Content;
use crate::scene::{Better, Scene, bytes};

pub(crate) async fn run(scene: &Scene) -> Result<()> {
    let nodes: u32 = scene.key("nodes", 100_000);
    let size = scene.key("size", 512);
    let change = scene.key("change", 2048);
    let receivers: usize = scene.key("receivers", 2);
    let secs = scene.key("secs", 1.0);
    let case = format!("{nodes} nodes of {}", bytes(size));
    let less = Better::Less;

    let host = scene.newcomer().await?;
    let idle = scene.server.memory();
    let share = scene.begin();
    host.upload(nodes, size).await?;
    scene.figure(&case, "upload", "s", less, share.elapsed());
    let more = (scene.server.memory() - idle) * 1_048_576.0 / f64::from(nodes);
    scene.figure(&case, "memory per node", "B", less, more);

    let share = scene.begin();
    let mut team = vec![scene.client().await?];
    scene.figure(&case, "join", "s", less, share.elapsed());
    let each = share.cpu() / f64::from(nodes) * 1e6;
    scene.figure(&case, "join, CPU per node", "µs", less, each);
    scene.figure(&case, "join, peak memory", "MiB", less, scene.server.peak());
    while team.len() < receivers {
        team.push(scene.client().await?);
    }

    let pace = Pace::of(change);
    let pace = Pace {
        among: u64::from(nodes),
        ..pace
    };
    let mut update = host.template(Content::Opaque, change);
    pump(&host, &team, &mut update, pace, secs / 4.0).await?;
    let share = scene.begin();
    let pumped = pump(&host, &team, &mut update, pace, secs).await?;
    let case = format!("{case}, changes of {}", bytes(change));
    let rate = pumped.delivered as f64 / pumped.elapsed;
    scene.figure(&case, "delivered", "messages/s", Better::More, rate);
    let each = share.cpu() / pumped.delivered as f64 * 1e6;
    scene.figure(&case, "CPU per message", "µs", less, each);
    share.end(scene, &case, pumped.elapsed);
    Ok(())
}
