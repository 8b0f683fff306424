//! Everybody works a little; how long until the others see it?
//!
//!     latency users=8 [editors=8] rate=20 size=2048 secs=3 [views=no]
//!
//! First changes of a node of one's own, then view updates. Users take turns evenly, so that it is
//! the server that is seen and not their all pushing at once.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::client::Client;
use crate::payload::{Content, Template};
use crate::scene::{Better, Scene, bytes};

pub(crate) async fn run(scene: &Scene) -> Result<()> {
    let users: usize = scene.key("users", 8);
    let editors: usize = scene.key("editors", users);
    let rate: f64 = scene.key("rate", 20.0);
    let size = scene.key("size", 2048);
    let secs = scene.key("secs", 3.0);
    let team = scene.team(users).await?;
    let at_work = &team[..editors];
    let mut changes: Vec<_> = at_work
        .iter()
        .map(|client| client.template(Content::Opaque, size))
        .collect();
    let mut views: Vec<_> = at_work.iter().map(Client::view).collect();
    turns(&team, &mut changes, rate, 0.3, false).await?;

    let who = format!("{editors} of {users} users, {rate}");
    let case = format!("{who} updates/s of {}", bytes(size));
    measure(scene, &case, &team, &mut changes, rate, secs, false).await?;
    if scene.key("views", "yes".to_owned()) == "yes" {
        let case = format!("{who} views/s");
        measure(scene, &case, &team, &mut views, rate, secs, true).await?;
    }
    Ok(())
}

/// Has all of a team push or look around, and notes how soon the others know.
pub(crate) async fn measure(
    scene: &Scene,
    case: &str,
    team: &[Client],
    messages: &mut [Template],
    rate: f64,
    secs: f64,
    looking: bool,
) -> Result<()> {
    let room = &scene.room;
    let share = scene.begin();
    room.begin_timing();
    let sent = turns(team, messages, rate, secs, looking).await?;
    let expected = usize::try_from(sent).unwrap() * (team.len() - 1);
    room.within(Duration::from_secs(2), || {
        room.delays.borrow().len() >= expected
    })
    .await;
    let elapsed = share.elapsed();
    let delays = room.end_timing();
    scene.delays(case, "", &delays);
    let arrived = delays.len() as f64 / expected as f64 * 100.0;
    scene.figure(case, "arrived", "%", Better::More, arrived);
    let each = share.cpu() / delays.len() as f64 * 1e6;
    scene.figure(case, "CPU per message", "µs", Better::Less, each);
    share.end(scene, case, elapsed);
    Ok(())
}

/// As many of a team as there are messages push (or look around) in turn, each so often per second.
/// Gives how often in all.
pub(crate) async fn turns(
    team: &[Client],
    messages: &mut [Template],
    rate: f64,
    secs: f64,
    looking: bool,
) -> Result<u64> {
    let start = Instant::now();
    let busy = messages.len();
    let pause = 1.0 / (rate * busy as f64);
    let mut turn = 0;
    while turn as f64 * pause < secs {
        let due = Duration::from_secs_f64(turn as f64 * pause);
        tokio::time::sleep_until((start + due).into()).await;
        let who = usize::try_from(turn).unwrap() % busy;
        if looking {
            team[who].look(&mut messages[who]).await?;
        } else {
            let node = 1000 + u32::try_from(who).unwrap();
            team[who].push(&mut messages[who], node).await?;
        }
        turn += 1;
    }
    Ok(turn)
}
