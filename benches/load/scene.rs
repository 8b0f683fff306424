//! What a scenario has: the server, its clients, its keys, and somewhere to put the figures.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use multi_user_server::wire::dialect::Ports;
use serde_json::{Value, json};

use crate::client::{Client, Target};
use crate::ear::Room;
use crate::observe::{Observed, own_cpu};
use crate::payload::Content;

/// What is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// One run against one server.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) target: Rc<Target>,
    pub(crate) server: Observed,
    pub(crate) room: Rc<Room>,
    keys: HashMap<String, String>,
    figures: RefCell<Vec<Value>>,
    clients: Cell<u16>,
}

impl Scene {
    pub(crate) fn of_arguments(
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<(Self, String)> {
        let (mut port, mut pid, mut ports) = (None, None, Ports::Three);
        let (mut bare, mut foreign, mut scenario) = (false, false, None);
        let mut keys = HashMap::new();
        while let Some(word) = arguments.next() {
            let mut value = || arguments.next().context("a flag without value");
            match word.as_str() {
                // What cargo says.
                "--bench" => {}
                "--port" => port = Some(value()?.parse()?),
                "--pid" => pid = Some(value()?.parse()?),
                "--ports" => {
                    ports = match value()?.as_str() {
                        "four" => Ports::Four,
                        "three" => Ports::Three,
                        "framed" => Ports::Framed,
                        other => bail!("ports are four, three or framed, not {other:?}"),
                    }
                }
                "--bare" => bare = true,
                "--zeromq" => foreign = true,
                word => match word.split_once('=') {
                    Some((key, value)) => {
                        keys.insert(key.to_owned(), value.to_owned());
                    }
                    None => scenario = Some(word.to_owned()),
                },
            }
        }
        let target = Target {
            bare,
            foreign,
            ..Target::new(ports, port.context("--port PORT is missing")?)
        };
        let scene = Self {
            target: Rc::new(target),
            server: Observed(pid),
            room: Room::new(),
            keys,
            figures: RefCell::default(),
            clients: Cell::new(0),
        };
        Ok((scene, scenario.context("the scenario is missing")?))
    }

    /// A key of the scenario.
    pub(crate) fn key<T: FromStr>(&self, key: &str, otherwise: T) -> T {
        self.optional(key).unwrap_or(otherwise)
    }

    /// One that need not be given.
    pub(crate) fn optional<T: FromStr>(&self, key: &str) -> Option<T> {
        let value = self.keys.get(key).map(|text| text.parse());
        value.map(|value| value.unwrap_or_else(|_| panic!("{key} cannot have that value")))
    }

    /// One that is a list.
    pub(crate) fn keys(&self, key: &str, otherwise: &[usize]) -> Vec<usize> {
        let list = self.keys.get(key);
        list.map_or_else(
            || otherwise.to_vec(),
            |list| list.split(',').map(|n| n.parse().unwrap()).collect(),
        )
    }

    pub(crate) fn content(&self) -> Content {
        match self.key("content", String::new()).as_str() {
            "nested" => Content::Nested,
            _ => Content::Opaque,
        }
    }

    /// Another client that has logged in and has all nodes, or has nothing to do for that.
    pub(crate) async fn client(&self) -> Result<Client> {
        self.distant_client(Duration::ZERO).await
    }

    /// The same, over a line that takes so long there and back.
    pub(crate) async fn distant_client(&self, distance: Duration) -> Result<Client> {
        let client = self.newcomer().await?;
        if self.target.bare {
            client.work_at_once();
        } else {
            client.join(distance).await?;
        }
        Ok(client)
    }

    /// Another client that has logged in.
    pub(crate) async fn newcomer(&self) -> Result<Client> {
        let index = self.clients.replace(self.clients.get() + 1);
        let client = Client::connect(&self.target, &self.room, index).await?;
        if !self.target.bare {
            client.log_in().await?;
        }
        Ok(client)
    }

    /// So many clients who share a scene of a single small node. The first has brought it.
    pub(crate) async fn team(&self, count: usize) -> Result<Vec<Client>> {
        let host = self.newcomer().await?;
        if self.target.bare {
            host.work_at_once();
        } else {
            host.upload(1, 256).await?;
        }
        let mut team = vec![host];
        while team.len() < count {
            team.push(self.client().await?);
        }
        if self.target.bare {
            // It has to hear of everybody before it forwards anything, and answers nothing.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Ok(team)
    }

    /// Notes a figure.
    pub(crate) fn figure(&self, case: &str, measure: &str, unit: &str, better: Better, value: f64) {
        self.figures.borrow_mut().push(json!({
            "case": case,
            "measure": measure,
            "unit": unit,
            "better": if better == Better::More { "more" } else { "less" },
            "value": (value.is_finite()).then_some(value),
        }));
    }

    /// Notes the median and the 99th percentile of delays in milliseconds.
    pub(crate) fn delays(&self, case: &str, what: &str, delays: &[f64]) {
        for part in [50, 99] {
            let at = (delays.len() * part / 100).min(delays.len().saturating_sub(1));
            let delay = delays.get(at).copied().unwrap_or(f64::NAN);
            self.figure(case, &format!("{what}p{part}"), "ms", Better::Less, delay);
        }
    }

    /// Begins to look at what a part of the scenario takes.
    pub(crate) fn begin(&self) -> Share {
        self.server.forget_peak();
        Share {
            server: self.server,
            start: Instant::now(),
            cpu: self.server.cpu(),
            own: own_cpu(),
            written: self.server.written(),
        }
    }

    /// Everything that was noted.
    pub(crate) fn report(&self, done: Result<()>) -> Value {
        json!({
            "figures": self.figures.take(),
            "error": done.err().map(|error| format!("{error:#}")),
        })
    }
}

/// What a part of a scenario takes.
#[derive(Debug)]
pub(crate) struct Share {
    server: Observed,
    start: Instant,
    cpu: f64,
    own: f64,
    written: f64,
}

impl Share {
    /// Seconds of processors the server has used.
    pub(crate) fn cpu(&self) -> f64 {
        self.server.cpu() - self.cpu
    }

    /// The same of the generator.
    pub(crate) fn own_cpu(&self) -> f64 {
        own_cpu() - self.own
    }

    /// Seconds that have passed.
    pub(crate) fn elapsed(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Notes what says how much the figures of the case are worth, and what it cost the disk.
    pub(crate) fn end(&self, scene: &Scene, case: &str, elapsed: f64) {
        let written = self.server.written() - self.written;
        let less = Better::Less;
        scene.figure(case, "disk", "MB/s", less, written / elapsed);
        let own = self.own_cpu() / self.elapsed() * 100.0;
        scene.figure(case, "generator's CPU", "%", less, own);
        let cpu = self.cpu() / self.elapsed() * 100.0;
        scene.figure(case, "server's CPU", "%", less, cpu);
    }
}

/// Bytes as people write them.
pub(crate) fn bytes(count: usize) -> String {
    match count {
        0x10_0000.. => format!("{} MiB", count >> 20),
        0x400.. => format!("{} KiB", count >> 10),
        _ => format!("{count} B"),
    }
}
