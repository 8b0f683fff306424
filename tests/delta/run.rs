//! Goes through what each version computes, and keeps what came of it.

use std::{collections::BTreeMap, env, fmt::Write, thread};

use crate::python::{Helper, make_environments};

pub(crate) const VERSIONS: [&str; 6] = ["5.5.0", "5.7.0", "6.7.1", "7.0.1", "8.1.1", "8.6.2"];
/// Where in `VERSIONS` the one is that all others must agree with.
pub(crate) const MODEL: usize = 4;

/// Cases that are asked for at once.
const BATCH: usize = 50;
/// Versions that compute at the same time.
const WORKERS: usize = 2;
/// Failures of a version that are shown; others may as well wait.
const ENOUGH: usize = 5;

fn number(variable: &str) -> Option<usize> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// A line of `generate.py`.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) kind: String,
    chain: String,
    pub(crate) what: String,
    pub(crate) document: String,
    pub(crate) delta: String,
    /// What becomes of the document with the deepdiff that computed the delta.
    pub(crate) theirs: String,
    /// What should become of it.
    pub(crate) wanted: String,
}

impl Case {
    fn parse(line: &str) -> Self {
        let mut words = line.split('\t').map(str::to_owned);
        let mut word = || words.next().unwrap();
        Self {
            kind: word(),
            chain: word(),
            what: word(),
            document: word(),
            delta: word(),
            theirs: word(),
            wanted: word(),
        }
    }

    pub(crate) fn is_honest(&self) -> bool {
        self.kind == "honest"
    }

    /// Whether something that can be changed is in two places at once when it has been applied.
    pub(crate) fn is_in_two_places(&self) -> bool {
        self.what.ends_with("in two places")
    }

    /// The same two documents the other way round.
    pub(crate) fn back(&self) -> Self {
        Self {
            document: self.wanted.clone(),
            wanted: self.document.clone(),
            ..self.clone()
        }
    }
}

/// A document that must be another, packed.
pub(crate) struct Claim<'a> {
    pub(crate) case: &'a Case,
    pub(crate) what: String,
    pub(crate) expected: String,
    pub(crate) got: String,
}

/// What came of deltas.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) counts: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.failures.extend(other.failures);
    }

    /// How many there were of all honest deltas.
    pub(crate) fn share(&self, what: impl Fn(&str) -> bool) -> f64 {
        let chosen = self.counts.iter().filter(|(name, _)| what(name));
        let count: usize = chosen.map(|(_, count)| count).sum();
        count as f64 / self.counts["honest"] as f64
    }
}

/// The deltas of one version.
pub(crate) struct Run {
    version: &'static str,
    seed: usize,
    /// deepdiff in all versions.
    appliers: Vec<Helper>,
    comparer: Helper,
    pub(crate) tally: Tally,
}

impl Run {
    fn of(version: &'static str) -> Self {
        let helper = |version, name| Helper::start(version, name, &[]);
        Self {
            version,
            seed: number("DELTA_SEED").unwrap_or(1),
            appliers: VERSIONS.map(|version| helper(version, "apply.py")).into(),
            comparer: helper(VERSIONS[MODEL], "compare.py"),
            tally: Tally::default(),
        }
    }

    pub(crate) fn count(&mut self, what: impl Into<String>) {
        *self.tally.counts.entry(what.into()).or_default() += 1;
    }

    /// What a version of deepdiff makes of deltas for the documents of cases.
    pub(crate) fn applied(&mut self, version: usize, cases: &[(&Case, &str)]) -> Vec<String> {
        let lines: Vec<_> = cases
            .iter()
            .map(|(case, delta)| format!("{} {delta}", case.document))
            .collect();
        self.appliers[version].ask(&lines)
    }

    /// Keeps what went wrong, with packed values that tell more.
    pub(crate) fn fail(&mut self, case: &Case, what: &str, others: &[(&str, &str)]) {
        if self.tally.failures.len() == ENOUGH {
            return;
        }
        let Self { version, seed, .. } = *self;
        let mut text = format!(
            "{what}: {} ({}), computed by deepdiff {version}\n",
            case.kind, case.what
        );
        let mut explainer = Helper::start(VERSIONS[MODEL], "explain.py", &[]);
        let parts = [
            ("document", &*case.document),
            ("delta", &case.delta),
            ("wanted", &case.wanted),
        ];
        let parts = parts
            .iter()
            .chain(others)
            .map(|(name, word)| format!("{name}\t{word}"));
        for line in explainer.ask(&parts.collect::<Vec<_>>()) {
            writeln!(text, "{line}").unwrap();
        }
        let chain = &case.chain;
        write!(
            text,
            "Again: DELTA_VERSION={version} DELTA_SEED={seed} DELTA_CHAIN={chain} cargo test --test delta"
        )
        .unwrap();
        self.tally.failures.push(text);
    }

    /// Checks claims, in Python, which so reads all pickles made of documents here.
    pub(crate) fn check(&mut self, claims: &[Claim<'_>]) {
        let mut lines = Vec::new();
        for Claim {
            case,
            what,
            expected,
            got,
        } in claims
        {
            if expected.starts_with('!') {
                self.fail(case, what, &[("expected", expected), ("got", got)]);
            } else {
                lines.push((case, what, expected, got));
            }
        }
        let asked: Vec<_> = lines
            .iter()
            .map(|(.., expected, got)| format!("{expected} {got}"))
            .collect();
        for (answer, (case, what, expected, got)) in self.comparer.ask(&asked).iter().zip(lines) {
            if answer != "same" {
                self.fail(
                    case,
                    what,
                    &[("expected", expected), ("got", got), ("differ", answer)],
                );
            }
        }
    }

    /// Checks what this run's version computes, until there was enough.
    fn all(&mut self, wanted: fn(&Case) -> bool, check: fn(&mut Self, &[Case])) {
        let only = number("DELTA_CHAIN");
        let args = [self.seed, only.unwrap_or(0)].map(|number| number.to_string());
        let mut generator = Helper::start(self.version, "generate.py", &args);
        let mut left = number("DELTA_CASES").unwrap_or(400);
        let mut batch = Vec::new();
        while left > 0 && self.tally.failures.len() < ENOUGH {
            let case = Case::parse(&generator.line());
            if only.is_some_and(|only| only.to_string() != case.chain) {
                break;
            }
            if wanted(&case) {
                left -= 1;
                batch.push(case);
            }
            if batch.len() == BATCH {
                check(self, &batch);
                batch.clear();
            }
        }
        check(self, &batch);
    }
}

/// Lets each version compute, two at a time.
pub(crate) fn run(wanted: fn(&Case) -> bool, check: fn(&mut Run, &[Case])) -> Tally {
    make_environments();
    let only = env::var("DELTA_VERSION").ok();
    let chosen = |version: &&str| only.as_ref().is_none_or(|only| only == version);
    let versions: Vec<_> = VERSIONS.into_iter().filter(chosen).collect();
    let work = |which: usize| {
        let mut tally = Tally::default();
        for version in versions.iter().skip(which).step_by(WORKERS) {
            let mut run = Run::of(version);
            run.all(wanted, check);
            println!("deepdiff {version}: {:?}", run.tally.counts);
            tally.add(run.tally);
        }
        tally
    };
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|which| scope.spawn(move || work(which)))
            .collect();
        for worker in workers {
            tally.add(worker.join().unwrap());
        }
    });
    assert!(
        tally.failures.is_empty(),
        "\n{}",
        tally.failures.join("\n\n")
    );
    tally
}
