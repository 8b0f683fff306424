//! Whatever honest clients do, and attackers beside them: nobody ends by what it is told, and
//! when it is quiet all have the same.

use proptest::prelude::*;

use super::model::World;
use crate::ports::outbox::Lane;

/// Who does something, what, and how long nothing happens afterwards.
#[derive(Clone, Copy, Debug)]
enum Step {
    Act(usize, u32),
    Enter(bool),
    Close(usize),
    Break(usize, Lane, u64),
    Stall(usize, Lane, u64),
    Pass(u64),
    Kick(usize, usize),
    Unfit(usize, u32),
    Undo(usize, u32),
    Operate(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => (0..6usize, any::<u32>()).prop_map(|(who, choice)| Step::Act(who, choice)),
        5 => any::<bool>().prop_map(Step::Enter),
        2 => (0..6usize).prop_map(Step::Close),
        4 => (0..6usize, lane(), 1..1500u64)
            .prop_map(|(who, lane, millis)| Step::Break(who, lane, millis)),
        4 => (0..6usize, lane(), 1..1500u64)
            .prop_map(|(who, lane, millis)| Step::Stall(who, lane, millis)),
        20 => (0..80u64).prop_map(Step::Pass),
        2 => (200..2000u64).prop_map(Step::Pass),
        1 => (0..6usize, 0..6usize).prop_map(|(a, b)| Step::Kick(a, b)),
        3 => (0..6usize, any::<u32>()).prop_map(|(a, b)| Step::Unfit(a, b)),
        6 => (0..6usize, any::<u32>()).prop_map(|(a, b)| Step::Undo(a, b)),
        2 => any::<u32>().prop_map(Step::Operate),
    ]
}

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![Just(Lane::Command), Just(Lane::Data)]
}

/// What honest clients have to do with.
#[derive(Clone, Copy, Debug)]
struct Setting {
    /// Bytes that may be queued for a peer.
    budget: usize,
    /// Whether somebody among them does anything at all.
    hostile: bool,
    /// Whether there is hardly room for what they do.
    full: bool,
}

const PLAIN: Setting = Setting {
    budget: 1 << 20,
    hostile: false,
    full: false,
};
const SHORT_QUEUES: Setting = Setting {
    budget: 600,
    ..PLAIN
};
const ATTACKED: Setting = Setting {
    hostile: true,
    ..PLAIN
};
const FULL: Setting = Setting {
    full: true,
    ..PLAIN
};

fn play(version: &'static str, seed: u64, setting: Setting, steps: &[Step]) {
    let mut world = World::new(version, seed, setting.budget, setting.full);
    world.enter("u0", true, false);
    world.pass(1500);
    world.enter("u1", true, false);
    world.enter("u2", false, false);
    if setting.hostile {
        world.enter("evil", false, true);
    }
    for step in steps {
        match *step {
            Step::Act(who, choice) => world.act(who % world.count(), choice),
            Step::Enter(admin) if world.count() < 8 => {
                let name = world
                    .gone_name()
                    .unwrap_or_else(|| format!("u{}", world.count()));
                world.enter(&name, admin, false);
            }
            Step::Enter(_) => {}
            Step::Close(who) => world.close(who % world.count()),
            Step::Break(who, lane, millis) => {
                world.break_link(who % world.count(), lane, millis);
            }
            Step::Stall(who, lane, millis) => world.stall(who % world.count(), lane, millis),
            Step::Pass(millis) => world.pass(millis),
            Step::Kick(a, b) => {
                world.kick(a % world.count(), b % world.count());
            }
            Step::Unfit(who, choice) => world.unfit(who % world.count(), choice),
            Step::Undo(who, choice) => world.undo(who % world.count(), choice),
            Step::Operate(choice) => world.operate(choice),
        }
    }
    world.check();
    world.empty();
}

/// More cases by `PROPTEST_CASES`, as everywhere.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: cases.and_then(|cases| cases.parse().ok()).unwrap_or(40),
        max_shrink_iters: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

macro_rules! converges {
    ($($name:ident: $version:literal, $setting:expr;)*) => {
        proptest! {
            #![proptest_config(config())]
            $(
                #[test]
                fn $name(seed: u64, steps in prop::collection::vec(step(), 1..120)) {
                    play($version, seed, $setting, &steps);
                }
            )*
        }
    };
}

converges! {
    g1_converges: "0.0.3", PLAIN;
    g2_converges: "0.0.20", PLAIN;
    g5_converges: "0.1.26", PLAIN;
    g8_converges: "0.1.40", PLAIN;
    g10_converges: "0.1.42", PLAIN;
    g14_converges: "0.5.4", PLAIN;
    g15_converges: "0.7.0", PLAIN;
    g18_converges: "0.9.11", PLAIN;
    g19_converges: "0.10.2", PLAIN;
    g11_converges: "0.2.1", PLAIN;
    g16_converges: "0.8.3", PLAIN;
    g6_converges: "0.1.33", PLAIN;
    g14_converges_with_full_queues: "0.5.4", SHORT_QUEUES;
    g14_converges_beside_an_attacker: "0.5.4", ATTACKED;
    g5_converges_with_full_queues: "0.1.26", SHORT_QUEUES;
    g18_converges_with_full_queues: "0.9.11", SHORT_QUEUES;
    g2_converges_beside_an_attacker: "0.0.20", ATTACKED;
    g5_converges_beside_an_attacker: "0.1.26", ATTACKED;
    g18_converges_beside_an_attacker: "0.9.11", ATTACKED;
    g10_converges_without_room: "0.1.42", FULL;
    g14_converges_without_room: "0.5.4", FULL;
    g15_converges_without_room: "0.7.0", FULL;
    g18_converges_without_room: "0.9.11", FULL;
}

/// Found by chance: a Right that says once more what was so crosses one that changes it.
#[test]
fn g1_ends_with_the_last_right() {
    let steps = [
        Step::Close(4),
        Step::Pass(11),
        Step::Act(0, 647178540),
        Step::Pass(45),
        Step::Enter(false),
        Step::Pass(61),
        Step::Close(4),
        Step::Pass(77),
        Step::Pass(2),
        Step::Pass(14),
        Step::Pass(64),
        Step::Pass(312),
        Step::Act(3, 3618314707),
        Step::Pass(69),
        Step::Pass(37),
        Step::Pass(53),
        Step::Enter(true),
        Step::Pass(0),
        Step::Act(3, 1168307821),
        Step::Pass(56),
        Step::Act(3, 3714352682),
        Step::Act(3, 413323693),
        Step::Close(4),
        Step::Pass(44),
        Step::Act(3, 4178814966),
        Step::Pass(78),
        Step::Pass(53),
        Step::Pass(33),
        Step::Pass(18),
        Step::Act(3, 3582123814),
        Step::Pass(78),
        Step::Act(3, 1086409953),
        Step::Enter(false),
        Step::Pass(48),
        Step::Act(2, 3084995118),
        Step::Act(2, 2996995675),
        Step::Close(5),
        Step::Act(2, 1028691256),
        Step::Pass(66),
        Step::Pass(11),
        Step::Pass(1),
        Step::Pass(209),
        Step::Pass(46),
        Step::Enter(false),
        Step::Act(3, 3388276993),
        Step::Pass(45),
        Step::Pass(37),
        Step::Act(3, 2296134103),
        Step::Act(3, 1568206774),
    ];
    play("0.0.3", 4422239642628089589, PLAIN, &steps);
}
