//! The files in `config/` that people copy: each is right, says nothing that is so by default, and
//! keeps what it promises.

use std::{
    fs,
    path::{Path, PathBuf},
};

use multi_user_server::config::{Config, Loaded, Origin, Upload};

use super::load;

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// Loads a preset as somebody would who copied it and wrote the password files it names.
fn preset(name: &str) -> Loaded {
    let copied = tempfile::tempdir().unwrap();
    fs::copy(
        dir().join(name),
        copied.path().join("multi-user-server.toml"),
    )
    .unwrap();
    fs::write(copied.path().join("server-password"), "xanadu\n").unwrap();
    load(copied.path(), &[], &[]).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn names() -> Vec<String> {
    let files = fs::read_dir(dir()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".toml")).collect()
}

#[test]
fn presets_load_and_set_nothing_to_its_default() {
    let names = names();
    assert!(names.len() >= 4, "{names:?}");
    let value = |line: &str| line.split(" # ").next().unwrap().to_owned();
    let defaults = load(Path::new("/nowhere"), &[], &[]).unwrap().to_string();
    let defaults: Vec<String> = defaults.lines().map(value).collect();
    for name in names {
        let loaded = preset(&name);
        let text = loaded.to_string();
        // A password that was read has the origin of the key that names its file.
        let is_set = |(key, origin): &(&str, &Origin)| matches!(origin, Origin::File { key: at, .. } if at == key);
        let set = loaded.origins.iter().filter(is_set);
        let set: Vec<&str> = set.map(|(key, _)| key).collect();
        assert_eq!(set.is_empty(), name == "server.toml", "{name} sets {set:?}");
        for key in set {
            let end = format!("multi-user-server.toml: {key}");
            let line = text.lines().find(|line| line.ends_with(&end)).unwrap();
            let line = value(line);
            assert!(!defaults.contains(&line), "{name}: {line} is the default");
        }
    }
}

#[test]
fn in_a_local_network_anybody_may_join_and_begin() {
    let config = preset("lan.toml").config;
    assert!(config.session.server_password.is_none());
    assert_eq!(config.session.upload, Upload::Anyone);
    assert!(config.silence() > Config::default().silence());
    assert_eq!(config.bind, Config::default().bind);
}

#[test]
fn on_the_internet_there_is_a_password_and_less_room_for_strangers() {
    let (config, usual) = (preset("internet.toml").config, Config::default());
    assert!(config.session.server_password.unwrap().matches(b"xanadu"));
    assert_eq!(config.session.upload, Upload::Admin);
    assert!(config.timeout > usual.timeout && config.net.grace > usual.net.grace);
    assert!(config.session.max_users < usual.session.max_users);
    assert!(config.session.max_node < usual.session.max_node);

    let (net, usual) = (config.net, usual.net);
    assert!(net.max_connections < usual.max_connections);
    assert!(net.max_unauthenticated < usual.max_unauthenticated);
    assert!(net.max_per_address < usual.max_per_address);
    assert!(net.max_unauthenticated_per_address < usual.max_unauthenticated_per_address);
    assert!(net.connections_per_minute < usual.connections_per_minute);
    assert!(net.connections_burst < usual.connections_burst);
    assert!(net.logins_per_minute < usual.logins_per_minute);
    assert!(net.logins_burst < usual.logins_burst);
    assert!(net.unauthenticated_total < usual.unauthenticated_total);
    // All artists may sit behind one address, and come at once.
    let links = config.session.max_users * 4;
    assert!(net.max_per_address >= links && net.max_unauthenticated_per_address >= links);
    assert!(net.connections_burst.get() as usize >= links);
    assert!(net.logins_burst.get() as usize >= config.session.max_users);
}

#[test]
fn in_a_container_data_is_on_the_volume() {
    let config = preset("container.toml").config;
    assert_eq!(config.data_dir, Path::new("/data"));
    assert!(config.timeout > Config::default().timeout);
}
