//! Loading the configuration: layers and their order, where values come from, mistakes, password
//! files, and that `config/server.toml` documents exactly the keys there are.

// The helpers beside the tests are tests too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "config/layers.rs"]
mod layers;
#[path = "config/passwords.rs"]
mod passwords;
#[path = "config/presets.rs"]
mod presets;

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;
use figment::{
    Figment,
    providers::{Format, Toml},
    value::Value,
};
use multi_user_server::{
    cli::Cli,
    config::{
        Auto, ByteSize, Config, ConfigErrors, Loaded, LogFormat, MemoryLimit, NewerClients, Origin,
        SameAddress, Upload, WorkerThreads, load_with,
    },
};
use proptest::prelude::*;

/// Loads with these flags and variables, started in `cwd`.
fn load(cwd: &Path, flags: &[&str], env: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let cli = Cli::try_parse_from([&["multi-user-server"], flags].concat()).unwrap();
    load_with(
        &cli.flags,
        env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        cwd,
    )
}

/// Loads this text as the configuration file.
fn load_text(text: &str) -> Result<Loaded, ConfigErrors> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("test.toml"), text).unwrap();
    load(dir.path(), &["--config", "test.toml"], &[])
}

fn errors(result: Result<Loaded, ConfigErrors>) -> Vec<String> {
    result
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(kind);
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn fixture(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/valid");
    path.join(name).with_extension("toml")
}

fn load_fixture(path: &Path) -> Result<Loaded, ConfigErrors> {
    load(
        Path::new("/nowhere"),
        &["--config", path.to_str().unwrap()],
        &[],
    )
}

fn names(prefix: &str, value: Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Dict(_, table) => {
            for (name, value) in table {
                names(&format!("{prefix}.{name}"), value, into);
            }
        }
        _ => assert!(into.insert(prefix.trim_start_matches('.').to_owned())),
    }
}

#[test]
fn server_toml_documents_every_key_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/server.toml");
    let text = fs::read_to_string(path).unwrap();
    let as_it_is = load_text(&text).unwrap();
    assert!(
        as_it_is
            .origins
            .iter()
            .all(|(_, origin)| *origin == Origin::Default)
    );

    // "#key = value" is a key, "# text" is a comment.
    let is_key = |line: &str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric()))
    };
    let live: String = text
        .lines()
        .map(|line| {
            if is_key(line) {
                line.trim_start_matches('#')
            } else {
                line
            }
        })
        .flat_map(|line| [line, "\n"])
        .collect();

    let mut documented = BTreeSet::new();
    let value: Value = Figment::from(Toml::string(&live)).extract().unwrap();
    names("", value, &mut documented);
    let mut known = BTreeSet::new();
    names("", Value::serialize(Config::default()).unwrap(), &mut known);
    assert_eq!(documented, known);

    let loaded = load_text(&live).unwrap();
    let base = loaded.sources[0].parent().unwrap();
    let expected = Config {
        data_dir: base.join(Config::default().data_dir),
        ..Config::default()
    };
    assert_eq!(loaded.config, expected);
}

