//! How much memory this process may use, so that a share of it can bound the session.

use std::{fs, path::Path};

use super::units::ByteSize;

/// What is assumed where nothing tells.
const FALLBACK: ByteSize = ByteSize::gib(4);

/// The memory this process may use: the least of the host's and of what its control group and
/// the groups above it allow (both versions of the interface); 4 GiB where nothing tells.
#[must_use]
pub fn available_memory() -> ByteSize {
    available_memory_in(Path::new("/"))
}

/// [`available_memory`] with `/proc` and `/sys` below `root`.
fn available_memory_in(root: &Path) -> ByteSize {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let host = read("proc/meminfo").and_then(|text| mem_total(&text));
    let groups = read("proc/self/cgroup").unwrap_or_default();
    groups
        .lines()
        .flat_map(limit_files)
        .filter_map(|path| read(&path)?.trim().parse::<u64>().ok())
        .chain(host)
        // A group without a limit says 2^63 rounded to pages (v1) or "max" (v2).
        .filter(|bytes| *bytes > 0)
        .min()
        .filter(|bytes| *bytes < i64::MAX as u64 / 2)
        .map_or(FALLBACK, ByteSize::new)
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn mem_total(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// The files that may hold limits for a line of /proc/self/cgroup (`id:controllers:/path`): of
/// the group and of those above it. Inside a container the path is often that of the host, and
/// the group is mounted at the top, so the top is always among them.
fn limit_files(line: &str) -> Vec<String> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (mount, file) = if controllers.is_empty() {
        ("sys/fs/cgroup", "memory.max")
    } else if controllers
        .split(',')
        .any(|controller| controller == "memory")
    {
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return Vec::new();
    };
    // The kernel names the group, but a path with ".." (a group outside our namespace) would
    // leave the mount.
    let path = if path.split('/').any(|part| part == "..") {
        "/"
    } else {
        path
    };
    Path::new(path.trim_start_matches('/'))
        .ancestors()
        .map(|group| format!("{mount}/{}", group.join(file).display()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const HOST: (&str, &str) = (
        "proc/meminfo",
        "MemTotal:        8388608 kB\nMemFree:  1 kB\nMemAvailable: 2 kB\n",
    );

    #[test]
    fn the_host_without_groups() {
        assert_eq!(
            available_memory_in(machine(&[HOST]).path()),
            ByteSize::gib(8)
        );
    }

    #[test]
    fn nothing_to_read() {
        assert_eq!(available_memory_in(machine(&[]).path()), ByteSize::gib(4));
    }

    #[test]
    fn unlimited_groups_leave_the_host() {
        let v2 = [
            HOST,
            ("proc/self/cgroup", "0::/user.slice/a.scope\n"),
            ("sys/fs/cgroup/user.slice/a.scope/memory.max", "max\n"),
        ];
        assert_eq!(available_memory_in(machine(&v2).path()), ByteSize::gib(8));
        let v1 = [
            ("proc/self/cgroup", "4:memory:/a\n"),
            (
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
        ];
        assert_eq!(available_memory_in(machine(&v1).path()), ByteSize::gib(4));
    }

    #[test]
    fn the_tightest_group_counts() {
        let root = machine(&[
            HOST,
            ("proc/self/cgroup", "0::/user.slice/a.scope\n"),
            ("sys/fs/cgroup/user.slice/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/user.slice/a.scope/memory.max", "max\n"),
        ]);
        assert_eq!(available_memory_in(root.path()), ByteSize::gib(1));
    }

    #[test]
    fn a_container_sees_its_group_at_the_top() {
        let v2 = [
            HOST,
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "536870912\n"),
        ];
        assert_eq!(available_memory_in(machine(&v2).path()), ByteSize::mib(512));
        let v1 = [
            HOST,
            (
                "proc/self/cgroup",
                "9:cpu,cpuacct:/x\n4:memory:/docker/abc\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
        ];
        assert_eq!(available_memory_in(machine(&v1).path()), ByteSize::mib(256));
    }

    #[test]
    fn a_group_outside_the_namespace_does_not_leave_the_mount() {
        assert_eq!(limit_files("0::/../../x"), ["sys/fs/cgroup/memory.max"]);
    }
}
