//! The program as people start it: subcommands, flags, exit status and output.

// The helpers beside the tests are tests too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// Runs the program in `dir` with these arguments and nothing in its environment.
fn run(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_multi-user-server"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn check_config_says_ok_and_what_it_read() {
    let dir = tempfile::tempdir().unwrap();
    let (status, out, err) = run(dir.path(), &["check-config"], &[]);
    assert_eq!(
        (status, out.as_str(), err.as_str()),
        (0, "ok (no configuration file)\n", "")
    );

    fs::write(dir.path().join("pw"), "sesame").unwrap();
    fs::write(
        dir.path().join("a.toml"),
        "[session]\nadmin_password_file = 'pw'",
    )
    .unwrap();
    let (status, out, err) = run(dir.path(), &["check-config", "--config", "a.toml"], &[]);
    // The system may know the directory by another name than we do.
    let dir = dir.path().canonicalize().unwrap();
    let dir = dir.display();
    assert_eq!(
        (status, out, err),
        (0, format!("ok ({dir}/a.toml, {dir}/pw)\n"), String::new())
    );
}

/// `… | head`, which closes the pipe when it has seen enough.
#[test]
fn who_has_read_enough_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["completions", "bash"][..], &["man"], &["print-config"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_multi-user-server"))
            .args(args)
            .current_dir(&dir)
            .env_clear()
            .stdout(writer)
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), err.as_str()),
            (Some(0), ""),
            "{args:?}"
        );
    }
}

#[test]
fn check_config_lists_all_mistakes_and_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("multi-user-server.toml"), "prot = 1").unwrap();
    let env = [("MULTI_USER_SESSION__UPLOAD", "all")];
    for command in ["check-config", "print-config", "serve"] {
        let (status, out, err) = run(dir.path(), &["--port", "high", command], &env);
        assert_eq!((status, out.as_str()), (2, ""), "{err}");
        assert!(
            err.starts_with("the configuration has 3 mistakes:\n"),
            "{err}"
        );
        for part in [
            "multi-user-server.toml: prot: unknown, did you mean port?",
            "MULTI_USER_SESSION__UPLOAD: \"all\": expected \"admin\" or \"anyone\"",
            "flag --port: \"high\": expected a whole number from 1 to 65532",
        ] {
            assert!(err.contains(part), "{part} is not in\n{err}");
        }
    }
}

/// Such a list cannot be opened, whoever has the ports.
#[test]
fn an_address_that_is_part_of_another_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (all, part) in [("0.0.0.0", "127.0.0.1"), ("::", "::1")] {
        let expected = format!("({part} is part of {all}, leave it out)");
        for command in ["check-config", "serve"] {
            for (first, second) in [(all, part), (part, all)] {
                let args = [command, "--bind", first, "--bind", second];
                let (status, out, err) = run(dir.path(), &args, &[]);
                assert_eq!((status, out.as_str()), (2, ""), "{err}");
                assert!(err.contains(&expected), "{expected} is not in\n{err}");
            }
        }
    }
    // `::` is opened for IPv6 alone.
    for bind in ["0.0.0.0,::", "::,127.0.0.1", "0.0.0.0,::1"] {
        let (status, _, err) = run(dir.path(), &["check-config", "--bind", bind], &[]);
        assert_eq!((status, err.as_str()), (0, ""), "{bind}");
    }
}

#[test]
fn print_config_shows_values_origins_and_no_password() {
    let dir = tempfile::tempdir().unwrap();
    let env = [
        ("MULTI_USER_SESSION__ADMIN_PASSWORD", "sesame"),
        ("HOME", "/home/ann"),
    ];
    // Flags work on both sides of the subcommand.
    let args = ["-p", "6000", "print-config", "-t", "1000", "-l", "DEBUG"];
    let (status, out, err) = run(dir.path(), &args, &env);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(!out.contains("sesame"), "{out}");
    for line in [
        "port = 6000 # flag --port",
        "timeout = \"1s\" # flag --timeout",
        "level = \"debug\" # flag --log-level",
        "data_dir = \"/home/ann/.local/share/multi-user-server\" # default, from $HOME",
        "# admin_password = \"********\" # environment variable MULTI_USER_SESSION__ADMIN_PASSWORD",
        "[session.rights]",
        "in_flight = \"10s\" # default",
    ] {
        assert!(
            out.lines().any(|printed| printed == line),
            "{line} is not in\n{out}"
        );
    }
}

