//! The server under test: as the program people start, or within the test.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use multi_user_server::config::{Config, Flush, Secret};
use multi_user_server::server::Server;
use serde_json::Value;

use super::PATIENCE;

/// The password that makes an admin, in all tests.
pub(crate) const ADMIN: &str = "open sesame";

/// The four ports of a server, by their distance from the base port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports([SocketAddr; 4]);

impl Ports {
    pub(crate) fn new(addresses: &[SocketAddr]) -> Self {
        Self(addresses.try_into().unwrap())
    }

    /// The port p + `offset`.
    pub(crate) fn at(&self, offset: usize) -> SocketAddr {
        self.0[offset]
    }

    pub(crate) fn all(&self) -> [SocketAddr; 4] {
        self.0
    }
}

/// Four ports in a row, taken by these listeners. They lie below those that the system hands out for
/// outgoing connections, and each test program begins to look at a place of its own, so that they are
/// still free when a listener has given one up.
pub(crate) fn free_run() -> [TcpListener; 4] {
    static TRIES: AtomicU32 = AtomicU32::new(0);
    for _ in 0..4000 {
        let step = TRIES.fetch_add(1, Ordering::Relaxed);
        let place = std::process::id().wrapping_mul(8).wrapping_add(step) % 4000;
        let first = u16::try_from(12_000 + 4 * place).unwrap();
        let run: Result<Vec<_>, _> = (first..first + 4)
            .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
            .collect();
        if let Ok(run) = run {
            return run.try_into().unwrap();
        }
    }
    panic!("no four free ports in a row");
}

/// The program, running with its log in JSON. Dropped, it is killed; if the test failed, its
/// whole log is printed.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    log: Arc<Log>,
    pub(crate) ports: Ports,
    pub(crate) data: Arc<tempfile::TempDir>,
}

#[derive(Debug, Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

