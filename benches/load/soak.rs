//! A day's work in minutes: very many changes, while people come and go. Does memory stay as it is?
//!
//!     soak updates=10000000 slices=20 nodes=1000
//!
//! Sizes of changes take turns. In each slice somebody joins, works and leaves.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::fanout::{Pace, pump};
use crate::payload::Content;
use crate::scene::{Better, Scene};

/// Sizes of changes, and how many of a thousand have them.
const SIZES: [(usize, u64); 3] = [(256, 900), (4096, 99), (256 << 10, 1)];

/// What was pushed has long arrived.
const SETTLED: Duration = Duration::from_millis(500);

pub(crate) async fn run(scene: &Scene) -> Result<()> {
    let updates: u64 = scene.key("updates", 10_000_000);
    let slices: u64 = scene.key("slices", 20);
    let among: u64 = scene.key("nodes", 1000);
    let team = scene.team(2).await?;
    let (host, others) = team.split_first().unwrap();
    let mut changes: Vec<_> = SIZES
        .iter()
        .map(|(size, _)| host.template(Content::Opaque, *size))
        .collect();
    let share = scene.begin();
    let (mut pushed, mut memory) = (0, Vec::new());
    for slice in 0..slices {
        let guest = scene.client().await?;
        let mut view = guest.view();
        let mut own = guest.template(Content::Opaque, 4096);
        for _ in 0..20 {
            guest.look(&mut view).await?;
            guest.push(&mut own, 1_000_000).await?;
        }
        // So that none of these is taken for one of the host's.
        tokio::time::sleep(SETTLED).await;
        for (change, (size, part)) in changes.iter_mut().zip(SIZES) {
            let count = updates / slices * part / 1000;
            let pace = Pace::of(size);
            let pace = Pace {
                count: Some(count),
                among,
                ..pace
            };
            let pumped = pump(host, others, change, pace, f64::INFINITY).await?;
            ensure!(pumped.lost == 0, "{} changes were lost", pumped.lost);
            pushed += count;
        }
        drop(guest);
        memory.push(scene.server.memory());
        eprintln!("slice {slice}: {} MiB", memory.last().unwrap());
    }
    let case = format!("{pushed} changes, {slices} guests");
    let less = Better::Less;
    let after = |slice: usize| memory.get(slice).copied().unwrap_or(f64::NAN);
    scene.figure(
        &case,
        "memory after a tenth",
        "MiB",
        less,
        after(memory.len() / 10),
    );
    scene.figure(
        &case,
        "memory at the end",
        "MiB",
        less,
        after(memory.len() - 1),
    );
    scene.figure(&case, "peak memory", "MiB", less, scene.server.peak());
    let rate = pushed as f64 / share.elapsed();
    scene.figure(&case, "changes", "1/s", Better::More, rate);
    let each = share.cpu() / pushed as f64 * 1e6;
    scene.figure(&case, "CPU per change", "µs", less, each);
    share.end(scene, &case, share.elapsed());
    Ok(())
}