#[test]
fn help_names_the_variable_of_every_flag() {
    let (status, out, _) = run(Path::new("/"), &["--help"], &[]);
    assert_eq!(status, 0);
    // Wrapping may have broken lines anywhere.
    let words: Vec<&str> = out.split_whitespace().collect();
    let text = words.join(" ");
    for (flag, variable) in [
        ("--config <FILE>", "MULTI_USER_CONFIG"),
        ("--bind <ADDRESS>", "MULTI_USER_BIND"),
        ("-p, --port <PORT>", "MULTI_USER_PORT"),
        ("-t, --timeout <DURATION>", "MULTI_USER_TIMEOUT"),
        (
            "--admin-password <PASSWORD>",
            "MULTI_USER_SESSION__ADMIN_PASSWORD",
        ),
        (
            "--admin-password-file <FILE>",
            "MULTI_USER_SESSION__ADMIN_PASSWORD_FILE",
        ),
        (
            "--server-password <PASSWORD>",
            "MULTI_USER_SESSION__SERVER_PASSWORD",
        ),
        (
            "--server-password-file <FILE>",
            "MULTI_USER_SESSION__SERVER_PASSWORD_FILE",
        ),
        ("--data-dir <DIR>", "MULTI_USER_DATA_DIR"),
        ("-l, --log-level <LEVEL>", "MULTI_USER_LOG__LEVEL"),
        ("--log-format <FORMAT>", "MULTI_USER_LOG__FORMAT"),
    ] {
        let help = text
            .split(flag)
            .nth(1)
            .unwrap_or_else(|| panic!("no {flag} in\n{out}"));
        let help = help.split(" --").next().unwrap();
        assert!(
            help.contains(&format!("[env: {variable}]")),
            "{flag}: {help}"
        );
    }
    for command in ["serve", "check-config", "print-config", "probe"] {
        assert!(words.contains(&command), "{out}");
    }
}

/// Where data goes by default is told in three places, and done in a fourth.
#[test]
fn help_and_settings_tell_where_data_goes_as_it_does() {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = one_line(&run(Path::new("/"), &["--help"], &[]).1);
    let help = help.split("--data-dir <DIR>").nth(1).unwrap();
    let help = help.split(" --").next().unwrap();
    let settings = include_str!("../config/server.toml").replace('#', "");
    let settings = one_line(&settings);
    let settings = settings.split("If this key is not set:").nth(1).unwrap();
    let places = [
        "$STATE_DIRECTORY",
        "$XDG_DATA_HOME/multi-user-server",
        "~/.local/share/multi-user-server",
        "multi-user-data",
    ];
    for text in [help, settings] {
        let found = places.map(|place| text.find(place));
        assert!(found.iter().all(Option::is_some), "{found:?} in {text}");
        assert!(found.is_sorted(), "{found:?} in {text}");
    }

    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().canonicalize().unwrap();
    let all = [
        ("STATE_DIRECTORY", "/state"),
        ("XDG_DATA_HOME", "/xdg"),
        ("HOME", "/home/ann"),
    ];
    let expected = [
        "/state".to_owned(),
        "/xdg/multi-user-server".to_owned(),
        "/home/ann/.local/share/multi-user-server".to_owned(),
        format!("{}/multi-user-data", here.display()),
    ];
    for (set, place) in expected.iter().enumerate() {
        let out = run(&here, &["print-config"], &all[set..]).1;
        let line = format!("data_dir = \"{place}\" # default");
        assert!(out.contains(&line), "{line} is not in\n{out}");
    }
}