impl Log {
    fn follow(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).into_owned();
                log.lines.lock().unwrap().0.push(line);
                log.more.notify_all();
            }
            log.lines.lock().unwrap().1 = true;
            log.more.notify_all();
        });
    }

    /// Waits until `find` finds something in the lines so far.
    fn wait<T>(&self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.lock().unwrap();
        loop {
            if let Some(found) = find(&lines.0) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !lines.1 && left > Duration::ZERO,
                "{what} is not in the log:\n{}",
                lines.0.join("\n")
            );
            lines = self.more.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// A command that runs the program with nothing in its environment but these keys, in a data
/// directory of its own.
pub(crate) fn command(data: &Path, keys: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multi-user-server"));
    command
        .current_dir(data)
        .env_clear()
        .env("MULTI_USER_DATA_DIR", data)
        .env("MULTI_USER_BIND", "127.0.0.1")
        .env("MULTI_USER_PORT", "0")
        .env("MULTI_USER_LOG__FORMAT", "json")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    for (key, value) in keys {
        let name = key.to_uppercase().replace('.', "__");
        command.env(format!("MULTI_USER_{name}"), value);
    }
    command
}

/// What the program says when it is run with these arguments on a server's data: on its output if all
/// is well, otherwise what is wrong.
pub(crate) fn run(data: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = command(data, &[]);
    let output = command
        .args(arguments)
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

impl Program {
    /// Starts it with an admin password and these keys, and waits until it listens.
    pub(crate) fn start(keys: &[(&str, &str)]) -> Self {
        let mut all = vec![("session.admin_password", ADMIN)];
        all.extend(keys);
        Self::start_with(&all)
    }

    /// Starts it with these keys only.
    pub(crate) fn start_with(keys: &[(&str, &str)]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), keys)
    }

    /// Kills it, as a power cut would.
    pub(crate) fn killed(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self
    }

    /// Starts it once more, with what the one that has ended left behind.
    pub(crate) fn start_again(self, keys: &[(&str, &str)]) -> Self {
        let mut all = vec![("session.admin_password", ADMIN)];
        all.extend(keys);
        Self::start_in(Arc::clone(&self.data), &all)
    }

    /// Starts it from a shell in which this was said before.
    pub(crate) fn start_after(words: &str, keys: &[(&str, &str)]) -> Self {
        let data = Arc::new(tempfile::tempdir().unwrap());
        let program = command(data.path(), keys);
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &format!("{words}; exec \"$0\"")])
            .arg(program.get_program())
            .current_dir(data.path())
            .env_clear()
            .envs(
                program
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Self::spawned(shell, data)
    }

    fn start_in(data: Arc<tempfile::TempDir>, keys: &[(&str, &str)]) -> Self {
        let command = command(data.path(), keys);
        Self::spawned(command, data)
    }

    /// Starts it as another user in a directory of that user's, which only root can. The program may
    /// be where that user cannot go.
    #[cfg(unix)]
    pub(crate) fn start_as(user: u32, data: Arc<tempfile::TempDir>) -> Self {
        use std::os::unix::process::CommandExt;

        let known = command(data.path(), &[("session.admin_password", ADMIN)]);
        let program = data.path().join("program");
        std::fs::copy(known.get_program(), &program).unwrap();
        let mut command = Command::new(program);
        command
            .uid(user)
            .gid(user)
            .current_dir(data.path())
            .env_clear()
            .envs(
                known
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Self::spawned(command, data)
    }

    fn spawned(mut command: Command, data: Arc<tempfile::TempDir>) -> Self {
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Log::default());
        log.follow(child.stderr.take().unwrap());
        let addresses: Vec<SocketAddr> = log.wait("listening on four ports", |lines| {
            let addresses: Vec<_> = lines.iter().filter_map(|line| listening(line)).collect();
            (addresses.len() == 4).then_some(addresses)
        });
        Self {
            child,
            log,
            ports: Ports::new(&addresses),
            data,
        }
    }

    /// Starts it on ports that follow each other, as it has them in real life.
    pub(crate) fn start_at(run: [TcpListener; 4], keys: &[(&str, &str)]) -> Self {
        let first = run[0].local_addr().unwrap().port().to_string();
        drop(run);
        let mut all = vec![("port", first.as_str())];
        all.extend(keys);
        Self::start(&all)
    }

    /// Waits for a line of the log that is a JSON object to `find`'s liking.
    pub(crate) fn logged<T>(&self, what: &str, find: impl Fn(&Value) -> Option<T>) -> T {
        self.log.wait(what, |lines| {
            lines
                .iter()
                .filter_map(|line| serde_json::from_str(line).ok())
                .find_map(|line| find(&line))
        })
    }

    /// Waits for a line of the log that contains this.
    pub(crate) fn wait_for_line(&self, what: &str, part: &str) -> String {
        self.log.wait(what, |lines| {
            lines.iter().find(|line| line.contains(part)).cloned()
        })
    }

    /// All lines of the log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().0.clone()
    }

    /// How many files it may have open.
    pub(crate) fn open_files(&self) -> u64 {
        open_files(self.child.id())
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// The counters, which the program writes to its log when asked.
    pub(crate) fn counters(&self) -> Counters {
        let before = self.counter_lines().len();
        self.signal("USR2");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.counter_lines();
            if lines.len() > before {
                return Counters(lines.into_iter().next_back().unwrap());
            }
            assert!(Instant::now() < deadline, "no counters in the log");
            std::thread::yield_now();
            let lines = self.log.lines.lock().unwrap();
            drop(self.log.more.wait_timeout(lines, Duration::from_millis(50)));
        }
    }

    fn counter_lines(&self) -> Vec<Value> {
        let lines = self.log();
        lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|line| match line.get("counters") {
                Some(Value::String(text)) => serde_json::from_str(text).ok(),
                Some(counters) => Some(counters.clone()),
                None => None,
            })
            .collect()
    }

    /// Memory in use now, and the most that ever was, in bytes.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            let kib: u64 = line
                .split_whitespace()
                .nth(1)
                .and_then(|n| n.parse().ok())
                .unwrap();
            kib * 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let until = Instant::now() + deadline;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it runs on after {deadline:?}");
            // Nothing tells of the end of a child but asking.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("--- the server's log ---");
            for line in self.log() {
                println!("{line}");
            }
        }
    }
}

/// How many files a process may have open.
pub(crate) fn open_files(pid: u32) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// The address in a log line that says where the program listens, in either format.
fn listening(line: &str) -> Option<SocketAddr> {
    let Ok(line) = serde_json::from_str::<Value>(line) else {
        let (_, rest) = line.split_once("listening address=")?;
        return rest.split_whitespace().next()?.parse().ok();
    };
    if line.get("message")?.as_str()? != "listening" {
        return None;
    }
    line.get("address")?.as_str()?.parse().ok()
}

/// Counters by name.
#[derive(Clone, Debug)]
pub(crate) struct Counters(Value);

impl Counters {
    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0
            .get(name)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("no counter {name} in {}", self.0))
    }
}

/// A server within the test.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) server: Server,
    pub(crate) ports: Ports,
    _data: tempfile::TempDir,
}

impl Local {
    /// Starts one with an admin password; `change` may change its configuration.
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config {
            bind: vec!["127.0.0.1".parse().unwrap()],
            port: 0,
            data_dir: data.path().to_owned(),
            ..Config::default()
        };
        config.session.admin_password = Some(Secret::new(ADMIN.to_owned()));
        config.durability.flush = Flush::Off;
        change(&mut config);
        let server = Server::start(config, None).await.unwrap();
        Self {
            ports: Ports::new(server.addresses()),
            server,
            _data: data,
        }
    }
}
