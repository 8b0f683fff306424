//! One client changes nodes as fast as the others get the changes.
//!
//!     fanout receivers=4 sizes=256,4096,65536 content=opaque|nested secs=1
//!
//! The one who pushes changes one node again and again, as somebody does who moves its vertices, and
//! is never further ahead of the slowest than a window, which lies below what any of the servers
//! drops messages at: all that is pushed has to arrive.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::client::Client;
use crate::payload::{Content, Template};
use crate::scene::{Better, Scene, bytes};

/// Nothing arrives for so long: the rest is lost.
const STALLED: Duration = Duration::from_secs(5);

/// How somebody pushes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How many changes may be under way.
    pub(crate) window: u64,
    /// Changes per second at most.
    pub(crate) rate: Option<f64>,
    /// So many, however long it takes.
    pub(crate) count: Option<u64>,
    /// How many nodes are changed in turn.
    pub(crate) among: u64,
}

impl Pace {
    /// As fast as changes of this size get through.
    pub(crate) fn of(size: usize) -> Self {
        Self {
            window: window(size),
            rate: None,
            count: None,
            among: 1,
        }
    }
}

/// What became of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pumped {
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    /// Seconds from the first push to the last arrival.
    pub(crate) elapsed: f64,
}

pub(crate) async fn run(scene: &Scene) -> Result<()> {
    let receivers = scene.key("receivers", 4);
    let secs = scene.key("secs", 1.0);
    let content = scene.content();
    let kind = match content {
        Content::Opaque => "",
        Content::Nested => " nested",
    };
    let team = scene.team(receivers + 1).await?;
    let (host, others) = team.split_first().unwrap();
    for size in scene.keys("sizes", &[256, 4096, 65_536, 1 << 20, 16 << 20]) {
        let case = format!("1 to {receivers}, {}{kind}", bytes(size));
        let mut change = host.template(content, size);
        let pace = Pace::of(size);
        pump(host, others, &mut change, pace, secs / 4.0).await?;
        let share = scene.begin();
        let pumped = pump(host, others, &mut change, pace, secs).await?;
        let gigabytes = pumped.delivered as f64 * change.payload as f64 / 1e9;
        let rate = pumped.delivered as f64 / pumped.elapsed;
        let cpu = share.cpu();
        scene.figure(&case, "delivered", "messages/s", Better::More, rate);
        let mb = gigabytes * 1e3 / pumped.elapsed;
        scene.figure(&case, "throughput", "MB/s", Better::More, mb);
        scene.figure(&case, "CPU per GB", "s", Better::Less, cpu / gigabytes);
        let each = cpu / pumped.delivered as f64 * 1e6;
        scene.figure(&case, "CPU per message", "µs", Better::Less, each);
        let own = share.own_cpu() / pumped.delivered as f64 * 1e6;
        scene.figure(
            &case,
            "generator's CPU per message",
            "µs",
            Better::Less,
            own,
        );
        let peak = scene.server.peak();
        scene.figure(&case, "peak memory", "MiB", Better::Less, peak);
        share.end(scene, &case, pumped.elapsed);
        if pumped.lost > 0 {
            let lost = pumped.lost as f64;
            scene.figure(&case, "lost", "messages", Better::Less, lost);
        }
    }
    Ok(())
}

/// How many changes may be under way. With four ports each is two messages, of which libzmq drops what goes
/// beyond a thousand to one peer, and it counts five hundred too many at times.
fn window(size: usize) -> u64 {
    match size {
        0..=16_383 => 192,
        16_384..=262_143 => 64,
        262_144..=4_194_303 => 8,
        _ => 2,
    }
}

/// Pushes for so long, at most at this rate, and waits for what was pushed.
pub(crate) async fn pump(
    from: &Client,
    to: &[Client],
    change: &mut Template,
    pace: Pace,
    secs: f64,
) -> Result<Pumped> {
    let window = pace.window;
    let room = &from.ear.room;
    let before: Vec<u64> = to.iter().map(|client| client.ear.updates.get()).collect();
    let arrived = || {
        let clients = to.iter().zip(&before);
        clients.map(|(client, before)| client.ear.updates.get() - before)
    };
    let slowest = || arrived().min().unwrap_or(0);
    let start = Instant::now();
    let began = room.now();
    let (mut pushed, mut known, mut lost) = (0, 0, false);
    let goes_on = |pushed| match pace.count {
        Some(count) => pushed < count,
        None => start.elapsed().as_secs_f64() < secs || pushed < 2 * window,
    };
    while !lost && goes_on(pushed) {
        if let Some(rate) = pace.rate {
            from.flush().await?;
            let due = Duration::from_secs_f64(pushed as f64 / rate);
            tokio::time::sleep_until((start + due).into()).await;
        }
        if pushed - known >= window {
            from.flush().await?;
            known = slowest();
            let room_again = room.within(STALLED, || {
                known = slowest();
                pushed - known < window
            });
            lost = !room_again.await;
        }
        let node = u32::try_from(pushed % pace.among).unwrap();
        from.push_soon(change, node).await?;
        pushed += 1;
    }
    from.flush().await?;
    room.within(STALLED, || slowest() == pushed).await;
    for client in to {
        ensure!(client.ear.cut.get().is_none(), "a receiver was cut off");
    }
    let delivered: u64 = arrived().sum();
    let last = to.iter().map(|client| client.ear.last.get()).max();
    let elapsed = last.unwrap_or(began).saturating_sub(began).max(1);
    Ok(Pumped {
        delivered,
        lost: pushed * to.len() as u64 - delivered,
        elapsed: elapsed as f64 / 1e9,
    })
}
