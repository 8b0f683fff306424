//! Deltas against deepdiff itself, in the versions that users have had.
//!
//! Each version computes deltas of random documents; what is made of them here must be what
//! deepdiff 8.1.1 makes of them, to the types and the order of dicts. So must what is made of deltas
//! that don't fit, or that nobody would send, unless they are refused. The Python side of it is in
//! `tests/delta`. For a longer run:
//!
//!     DELTA_CASES=20000 DELTA_SEED=7 cargo test --release --test delta -- --nocapture
//!
//! `DELTA_CASES` counts per version. `DELTA_VERSION` and `DELTA_CHAIN` choose one version and one
//! document with all its edits, as failures say.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

#[path = "delta/python.rs"]
mod python;
#[path = "delta/run.rs"]
mod run;

use std::{env, panic::catch_unwind};

use multi_user_server::wire::{delta, pickle::Value};
use python::{hex, value};
use run::{Case, Claim, MODEL, Run, VERSIONS, run};

/// Reasons (how they begin) to refuse a delta that a client computed for the very document and that
/// 8.1.1 applies, and the largest share of such deltas each may have.
const REFUSALS: [(&str, f64); 5] = [
    // Keys that no path can say, or that say something else: `()`, infinity, `a', 'b`.
    ("a delta of another make: a path that is no text", 0.01),
    ("a delta with the path ", 0.01),
    // What all of them destroy more than they change: parts of tuples, above all.
    ("a delta that clients fail on: ", 0.01),
    // Text made of lists; int and text keys of one dict removed at once; sets in sets.
    ("a delta with an outcome that cannot be told: ", 0.015),
    ("a delta that takes too long", 0.001),
];

/// Whether there is a tuple where a path could lead.
fn has_tuples(value: &Value) -> bool {
    match value {
        Value::Tuple(_) => true,
        Value::List(items) => items.iter().any(has_tuples),
        Value::Dict(dict) => dict.iter().any(|(_, value)| has_tuples(value)),
        _ => false,
    }
}

impl Run {
    /// What is made of deltas is what 8.1.1 makes of them, and plain ones what all versions do.
    fn apply(&mut self, cases: &[Case]) {
        let asked: Vec<_> = cases.iter().map(|case| (case, &*case.delta)).collect();
        let models = self.applied(MODEL, &asked);
        let mut claims = Vec::new();
        let mut plain = Vec::new();
        for (case, model) in cases.iter().zip(models) {
            let (document, delta) = (value(&case.document), value(&case.delta));
            let ours = catch_unwind(|| (delta::apply(&document, &delta), delta::is_plain(&delta)));
            let Ok((ours, is_plain)) = ours else {
                self.fail(case, "a panic", &[("expected", &model)]);
                continue;
            };
            self.count(&case.kind);
            let got = ours
                .as_ref()
                .map(|applied| hex(&applied.document))
                .unwrap_or_default();
            match &ours {
                Ok(_) if model.starts_with('!') => {
                    self.fail(case, "8.1.1 raises", &[("expected", &model), ("got", &got)]);
                }
                Ok(applied) => {
                    self.count(format!("{}, applied", case.kind));
                    let claim = |what: &str, expected: &String| Claim {
                        case,
                        what: what.to_owned(),
                        expected: expected.clone(),
                        got: got.clone(),
                    };
                    claims.push(claim("not what 8.1.1 makes of it", &model));
                    if case.is_in_two_places() {
                        self.count("honest, in two places");
                    }
                    if applied.alike && case.is_honest() {
                        self.count("honest, alike");
                        claims.push(claim("not what the sender has", &case.theirs));
                        // The next change of it would be two at the sender.
                        if case.is_in_two_places() {
                            self.fail(case, "in two places at the sender", &[("got", &got)]);
                        }
                    }
                }
                Err(_) if model.starts_with('!') => self.count(format!("{}, raised", case.kind)),
                Err(error) if case.is_honest() => self.count(format!("refused: {error}")),
                Err(_) => {}
            }
            if is_plain && !has_tuples(&document) {
                self.count(format!("{}, plain", case.kind));
                match ours {
                    Ok(_) => plain.push((case, got)),
                    Err(error) => {
                        let error = error.to_string();
                        self.fail(case, "plain but refused", &[("error", &error)]);
                    }
                }
            }
        }
        let asked: Vec<_> = plain
            .iter()
            .map(|(case, _)| (*case, &*case.delta))
            .collect();
        for (version, name) in VERSIONS.iter().enumerate() {
            for (expected, (case, got)) in self.applied(version, &asked).into_iter().zip(&plain) {
                let (what, got) = (
                    format!("plain, but not what {name} makes of it"),
                    got.clone(),
                );
                claims.push(Claim {
                    case,
                    what,
                    expected,
                    got,
                });
            }
        }
        self.check(&claims);
    }

    /// Differences lead from one document to another, with all versions.
    fn differ(&mut self, cases: &[Case]) {
        let cases: Vec<_> = cases
            .iter()
            .flat_map(|case| [case.clone(), case.back()])
            .collect();
        let mut made = Vec::new();
        let mut claims = Vec::new();
        for case in &cases {
            let (document, wanted) = (value(&case.document), value(&case.wanted));
            let difference = catch_unwind(|| delta::difference(&document, &wanted));
            let Ok(difference) = difference else {
                self.fail(case, "a panic", &[]);
                continue;
            };
            self.count("difference");
            let packed = hex(&difference);
            let what = "a difference that doesn't lead there".to_owned();
            match delta::apply(&document, &difference) {
                Ok(applied) => {
                    let got = hex(&applied.document);
                    claims.push(Claim {
                        case,
                        what,
                        expected: case.wanted.clone(),
                        got,
                    });
                }
                Err(error) => {
                    let error = error.to_string();
                    self.fail(case, &what, &[("difference", &packed), ("error", &error)]);
                }
            }
            made.push((case, packed));
        }
        let asked: Vec<_> = made
            .iter()
            .map(|(case, packed)| (*case, &**packed))
            .collect();
        for (version, name) in VERSIONS.iter().enumerate() {
            for (got, (case, packed)) in self.applied(version, &asked).into_iter().zip(&made) {
                let what = format!("{name} doesn't come there with difference {packed}");
                claims.push(Claim {
                    case,
                    what,
                    expected: got,
                    got: case.wanted.clone(),
                });
            }
        }
        self.check(&claims);
    }
}

#[test]
fn deltas_do_what_they_do_in_python() {
    let tally = run(|case| case.kind != "unmade", Run::apply);
    if env::var_os("DELTA_CHAIN").is_some() {
        return;
    }
    let reason_of = |what: &str| {
        let reason = what.strip_prefix("refused: ")?;
        Some(
            REFUSALS
                .iter()
                .position(|(known, _)| reason.starts_with(known)),
        )
    };
    let unknown = tally
        .counts
        .keys()
        .find(|what| reason_of(what) == Some(None));
    assert_eq!(unknown, None);
    for (index, (reason, most)) in REFUSALS.iter().enumerate() {
        let share = tally.share(|what| reason_of(what) == Some(Some(index)));
        println!("refused because of {reason:?}: {share}");
        assert!(share < *most, "{reason:?}: {share}");
    }
    // What is told apart is there.
    for what in ["honest, applied", "honest, alike", "honest, plain"] {
        assert!(tally.share(|counted| counted == what) > 0.2, "{what}");
    }
}

#[test]
fn differences_do_what_they_should_in_python() {
    run(|case| case.wanted != "-", Run::differ);
}
