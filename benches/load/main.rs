//! Puts a server under load and says what it made of it, as one JSON object on standard output.
//!
//!     cargo bench --bench load -- --port PORT --pid PID [--ports four|three|framed]
//!         [--bare] [--zeromq] SCENARIO [KEY=VALUE …]
//!
//! Works against whatever speaks the clients' wire: this server, the clients' own, or (`--bare`) one
//! that does nothing but forward. It starts none; `scripts/bench` does, and compares. Scenarios and
//! their keys are at the head of each module.
//!
//! All clients are on one thread, and read no more of what comes than they must, so that the generator
//! is not what is measured. What it takes itself is among the figures.

// No program for others.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod crowd;
#[cfg(target_os = "linux")]
mod ear;
#[cfg(target_os = "linux")]
mod fanout;
#[cfg(target_os = "linux")]
mod foreign;
#[cfg(target_os = "linux")]
mod growth;
#[cfg(target_os = "linux")]
mod join;
#[cfg(target_os = "linux")]
mod latency;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod observe;
#[cfg(target_os = "linux")]
mod payload;
#[cfg(target_os = "linux")]
mod scene;
#[cfg(target_os = "linux")]
mod slow;
#[cfg(target_os = "linux")]
mod soak;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    let (scene, scenario) = scene::Scene::of_arguments(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    let done = local.block_on(&runtime, async {
        match scenario.as_str() {
            "fanout" => fanout::run(&scene).await,
            "latency" => latency::run(&scene).await,
            "join" => join::run(&scene).await,
            "memory" => memory::run(&scene).await,
            "burst" => memory::burst(&scene).await,
            "slow" => slow::run(&scene).await,
            "growth" => growth::run(&scene).await,
            "soak" => soak::run(&scene).await,
            "crowd" => crowd::run(&scene).await,
            scenario => anyhow::bail!("there is no scenario {scenario:?}"),
        }
    });
    println!("{}", scene.report(done));
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("The load generator looks at processes as Linux shows them.");
}
