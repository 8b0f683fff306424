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
    for command in ["serve", "check-config", "print-config"] {
        assert!(words.contains(&command), "{out}");
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
