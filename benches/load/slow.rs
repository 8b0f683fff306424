//! One client reads no more while changes pass, or slowly. Do the others notice, what does it cost, and
//! what does it get when it reads on?
//!
//!     slow users=5 size=65536 total=209715200 rate=400 [speed=125000]
//!
//! The speed is in bytes per second.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;

use crate::client::Client;
use crate::fanout::{Pace, Pumped, pump};
use crate::payload::Content;
use crate::scene::{Better, Scene, bytes};

/// Nothing more comes to somebody to whom nothing came for so long.
const QUIET: Duration = Duration::from_millis(1500);

/// How many are changed in turn.
const NODES: u64 = 64;

pub(crate) async fn run(scene: &Scene) -> Result<()> {
    let users: usize = scene.key("users", 5);
    let size: usize = scene.key("size", 64 << 10);
    let total: usize = scene.key("total", 200 << 20);
    let rate: f64 = scene.key("rate", 400.0);
    let speed: Option<f64> = scene.optional("speed");
    let pace = Pace {
        rate: Some(rate),
        among: NODES,
        ..Pace::of(size)
    };
    let whom = match speed {
        Some(speed) => format!("one with {} Mbit/s", speed * 8.0 / 1e6),
        None => "a stopped one".to_owned(),
    };
    let (each, all) = (bytes(size), bytes(total));
    let case = format!("{all} in {each}, {rate}/s, past {whom}");
    let team = scene.team(users).await?;
    let (host, others) = team.split_first().unwrap();
    let (stopped, well) = others.split_last().unwrap();
    let mut change = host.template(Content::Opaque, size);
    let secs = total as f64 / size as f64 / rate;

    pump(host, others, &mut change, pace, 0.3).await?;
    scene.room.begin_timing();
    let before = pump(host, others, &mut change, pace, secs / 4.0).await?;
    scene.delays(&case, "others before, ", &scene.room.end_timing());

    let memory = scene.server.memory();
    let got = stopped.ear.updates.get();
    for client in [stopped, &well[0]] {
        *client.ear.newest.borrow_mut() = Some(HashMap::new());
    }
    match speed {
        Some(speed) => stopped.read_slowly(speed),
        None => stopped.stop_reading(),
    }
    let share = scene.begin();
    scene.room.begin_timing();
    let during = pump(host, well, &mut change, pace, secs).await?;
    scene.delays(&case, "others while, ", &scene.room.end_timing());
    let per_second =
        |pumped: Pumped, clients: usize| pumped.delivered as f64 / clients as f64 / pumped.elapsed;
    let kept = per_second(during, well.len()) / per_second(before, others.len());
    let more = Better::More;
    scene.figure(&case, "others' rate kept", "%", more, kept * 100.0);
    let growth = scene.server.peak() - memory;
    scene.figure(&case, "memory growth", "MiB", Better::Less, growth);
    share.end(scene, &case, during.elapsed);

    stopped.read_on();
    let mut last = 0;
    while last != stopped.ear.updates.get() {
        last = stopped.ear.updates.get();
        tokio::time::sleep(QUIET).await;
    }
    anyhow::ensure!(stopped.ear.cut.get().is_none(), "the slow one was cut off");
    let messages = during.delivered as f64 / well.len() as f64;
    let caught = (last - got) as f64 / messages * 100.0;
    scene.figure(
        &case,
        "messages it gets afterwards",
        "%",
        Better::Less,
        caught,
    );
    let newest = |client: &Client| client.ear.newest.take().unwrap();
    let (its, theirs) = (newest(stopped), newest(&well[0]));
    let right = theirs.iter().filter(|(node, n)| its.get(node) == Some(n));
    let right = right.count() as f64 / theirs.len() as f64 * 100.0;
    scene.figure(&case, "nodes it has right afterwards", "%", more, right);
    Ok(())
}
