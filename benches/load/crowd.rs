//! Many clients, of whom one looks around.
//!
//!     crowd users=128 secs=5 [views=no]
//!
//! First nobody does anything; without views that is all.

use std::time::Duration;

use anyhow::Result;

use crate::latency;
use crate::scene::{Better, Scene};

pub(crate) async fn run(scene: &Scene) -> Result<()> {
    let users: usize = scene.key("users", 16);
    let secs: f64 = scene.key("secs", 5.0);
    let case = format!("{users} clients");
    let share = scene.begin();
    let team = scene.team(users).await?;
    scene.figure(&case, "all have joined", "s", Better::Less, share.elapsed());
    tokio::time::sleep(Duration::from_secs(1)).await;

    let idle = format!("{case}, idle");
    let share = scene.begin();
    tokio::time::sleep(Duration::from_secs_f64(secs)).await;
    let cpu = share.cpu() / secs * 100.0;
    scene.figure(&idle, "CPU", "%", Better::Less, cpu);
    share.end(scene, &idle, secs);
    let memory = scene.server.memory();
    scene.figure(&idle, "memory", "MiB", Better::Less, memory);
    if scene.key("views", "yes".to_owned()) == "yes" {
        let case = format!("{case}, one looks around");
        let mut view = [team[0].view()];
        latency::measure(scene, &case, &team, &mut view, 20.0, secs.min(5.0), true).await?;
    }
    let cut = team.iter().filter(|client| client.ear.cut.get().is_some());
    let cut = cut.count() as f64;
    scene.figure(&case, "clients cut off", "", Better::Less, cut);
    Ok(())
}
