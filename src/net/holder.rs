//! Who has a port that cannot be opened, as far as the system tells: for the message about it.

/// What is said when nothing is known.
const SOMEBODY: &str = "another program";

/// The program that listens on this port, in words.
#[cfg(target_os = "linux")]
pub(super) fn holder(port: u16) -> String {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let sockets: Vec<String> = tables
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    process_with(&sockets).unwrap_or_else(|| SOMEBODY.to_owned())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn holder(_: u16) -> String {
    SOMEBODY.to_owned()
}

/// The sockets that listen on a port, as links in /proc name them, from a table of connections.
#[cfg(target_os = "linux")]
fn listening(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (_, local_port) = local.rsplit_once(':')?;
        let fits = u16::from_str_radix(local_port, 16).ok()? == port && *state == LISTEN;
        fits.then(|| format!("socket:[{inode}]"))
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// The process that has one of these sockets open. Processes of others can't be looked into
/// without privileges.
#[cfg(target_os = "linux")]
fn process_with(sockets: &[String]) -> Option<String> {
    use std::fs;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let numbered = processes.filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((number, entry.path()))
    });
    for (number, path) in numbered {
        let Ok(files) = fs::read_dir(path.join("fd")) else {
            continue;
        };
        let has = files.flatten().any(|file| {
            let target = fs::read_link(file.path()).unwrap_or_default();
            sockets
                .iter()
                .any(|socket| target.as_os_str() == socket.as_str())
        });
        if has {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            return Some(format!("{} (process {number})", name.trim()));
        }
    }
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_listening_socket_of_the_port_is_found() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:15B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41 1
   1: 0100007F:15B3 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 42 1
   2: 00000000:15B4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 43 1
garbage
";
        assert_eq!(listening(table, 0x15B3), ["socket:[41]"]);
        assert!(listening(table, 1).is_empty());
    }

    #[test]
    fn this_process_is_found_out() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let text = holder(listener.local_addr().unwrap().port());
        let mine = format!("(process {})", std::process::id());
        assert!(text.ends_with(&mine), "{text}");
    }
}
