//! Passwords: as text or as file, which layer gives them, and that nothing shows them.

use std::{fs, path::Path};

use clap::Parser;
use multi_user_server::{
    cli::Cli,
    config::{Origin, load_with},
};

use super::{errors, load, load_text};

#[test]
fn passwords_from_files() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    let flag = |name: &str| load(dir.path(), &["--admin-password-file", name], &[]);
    for (name, bytes) in [
        ("lf", &b"open sesame\n"[..]),
        ("crlf", b"open sesame\r\n"),
        ("bare", b"open sesame"),
        // As editors for Windows begin a file.
        ("marked", b"\xef\xbb\xbfopen sesame\r\n"),
    ] {
        write(name, bytes);
        let loaded = flag(name).unwrap();
        let session = &loaded.config.session;
        assert!(
            session
                .admin_password
                .as_ref()
                .unwrap()
                .matches(b"open sesame"),
            "{name}"
        );
        assert_eq!(session.admin_password_file, Some(dir.path().join(name)));
        assert_eq!(loaded.sources, [dir.path().join(name)]);
        let origin = Origin::Flag {
            flag: "--admin-password-file",
        };
        assert_eq!(*loaded.origins.of("session.admin_password"), origin);
    }
    let longest = "x".repeat(1024);
    write("longest", format!("\u{feff}{longest}\r\n").as_bytes());
    let loaded = flag("longest").unwrap();
    let password = loaded.config.session.admin_password.unwrap();
    assert!(password.matches(longest.as_bytes()));
    write("server", b"\xef\xbb\xbfopen sesame");
    let loaded = load(dir.path(), &["--server-password-file", "server"], &[]).unwrap();
    let password = loaded.config.session.server_password.unwrap();
    assert!(password.matches(b"open sesame"));

    write("too_long", &b"x".repeat(1025));
    write("empty", b"\n");
    write("only_marked", b"\xef\xbb\xbf\n");
    write("two_lines", b"open\nsesame\n");
    write("binary", b"\xff\xfe");
    write("none", b"None\n");
    for (name, why) in [
        ("too_long", "it is too long"),
        ("empty", "it is empty"),
        ("only_marked", "it is empty"),
        (
            "two_lines",
            "it contains a line break or another control character",
        ),
        ("binary", "it is not UTF-8 text"),
        (
            "none",
            "clients without a password may send \"None\": take another",
        ),
        ("missing", "No such file"),
        (".", "directory"),
    ] {
        let errors = errors(flag(name));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("flag --admin-password-file: the password file /"));
        assert!(errors[0].contains(why), "{errors:?}");
    }
}

#[test]
fn the_stronger_layer_gives_the_password_whatever_its_form() {
    let dir = tempfile::tempdir().unwrap();
    let server = |file: &str, env: &[(&str, &str)], flags: &[&str]| {
        fs::write(dir.path().join("multi-user-server.toml"), file).unwrap();
        let config = load(dir.path(), flags, env).unwrap().config;
        config
            .session
            .server_password
            .map(|secret| secret.reveal().to_owned())
    };
    fs::write(dir.path().join("pw"), "from file").unwrap();
    let text = "[session]\nserver_password = 'text'";
    let file = "[session]\nserver_password_file = 'pw'\nserver_password = ''";
    let as_text = [("MULTI_USER_SESSION__SERVER_PASSWORD", "007")];
    let as_file = [("MULTI_USER_SESSION__SERVER_PASSWORD_FILE", "pw")];
    let unset = [("MULTI_USER_SESSION__SERVER_PASSWORD", "")];
    let none = [("MULTI_USER_SESSION__SERVER_PASSWORD", "None")];
    let some = |text: &str| Some(text.to_owned());

    assert_eq!(server(text, &[], &[]), some("text"));
    assert_eq!(server(file, &[], &[]), some("from file"));
    assert_eq!(server(text, &as_file, &[]), some("from file"));
    assert_eq!(server(file, &as_text, &[]), some("007"));
    assert_eq!(
        server(file, &as_text, &["--server-password", "flag"]),
        some("flag")
    );
    // An empty variable must not open a session; asking for it does.
    assert_eq!(server(text, &unset, &[]), some("text"));
    assert_eq!(server(file, &unset, &[]), some("from file"));
    assert_eq!(server(file, &none, &[]), None);
    assert_eq!(server(text, &as_file, &["--server-password", ""]), None);
    assert_eq!(server(text, &[], &["--server-password", "None"]), None);
    assert_eq!(server(text, &[], &["--server-password-file", ""]), None);
}

#[test]
fn nothing_shows_a_password() {
    let flags = [
        "multi-user-server",
        "--admin-password",
        "pixie",
        "--server-password",
        "dust",
    ];
    let cli = Cli::try_parse_from(flags).unwrap();
    let loaded = load_with(&cli.flags, std::iter::empty(), Path::new("/nowhere")).unwrap();
    assert!(
        loaded
            .config
            .session
            .admin_password
            .as_ref()
            .unwrap()
            .matches(b"pixie")
    );
    let text = format!("{cli:?} {loaded:?} {loaded}");
    assert!(!text.contains("pixie") && !text.contains("dust"), "{text}");
    assert!(
        text.contains("# admin_password = \"********\" # flag --admin-password"),
        "{text}"
    );

    let errors = errors(load_text("[session]\nadmin_password = \"pixie\u{1}\"\n"));
    assert!(!errors[0].contains("pixie"), "{errors:?}");
}
