//! The layers: which is stronger, where each is found, and that mistakes of all are reported.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use multi_user_server::config::{Config, LogFormat};

use super::{errors, load};

#[test]
fn flags_over_variables_over_file_over_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("multi-user-server.toml");
    fs::write(
        &file,
        "port = 6001\ntimeout = '1s'\n[log]\nformat = 'json'\nlevel = 'warn'\n",
    )
    .unwrap();
    let flags = ["-p", "6003", "--bind", "::1", "--bind", "127.0.0.1"];
    let env = [
        ("MULTI_USER_PORT", "6002"),
        ("MULTI_USER_TIMEOUT", "1500"),
        ("MULTI_USER_LOG__LEVEL", "WARNING"),
        ("MULTI_USER_SESSION__CLIENTS", "three-ports, four-ports"),
        ("MULTI_USER_BIND", "0.0.0.0"),
        (
            "MULTI_USER_SESSION__EXTRA_GLOBALS",
            "numpy.dtype, mathutils.Vector",
        ),
        ("MULTI_USER_SESSION__MAX_NODES", ""),
    ];
    let loaded = load(dir.path(), &flags, &env).unwrap();
    let config = &loaded.config;
    assert_eq!(config.port, 6003);
    assert_eq!(config.bind.len(), 2);
    assert_eq!(config.timeout, Duration::from_millis(1500));
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(config.session.clients.zmtp() && !config.session.clients.framed());
    let globals = config.session.extra_globals.iter().map(ToString::to_string);
    assert!(globals.eq(["numpy.dtype", "mathutils.Vector"]));
    assert_eq!(
        config.session.max_nodes,
        Config::default().session.max_nodes
    );
    assert_eq!(loaded.sources, std::slice::from_ref(&file));

    let text = loaded.to_string();
    let origins = [
        "port = 6003 # flag --port".to_owned(),
        "bind = [\"::1\", \"127.0.0.1\"] # flag --bind".to_owned(),
        "timeout = \"1s 500ms\" # environment variable MULTI_USER_TIMEOUT".to_owned(),
        format!("format = \"json\" # {}: log.format", file.display()),
        "level = \"warn\" # environment variable MULTI_USER_LOG__LEVEL".to_owned(),
        "max_nodes = 1000000 # default".to_owned(),
        "# admin_password = \"\" # default: generated at the first start".to_owned(),
        "# server_password = \"\" # default: none".to_owned(),
    ];
    for line in origins {
        assert!(
            text.lines().any(|printed| printed == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn mistakes_of_all_layers_are_reported_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("multi-user-server.toml");
    fs::write(&file, "port = 'x'\n").unwrap();
    let flags = ["--port", "y", "--log-format", "xml", "--bind", "nowhere"];
    let env = [
        ("MULTI_USER_PORT", "z"),
        ("MULTI_USER_ADMIN_PASSWORD", "pixie"),
    ];
    let all = errors(load(dir.path(), &flags, &env));
    let starts = [
        format!("{}: port: \"x\"", file.display()),
        "environment variable MULTI_USER_ADMIN_PASSWORD: unknown, did you mean \
         MULTI_USER_SESSION__ADMIN_PASSWORD?"
            .to_owned(),
        "environment variable MULTI_USER_PORT: \"z\"".to_owned(),
        "flag --bind: [\"nowhere\"] (\"nowhere\" is no IP address): expected".to_owned(),
        "flag --port: \"y\"".to_owned(),
        "flag --log-format: \"xml\": expected \"human\" or \"json\"".to_owned(),
    ];
    assert_eq!(all.len(), starts.len(), "{all:#?}");
    for (error, start) in all.iter().zip(&starts) {
        assert!(
            error.starts_with(start),
            "{error}\ndoesn't start with\n{start}"
        );
    }
}

/// A list is written with commas in variables and flags, and that is what they are told.
#[test]
fn lists_in_variables_and_flags_have_commas() {
    let addresses =
        "expected different IP addresses with commas between them, such as 127.0.0.1,::1";
    let clients = "expected different ones of these, with commas between them: four-ports, \
                   three-ports, one-port";
    let globals = "expected different Python names with commas between them, such as \
                   numpy.core.multiarray.scalar";
    let env = [
        ("MULTI_USER_BIND", "[\"127.0.0.1\"]"),
        ("MULTI_USER_SESSION__CLIENTS", "[\"one-port\"]"),
        (
            "MULTI_USER_SESSION__EXTRA_GLOBALS",
            "[\"numpy.core.multiarray.scalar\"]",
        ),
    ];
    let nowhere = Path::new("/nowhere");
    let all = errors(load(nowhere, &["--bind", "[\"127.0.0.1\"]"], &env));
    let ends = [addresses, clients, globals, addresses];
    assert_eq!(all.len(), ends.len(), "{all:#?}");
    for (error, end) in all.iter().zip(ends) {
        assert!(error.ends_with(end), "{error}\ndoesn't end with\n{end}");
    }
    // What they say is taken.
    let env = [
        ("MULTI_USER_BIND", "127.0.0.1,::1"),
        ("MULTI_USER_SESSION__CLIENTS", "four-ports, one-port"),
        (
            "MULTI_USER_SESSION__EXTRA_GLOBALS",
            "numpy.core.multiarray.scalar",
        ),
    ];
    assert_eq!(load(nowhere, &[], &env).unwrap().config.bind.len(), 2);
}

#[test]
fn variables_that_are_not_meant_for_us() {
    let nowhere = Path::new("/nowhere");
    let injected = [
        ("MULTI_USER_SERVER_SERVICE_HOST", "10.0.0.1"),
        ("MULTI_USER_SERVER_SERVICE_PORT", "5555"),
        ("MULTI_USER_PORT_5555_TCP_ADDR", "10.0.0.1"),
        ("PORT", "80"),
        ("multi_user_port", "81"),
    ];
    assert_eq!(load(nowhere, &[], &injected).unwrap().config.port, 5555);
    let twice = [("MULTI_USER_PORT", "6000"), ("MULTI_USER_port", "6001")];
    assert_eq!(
        errors(load(nowhere, &[], &twice)),
        [
            "environment variable MULTI_USER_PORT and environment variable MULTI_USER_port mean the \
          same: keep one"
        ]
    );
}

#[test]
fn the_file_is_found_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("one.toml"), "port = 6001").unwrap();
    fs::write(path("two.toml"), "\u{feff}port = 6002").unwrap();
    let port = |flags: &[&str], env: &[(&str, &str)]| {
        load(dir.path(), flags, env).map(|loaded| loaded.config.port)
    };
    let variable = [("MULTI_USER_CONFIG", "two.toml")];
    assert_eq!(port(&[], &[]).unwrap(), 5555);
    assert_eq!(port(&[], &variable).unwrap(), 6002);
    assert_eq!(port(&["--config", "one.toml"], &variable).unwrap(), 6001);
    fs::write(path("multi-user-server.toml"), "port = 6000").unwrap();
    assert_eq!(port(&[], &[]).unwrap(), 6000);
    assert_eq!(port(&[], &variable).unwrap(), 6002);

    let missing = errors(load(dir.path(), &["--config", "three.toml"], &[]));
    let start = format!(
        "{}: can't read this configuration file (given by flag --config):",
        path("three.toml").display()
    );
    assert!(missing[0].starts_with(&start), "{missing:?}");
    // A file that is there but can't be read is not passed over.
    fs::remove_file(path("multi-user-server.toml")).unwrap();
    fs::create_dir(path("multi-user-server.toml")).unwrap();
    assert!(errors(load(dir.path(), &[], &[]))[0].contains("can't read"));
}

