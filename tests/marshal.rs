//! Marshal against Python itself, and against chance. (What clients really sent is in
//! `wire_dialects.rs`.)

#![expect(clippy::indexing_slicing, reason = "helpers of tests")]

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use multi_user_server::wire::{
    marshal::{MarshalError, scan},
    pickle::Budget,
};
use proptest::{collection::vec, prelude::*};
use rand::{Rng, SeedableRng, rngs::StdRng};

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(name)
}

fn check(input: &[u8]) -> Result<(), MarshalError> {
    scan(input, &Budget::NODE).map(drop)
}

/// Bytes that mean something in the format, more often than chance would have it.
const TELLING: &[u8] = b"NTFilgszZaAuts()[{<>r0Sc.?fxIR\x00\x01\x02\x7f\x80\xa9\xfb\xff";

/// A copy with some bytes changed, taken out, put in, or copied from elsewhere in it.
fn mutated(case: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut made = case.to_vec();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..made.len());
        let telling = TELLING[rng.random_range(0..TELLING.len())];
        match rng.random_range(0..6) {
            0 => made[at] = rng.random(),
            1 => made[at] = telling,
            2 => made[at] ^= 0x80,
            3 => made.insert(at, telling),
            4 if made.len() > 1 => drop(made.remove(at)),
            _ => {
                let to = (at + rng.random_range(1..12)).min(made.len());
                let piece = made[at..to].to_vec();
                let place = rng.random_range(0..made.len());
                made.splice(place..place, piece);
            }
        }
    }
    made
}

#[test]
fn what_python_writes_is_accepted_and_what_is_accepted_python_loads() {
    let mut python = Command::new("python3")
        .arg(corpus("marshal/differential.py"))
        // Seed and number of dicts.
        .args(["20", "300"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is needed for this test");
    let mut theirs = Vec::new();
    let mut output = python.stdout.take().unwrap();
    output.read_to_end(&mut theirs).unwrap();

    let mut rng = StdRng::seed_from_u64(20);
    let (mut ours, mut count, mut harmless) = (Vec::new(), 0, 0);
    let mut rest = &theirs[..];
    while let Some((length, more)) = rest.split_first_chunk() {
        let (case, more) = more.split_at(u32::from_le_bytes(*length) as usize);
        rest = more;
        assert_eq!(check(case), Ok(()), "{}", case.escape_ascii());
        count += 1;
        let tries = if case.len() < 4096 { 200 } else { 10 };
        for _ in 0..tries {
            let case = mutated(case, &mut rng);
            if check(&case).is_ok() {
                ours.extend((case.len() as u32).to_le_bytes());
                ours.extend(case);
                harmless += 1;
            }
        }
    }
    assert_eq!(count, 900);
    assert!(harmless > 5000, "{harmless} mutations were accepted");
    // Python reads everything before it complains; if it is gone already, its status says why.
    let _ = python.stdin.take().unwrap().write_all(&ours);
    let output = python.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains(&format!("{harmless} loaded")), "{told}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn any_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        let _ = check(&[b"{", &bytes[..]].concat());
    }

    #[test]
    fn any_program_does_no_harm(bytes in vec(prop::sample::select(TELLING), 0..200)) {
        let _ = check(&[b"{", &bytes[..]].concat());
    }
}