#[test]
fn version_and_unknown_flags() {
    let (status, out, _) = run(Path::new("/"), &["--version"], &[]);
    assert_eq!(
        (status, out),
        (
            0,
            format!("multi-user-server {}\n", env!("CARGO_PKG_VERSION"))
        )
    );
    let (status, _, err) = run(Path::new("/"), &["--prot", "1"], &[]);
    assert_eq!(status, 2);
    assert!(err.contains("--prot") && err.contains("--port"), "{err}");
    let (status, _, err) = run(Path::new("/"), &["check-confg"], &[]);
    assert_eq!(status, 2);
    assert!(err.contains("check-config"), "{err}");
}

/// The lines with which people and scripts started the original, up to the newest.
#[test]
fn the_originals_command_lines_are_understood() {
    let dir = tempfile::tempdir().unwrap();
    let lines = [
        "-p 6100 -t 1000 -pwd admin1 --attached",
        "-p 6100 -pwd=admin1 -t 1000 -l DEBUG -lf server.log",
        "--port 6100 --password admin1 --timeout 1000 --log-level INFO --log-file server.log",
        "-apwd admin1 -spwd None -p 6100 -t 1000 -l INFO -lf server.log",
        "--admin-password admin1 --server-password  -p 6100 -t 1000",
    ];
    for line in lines {
        let args: Vec<_> = ["print-config"]
            .into_iter()
            .chain(line.split(' '))
            .collect();
        let (status, out, err) = run(dir.path(), &args, &[]);
        assert_eq!((status, err.as_str()), (0, ""), "{line}");
        for part in [
            "port = 6100 # flag --port",
            "timeout = \"1s\" # flag --timeout",
            "# admin_password = \"********\" # flag --admin-password",
        ] {
            assert!(out.contains(part), "{line}: {part} is not in\n{out}");
        }
        assert!(!out.contains("# server_password = \"***"), "{line}:\n{out}");
        let attached = format!("attached = {}", line.contains("--attached"));
        assert!(out.contains(&attached), "{line}:\n{out}");
        assert_eq!(
            out.contains("server.log\" # flag"),
            line.contains("server.log"),
            "{out}"
        );
    }
    let (status, _, err) = run(dir.path(), &["-pwd"], &[]);
    assert_eq!(status, 2, "{err}");
}

#[test]
fn the_admin_password_is_shown_and_changed() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().to_str().unwrap();
    let env = [("MULTI_USER_DATA_DIR", home)];
    let (status, first, err) = run(dir.path(), &["admin-password"], &env);
    assert_eq!(status, 0);
    // Perhaps it is not the directory that was meant.
    assert!(
        err.contains("there was none") && err.contains(home),
        "{err}"
    );
    assert!(first.trim().len() >= 16, "{first}");
    let again = run(dir.path(), &["admin-password"], &env);
    assert_eq!(again, (0, first.clone(), String::new()));

    let (status, second, err) = run(dir.path(), &["admin-password", "--new"], &env);
    assert_eq!(status, 0, "{err}");
    assert!(err.contains("takes it at its next start"), "{err}");
    assert_ne!(second, first);
    let again = run(dir.path(), &["admin-password"], &env);
    assert_eq!(again, (0, second.clone(), String::new()));

    let typed = |text: &str| {
        fs::write(dir.path().join("typed"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_multi-user-server"));
        let command = command
            .args(["admin-password", "--set"])
            .env_clear()
            .envs(env);
        command.stdin(fs::File::open(dir.path().join("typed")).unwrap());
        command.output().unwrap().status.code().unwrap()
    };
    assert_eq!(typed("open sesame\n"), 0);
    assert_eq!(
        run(dir.path(), &["admin-password"], &env).1,
        "open sesame\n"
    );
    for unfit in ["", "None\n", "a\u{7}b\n"] {
        assert_eq!(typed(unfit), 1, "{unfit:?}");
    }
    assert_eq!(
        run(dir.path(), &["admin-password"], &env).1,
        "open sesame\n"
    );

    // Neither an editor's nor a shell's byte order mark is part of it.
    assert_eq!(typed("\u{feff}mutabor\r\n"), 0);
    assert_eq!(run(dir.path(), &["admin-password"], &env).1, "mutabor\n");
    let kept = dir.path().join("admin-password");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "mutabor\n");
    fs::write(&kept, "\u{feff}simsalabim\r\n").unwrap();
    assert_eq!(run(dir.path(), &["admin-password"], &env).1, "simsalabim\n");

    // One that is configured is shown, and changed elsewhere.
    let flags = ["admin-password", "--new", "-apwd", "simsalabim"];
    let (status, out, err) = run(dir.path(), &flags, &env);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("comes from flag --admin-password"), "{err}");
    let flags = ["admin-password", "-apwd", "simsalabim"];
    assert_eq!(run(dir.path(), &flags, &env).1, "simsalabim\n");
}