#[test]
fn where_data_goes_by_default() {
    let cwd = Path::new("/start/here");
    let data_dir = |env: &[(&str, &str)]| {
        let loaded = load(cwd, &[], env).unwrap();
        (
            loaded.config.data_dir,
            loaded.origins.of("data_dir").to_string(),
        )
    };
    let state = ("STATE_DIRECTORY", "/var/lib/mus:/var/lib/other");
    let xdg = ("XDG_DATA_HOME", "/data");
    let home = ("HOME", "/home/ann");
    for (env, dir, origin) in [
        (
            &[state, xdg, home][..],
            "/var/lib/mus",
            "default, from $STATE_DIRECTORY",
        ),
        (
            &[xdg, home],
            "/data/multi-user-server",
            "default, from $XDG_DATA_HOME",
        ),
        (
            &[home],
            "/home/ann/.local/share/multi-user-server",
            "default, from $HOME",
        ),
        (
            &[("XDG_DATA_HOME", "data"), ("HOME", "/")],
            "/start/here/multi-user-data",
            "default",
        ),
        (&[], "/start/here/multi-user-data", "default"),
        (
            &[home, ("MULTI_USER_DATA_DIR", "mine")],
            "/start/here/mine",
            "environment variable MULTI_USER_DATA_DIR",
        ),
    ] {
        assert_eq!(data_dir(env), (PathBuf::from(dir), origin.to_owned()));
    }
}