#[test]
fn valid_files_load_and_their_print_out_means_the_same() {
    for path in fixtures("valid") {
        let loaded = load_fixture(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let again = load_text(&loaded.to_string())
            .unwrap_or_else(|e| panic!("{}: {e}\n{loaded}", path.display()));
        let mut expected = loaded.config.clone();
        expected.session.admin_password = None;
        expected.session.server_password = None;
        assert_eq!(again.config, expected, "{}\n{loaded}", path.display());
    }
}

#[test]
fn what_a_small_team_might_write() {
    let path = &fixture("team");
    let Loaded {
        config,
        origins,
        sources,
    } = load_fixture(path).unwrap();
    assert_eq!(sources, std::slice::from_ref(path));
    assert_eq!(config.port, 6000);
    assert_eq!(config.timeout, Duration::from_secs(5));
    assert_eq!(config.bind, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
    assert_eq!(config.data_dir, path.with_file_name("sessions"));
    assert_eq!(config.session.upload, Upload::Anyone);
    assert_eq!(
        config.session.max_session,
        MemoryLimit::Size(ByteSize::gib(8))
    );
    assert!(config.session.admin_password.unwrap().matches(b"rosebud"));
    assert!(config.session.server_password.unwrap().matches(b"xanadu"));
    assert_eq!(config.log.level.directives(), "debug");
    let key = "session.upload".to_owned();
    assert_eq!(
        *origins.of("session.upload"),
        Origin::File {
            path: path.clone(),
            key
        }
    );
    assert_eq!(*origins.of("session.name"), Origin::Default);
}

#[test]
fn other_ways_to_write_values() {
    let config = load_fixture(&fixture("everything_odd")).unwrap().config;
    assert_eq!(config.timeout, Duration::from_secs(2));
    assert_eq!(config.port, 0);
    assert_eq!(
        config.log.level.directives(),
        "warn,multi_user_server::net=trace"
    );
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.session.name, "9-lives.of_a-cat");
    assert_eq!(config.session.server_password, None);
    assert_eq!(config.session.server_password_file, None);
    assert_eq!(config.session.max_node, ByteSize::kib(1));
    assert_eq!(
        config.session.max_session,
        MemoryLimit::Size(ByteSize::new(1_500_000_000))
    );
    assert_eq!(config.session.upload_stall, Duration::from_secs(90));
    assert_eq!(config.session.rights.in_flight, Duration::ZERO);
    assert_eq!(config.net.same_address, SameAddress::Require);
    assert_eq!(config.net.leave_delay, Duration::from_secs(1));
    assert_eq!(config.session.clients.ports(), 3);
    assert!(config.session.clients.framed());
    assert_eq!(config.session.newer_clients, NewerClients::Refuse);
    assert_eq!(config.session.idle_version.as_deref(), Some("0.9.9"));
    let globals = &config.session.extra_globals;
    assert_eq!(globals.len(), 2);
    assert_eq!((globals[1].module(), globals[1].name()), ("numpy", "dtype"));
    assert_eq!(config.net.min_rate, ByteSize::new(0));
    assert_eq!(config.net.unauthenticated_message, ByteSize::kib(1));
    assert_eq!(
        config.runtime.worker_threads,
        WorkerThreads::Auto(Auto::Auto)
    );
}

#[test]
fn invalid_files_are_refused_with_every_mistake() {
    for path in fixtures("invalid") {
        let error = load_fixture(&path).unwrap_err().to_string();
        let dir = format!("{}/", path.parent().unwrap().display());
        let error = error.replace(&dir, "") + "\n";
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        assert_eq!(error, expected, "in {}:\n{error}", path.display());
        for secret in ["sesame\"", "12345"] {
            assert!(!error.contains(secret), "{error}");
        }
    }
}

#[test]
fn limits_follow_the_memory() {
    let limits = |text: &str, memory| {
        let limits = load_text(text).unwrap().config.session.limits(memory);
        (limits.session, limits.node)
    };
    let gib = ByteSize::gib;
    assert_eq!(limits("[session]\nmax_session = '50%'", gib(100)).1, gib(2));
    let (session, node) = limits("", gib(1));
    assert_eq!(session, node);
    assert!(session < gib(1) && session > ByteSize::mib(600));
    // The default of max_node gives way without a word.
    let small = "[session]\nmax_session = '1 GiB'";
    assert_eq!(limits(small, gib(8)), (gib(1), gib(1)));
}

#[test]
fn silence_and_addresses() {
    let config = load_text("timeout = '1s'").unwrap().config;
    assert_eq!(config.silence(), Duration::from_secs(5));
    assert!(
        config
            .bind
            .iter()
            .all(|address| config.may_be_missing(*address))
    );
    let config = load_text("timeout = '7s'\nbind = ['::']").unwrap().config;
    assert_eq!(config.silence(), Duration::from_secs(7));
    assert!(!config.may_be_missing("::".parse().unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a file says, the answer is a configuration or a list of mistakes without the
    /// password in it.
    #[test]
    fn any_file_is_answered(at in 0_usize..600, len in 0_usize..8, junk in "\\PC{0,6}|[\\[\\]=\".#\n]{0,6}") {
        let team = fs::read_to_string(fixture("team")).unwrap();
        let characters: Vec<char> = team.chars().collect();
        let at = at.min(characters.len());
        let end = (at + len).min(characters.len());
        let text: String = characters[..at].iter().copied().chain(junk.chars())
            .chain(characters[end..].iter().copied()).collect();
        if let Err(errors) = load_text(&text) {
            let message = errors.to_string();
            prop_assert!(message.lines().count() > 1);
            prop_assert!(!message.contains("rosebud") && !message.contains("xanadu"), "{}", message);
        }
    }
}