/// What the system says is said once.
#[test]
fn causes_are_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("admin-password")).unwrap();
    fs::write(dir.path().join("sessions"), "").unwrap();
    let env = [("MULTI_USER_DATA_DIR", dir.path().to_str().unwrap())];
    for args in [&["admin-password"][..], &["session", "list"]] {
        let (status, _, err) = run(dir.path(), args, &env);
        assert_eq!(status, 1, "{err}");
        assert_eq!(err.matches("(os error ").count(), 1, "{err}");
    }
}

/// Whatever is to be done there, and not with words about what would be in it.
#[test]
fn a_file_in_the_place_of_the_data_directory_is_said() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    for place in ["file", "file/data"] {
        let data = dir.path().join(place);
        let data = data.to_str().unwrap();
        let wanted = format!("where a directory has to be: name another: data_dir = \"{data}\"");
        for args in [
            &["check-config"][..],
            &["session", "list"],
            &["admin-password"],
            &[],
        ] {
            let (status, _, err) = run(dir.path(), args, &[("MULTI_USER_DATA_DIR", data)]);
            assert_eq!(status, 2, "{args:?}: {err}");
            assert!(err.contains(&wanted), "{args:?}: {err}");
        }
    }
}

/// Not only the configured one: the kept one, too, must not be what everybody has who may join.
#[test]
fn a_server_password_that_is_the_kept_admin_password_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let env = [
        ("MULTI_USER_DATA_DIR", data),
        ("MULTI_USER_SESSION__SERVER_PASSWORD", "sesame"),
    ];
    assert_eq!(run(dir.path(), &["check-config"], &env).0, 0);
    fs::write(dir.path().join("admin-password"), "sesame\n").unwrap();
    let (status, out, err) = run(dir.path(), &["check-config"], &env);
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(err.contains("both passwords are the same"), "{err}");
    // Where another one is configured the kept one is nobody's.
    let other = ["check-config", "-apwd", "simsalabim"];
    assert_eq!(run(dir.path(), &other, &env).0, 0);

    fs::write(dir.path().join("admin-password"), "before\n").unwrap();
    fs::write(dir.path().join("typed"), "sesame\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_multi-user-server"))
        .args(["admin-password", "--set"])
        .env_clear()
        .envs(env)
        .stdin(fs::File::open(dir.path().join("typed")).unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let kept = fs::read_to_string(dir.path().join("admin-password")).unwrap();
    assert_eq!(kept, "before\n");
}

#[test]
fn completions_and_the_manual_are_printed_whatever_the_configuration_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("multi-user-server.toml"), "prot = 1").unwrap();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let (status, out, err) = run(dir.path(), &["completions", shell], &[]);
        assert_eq!((status, err.as_str()), (0, ""));
        assert!(
            out.contains("admin-password") && out.contains("check-config"),
            "{out}"
        );
    }
    let (status, out, err) = run(dir.path(), &["man"], &[]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains(".TH multi-user-server"), "{out}");
    assert!(out.contains("check\\-config"), "{out}");
}