/// The variables of the images people know count in a container, and nowhere else.
#[test]
fn short_variables_count_in_containers_only() {
    let dir = tempfile::tempdir().unwrap();
    let short = [
        ("port", "6001"),
        ("PASSWORD", "sesame"),
        ("timeout", "1000"),
        ("log-level", "DEBUG"),
        ("LOG_FILE", "server.log"),
        ("server_password", "None"),
    ];
    let elsewhere = load(dir.path(), &[], &short).unwrap();
    assert_eq!(elsewhere.config.port, Config::default().port);

    let inside: Vec<_> = short
        .into_iter()
        .chain([("MULTI_USER_CONTAINER", "1")])
        .collect();
    let loaded = load(dir.path(), &[], &inside).unwrap();
    let config = &loaded.config;
    assert_eq!(config.port, 6001);
    assert_eq!(config.timeout, Duration::from_secs(1));
    let admin = config.session.admin_password.as_ref().unwrap();
    assert_eq!(admin.reveal(), "sesame");
    assert_eq!(config.session.server_password, None);
    assert_eq!(config.log.file, Some(dir.path().join("server.log")));
    assert_eq!(config.data_dir, Path::new("/data"));
    assert!(
        loaded
            .to_string()
            .contains("port = 6001 # environment variable port")
    );

    // Ours are stronger, flags too; and empty ones are not set.
    let more = [
        ("MULTI_USER_PORT", "6002"),
        ("DATA_DIR", "/else"),
        ("password", ""),
    ];
    let env = [&inside[..], &more].concat();
    let config = load(dir.path(), &["-t", "3s"], &env).unwrap().config;
    assert_eq!(config.port, 6002);
    assert_eq!(config.timeout, Duration::from_secs(3));
    assert_eq!(config.data_dir, Path::new("/else"));

    // The same twice is no mistake; two that differ are one.
    let same = [&inside[..], &[("PORT", "6001")]].concat();
    assert_eq!(load(dir.path(), &[], &same).unwrap().config.port, 6001);
    let different = [&inside[..], &[("admin_password", "simsalabim")]].concat();
    let error = errors(load(dir.path(), &[], &different)).join("\n");
    assert!(
        error.contains("PASSWORD") && error.contains("admin_password"),
        "{error}"
    );
    assert!(
        !error.contains("sesame") && !error.contains("simsalabim"),
        "{error}"
    );
    let wrong = [("MULTI_USER_CONTAINER", "1"), ("port", "many")];
    let error = errors(load(dir.path(), &[], &wrong)).join("\n");
    assert!(
        error.contains("environment variable port: \"many\""),
        "{error}"
    );
}

#[test]
fn a_file_for_the_log_may_be_switched_off_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("multi-user-server.toml"),
        "log.file = 'a.log'",
    )
    .unwrap();
    let loaded = load(dir.path(), &[], &[]).unwrap();
    assert_eq!(loaded.config.log.file, Some(dir.path().join("a.log")));
    let loaded = load(dir.path(), &["--log-file", ""], &[]).unwrap();
    assert_eq!(loaded.config.log.file, None);
}
