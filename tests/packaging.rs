//! What is handed out beside the program (units, quadlet, compose file, Containerfile) agrees with it:
//! the right binary, all its ports, and only variables it knows.

// The helpers beside the tests are tests too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{fs, path::Path};

use clap::Parser;
use multi_user_server::{
    cli::Cli,
    config::{Config, load_with},
};

const FILES: [&str; 4] = [
    "Containerfile",
    "config/compose.yaml",
    "config/quadlet/multi-user-server.container",
    "config/systemd/passwords.conf",
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines that aren't comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The values of `key = value` lines, as units have them.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let pairs = lines(unit).filter_map(|line| line.split_once('='));
    pairs
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect()
}

/// The variables of ours that a file sets, with their values.
fn variables(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in lines(text) {
        for (at, _) in line.match_indices("MULTI_USER_") {
            let rest = &line[at..];
            let end = rest.find(['=', ':']).unwrap();
            let value = rest[end + 1..].trim_start();
            let value = value.split_whitespace().next().unwrap();
            found.push((rest[..end].to_owned(), value.to_owned()));
        }
    }
    found
}

#[test]
fn the_program_knows_every_variable_that_is_set() {
    let dir = tempfile::tempdir().unwrap();
    for file in FILES {
        let variables = variables(&read(file));
        assert!(!variables.is_empty(), "{file}");
        let variables = variables.into_iter().map(|(name, value)| {
            if !name.ends_with("_FILE") {
                return (name, value);
            }
            // A secret, with a word of its own.
            let path = dir.path().join(&name);
            fs::write(&path, &name).unwrap();
            (name, path.to_str().unwrap().to_owned())
        });
        let cli = Cli::parse_from(["multi-user-server"]);
        if let Err(errors) = load_with(&cli.flags, variables, dir.path()) {
            panic!("{file}: {errors}");
        }
    }
}

#[test]
fn all_ports_are_opened_published_and_named() {
    let first = Config::default().port;
    let range = format!(
        "{first}-{}",
        first + Config::default().session.clients.ports() - 1
    );
    let container = read("config/quadlet/multi-user-server.container");
    let both = format!("{range}:{range}");
    assert_eq!(values(&container, "PublishPort"), [both.as_str()]);
    let compose = read("config/compose.yaml");
    assert!(lines(&compose).any(|line| line == format!("- \"{both}\"")));
    let image = read("Containerfile");
    assert!(lines(&image).any(|line| line == format!("EXPOSE {range}")));

    let roles = ["command", "subscriber", "publisher", "ttl"];
    for (role, port) in roles.into_iter().zip(first..) {
        // The first one goes by the name of the service.
        let name = match role {
            "command" => "multi-user-server".to_owned(),
            _ => format!("multi-user-server-{role}"),
        };
        let unit = read(&format!("config/systemd/{name}.socket"));
        assert_eq!(values(&unit, "ListenStream"), [port.to_string()], "{name}");
        assert_eq!(values(&unit, "FileDescriptorName"), [role], "{name}");
        assert_eq!(values(&unit, "BindIPv6Only"), ["both"], "{name}");
        assert_eq!(values(&unit, "Service"), ["multi-user-server.service"]);
        if role != "command" {
            let main = read("config/systemd/multi-user-server.socket");
            for key in ["Wants", "Also"] {
                let brought = values(&main, key)[0];
                assert!(brought.contains(&format!("{name}.socket")), "{key}");
            }
        }
    }
}

#[test]
fn everything_starts_the_program_as_somebody_without_rights() {
    let name = env!("CARGO_PKG_NAME");
    let service = read("config/systemd/multi-user-server.service");
    assert_eq!(
        values(&service, "ExecStart"),
        [format!("/usr/local/bin/{name}")]
    );
    assert_eq!(values(&service, "StateDirectory"), [name]);
    assert_eq!(values(&service, "DynamicUser"), ["yes"]);

    let image = read("Containerfile");
    let says = |wanted: &str| lines(&image).any(|line| line == wanted);
    assert!(says("FROM scratch"));
    assert!(says(&format!("COPY {name} /{name}")));
    assert!(says(&format!("ENTRYPOINT [\"/{name}\"]")));
    assert!(says("USER 10001:10001") && says("COPY --chown=10001:10001 data /data"));
    assert!(says("VOLUME /data") && says("STOPSIGNAL SIGTERM"));

    // There is no shell in the image, so the command has to be a list; and what the image is asked
    // when it is started by hand is what the service asks.
    let probe = format!("[\"/{name}\", \"probe\", \"--quiet\"]");
    assert!(says(&format!("CMD {probe}")));
    let container = read("config/quadlet/multi-user-server.container");
    assert_eq!(values(&container, "HealthCmd"), [probe]);
    assert_eq!(
        values(&container, "Image"),
        [format!("localhost/{name}:latest")]
    );
    let compose = read("config/compose.yaml");
    assert!(lines(&compose).any(|line| line == format!("image: {name}:latest")));
    for secret in values(&container, "Secret") {
        assert!(
            secret.ends_with("uid=10001,gid=10001,mode=0400"),
            "{secret}"
        );
    }
    for (file, at) in [
        ("config/compose.yaml", "/data"),
        ("config/quadlet/multi-user-server.container", "/data"),
    ] {
        assert!(lines(&read(file)).any(|line| line.ends_with(&format!(":{at}"))));
    }
}

/// Before anything is built, and in words.
#[cfg(unix)]
#[test]
fn scripts_say_what_is_wrong_with_their_arguments() {
    use std::os::unix::fs::PermissionsExt;

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (script, args, part) in [
        ("scripts/container", &["--tag"][..], "--tag needs a value"),
        ("scripts/container", &["--target"], "--target needs a value"),
        ("scripts/container", &["--target", "vax"], "no target vax"),
        ("scripts/container", &["--binary", "/nope"], "no file /nope"),
        ("scripts/package", &["--target"], "--target needs a value"),
        ("scripts/package", &["--target", "vax"], "no target vax"),
    ] {
        let output = std::process::Command::new(root.join(script))
            .args(args)
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{script} {args:?}: {error}");
        assert!(error.contains(part), "{script} {args:?}: {error}");
    }
    let runner = fs::metadata(root.join("tests/clients/run.py")).unwrap();
    assert_eq!(runner.permissions().mode() & 0o111, 0o111);
}
