//! Whatever honest clients do, and attackers beside them: nobody ends by what it is told, and
//! when it is quiet all have the same.

use proptest::prelude::*;

use super::model::World;

/// Who does something, what, and how long nothing happens afterwards.
#[derive(Clone, Copy, Debug)]
enum Step {
    Act(usize, u32),
    Enter(bool),
    Close(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => (0..6usize, any::<u32>()).prop_map(|(who, choice)| Step::Act(who, choice)),
        3 => any::<bool>().prop_map(Step::Enter),
        2 => (0..6usize).prop_map(Step::Close),
        20 => (0..80u64).prop_map(Step::Pass),
        2 => (200..2000u64).prop_map(Step::Pass),
    ]
}

fn play(version: &'static str, seed: u64, budget: usize, hostile: bool, steps: &[Step]) {
    let mut world = World::new(version, seed, budget);
    world.enter("u0", true, false);
    world.pass(1500);
    world.enter("u1", true, false);
    world.enter("u2", false, false);
    if hostile {
        world.enter("evil", false, true);
    }
    for step in steps {
        match *step {
            Step::Act(who, choice) => world.act(who % world.count(), choice),
            Step::Enter(admin) if world.count() < 8 => {
                let name = format!("u{}", world.count());
                world.enter(&name, admin, false);
            }
            Step::Enter(_) => {}
            Step::Close(who) => world.close(who % world.count()),
            Step::Pass(millis) => world.pass(millis),
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
    ($($name:ident: $version:literal, $hostile:literal, $budget:expr;)*) => {
        proptest! {
            #![proptest_config(config())]
            $(
                #[test]
                fn $name(seed: u64, steps in prop::collection::vec(step(), 1..120)) {
                    play($version, seed, $budget, $hostile, &steps);
                }
            )*
        }
    };
}

converges! {
    g1_converges: "0.0.3", false, 1 << 20;
    g2_converges: "0.0.20", false, 1 << 20;
    g5_converges: "0.1.26", false, 1 << 20;
    g8_converges: "0.1.40", false, 1 << 20;
    g10_converges: "0.1.42", false, 1 << 20;
    g14_converges: "0.5.4", false, 1 << 20;
    g15_converges: "0.7.0", false, 1 << 20;
    g18_converges: "0.9.11", false, 1 << 20;
    g14_converges_with_full_queues: "0.5.4", false, 600;
    g14_converges_beside_an_attacker: "0.5.4", true, 1 << 20;
    g5_converges_with_full_queues: "0.1.26", false, 600;
    g18_converges_with_full_queues: "0.9.11", false, 600;
    g2_converges_beside_an_attacker: "0.0.20", true, 1 << 20;
    g5_converges_beside_an_attacker: "0.1.26", true, 1 << 20;
    g18_converges_beside_an_attacker: "0.9.11", true, 1 << 20;
}
