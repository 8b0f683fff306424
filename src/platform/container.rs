//! Life in a container made of our image: what to warn of at the start, and which addresses are
//! not those of single clients. Called by [`server`](crate::server).

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use crate::config::CONTAINER_VARIABLE;

/// Whether this is one.
pub(crate) fn is_here() -> bool {
    std::env::var(CONTAINER_VARIABLE).is_ok_and(|text| !text.is_empty() && text != "0")
}

/// Why what is kept is in danger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Volatile {
    /// It is in the container's own file system.
    Container(PathBuf),
    /// It is on a volume without a name.
    Anonymous(PathBuf),
}

impl fmt::Display for Volatile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(path) => {
                let path = path.display();
                write!(
                    f,
                    "{path} goes with the container: give it a volume (-v multi-user:{path})"
                )
            }
            Self::Anonymous(path) => {
                let path = path.display();
                write!(
                    f,
                    "{path} is on a volume without a name, which goes with a container run with \
                     --rm: give it one (-v multi-user:{path})"
                )
            }
        }
    }
}

/// Whether what is kept in this directory goes with the container.
pub(crate) fn volatile(directory: &Path) -> Option<Volatile> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    volatile_in(directory, &mounts)
}

fn volatile_in(directory: &Path, mounts: &str) -> Option<Volatile> {
    // id, parent, device, root within the device, mount point, …
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next()?.to_owned(), PathBuf::from(fields.next()?));
        directory.starts_with(&point).then_some((root, point))
    };
    let mounts = mounts.lines().filter_map(mount);
    let (root, point) = mounts.max_by_key(|(_, point)| point.components().count())?;
    if point == Path::new("/") {
        return Some(Volatile::Container(directory.to_owned()));
    }
    // Podman and docker name volumes that nobody named after a hash.
    let unnamed = root
        .split('/')
        .any(|part| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    unnamed.then(|| Volatile::Anonymous(directory.to_owned()))
}

/// Addresses under which clients may appear that are not theirs: the gateway's and the container's
/// own. Networks of containers without privileges show everybody under one of them.
pub(crate) fn shared_addresses() -> Vec<IpAddr> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut addresses = gateways(&read("/proc/net/route"));
    addresses.extend(own_addresses(&read("/proc/net/fib_trie")));
    addresses.into_iter().map(IpAddr::V4).collect()
}

/// The gateways of a routing table, whose addresses are numbers of the machine's own byte order.
fn gateways(routes: &str) -> Vec<Ipv4Addr> {
    let gateway = |line: &str| {
        let number = line.split_whitespace().nth(2)?;
        let number = u32::from_str_radix(number, 16).ok()?;
        (number != 0).then(|| Ipv4Addr::from(number.to_ne_bytes()))
    };
    routes.lines().skip(1).filter_map(gateway).collect()
}

/// This host's own addresses: an address stands above a line that says it is local.
fn own_addresses(table: &str) -> Vec<Ipv4Addr> {
    let lines = table.lines().map(str::trim);
    let pairs = lines.clone().zip(lines.skip(1));
    let mut addresses: Vec<Ipv4Addr> = pairs
        .filter(|(_, next)| *next == "/32 host LOCAL")
        .filter_map(|(line, _)| line.strip_prefix("|--")?.trim().parse().ok())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
612 540 0:55 / / rw,relatime - overlay overlay rw
613 612 0:59 / /proc rw - proc proc rw
620 612 8:1 /var/lib/containers/storage/volumes/multi-user/_data /data rw - ext4 /dev/sda1 rw
621 612 8:1 /var/lib/containers/storage/volumes/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/_data /anonymous rw - ext4 /dev/sda1 rw
622 612 8:1 /home/me/data /bound rw - ext4 /dev/sda1 rw
";

    #[test]
    fn data_that_goes_with_the_container_is_noticed() {
        let verdict = |path: &str| volatile_in(Path::new(path), MOUNTS);
        assert_eq!(verdict("/data"), None);
        assert_eq!(verdict("/data/deep/er"), None);
        assert_eq!(verdict("/bound"), None);
        assert_eq!(
            verdict("/database"),
            Some(Volatile::Container("/database".into()))
        );
        assert_eq!(
            verdict("/anonymous/x"),
            Some(Volatile::Anonymous("/anonymous/x".into()))
        );
        assert_eq!(volatile_in(Path::new("/data"), "nonsense\n"), None);
    }

    #[test]
    fn addresses_of_the_container_network_are_known() {
        let routes = "Iface\tDestination\tGateway \tFlags\n\
            eth0\t00000000\t0100580A\t0003\neth0\t0000580A\t00000000\t0001\n";
        if cfg!(target_endian = "little") {
            assert_eq!(gateways(routes), [Ipv4Addr::new(10, 88, 0, 1)]);
        }
        let table = "\
Main:
  +-- 0.0.0.0/0 3 0 5
        |-- 10.88.0.0
           /16 link UNICAST
        |-- 10.88.0.5
           /32 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
Local:
        |-- 10.88.0.5
           /32 host LOCAL
";
        assert_eq!(
            own_addresses(table),
            [Ipv4Addr::new(10, 88, 0, 5), Ipv4Addr::LOCALHOST]
        );
        assert!(own_addresses("").is_empty() && gateways("x").is_empty());
    }
}
