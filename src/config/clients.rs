//! Which clients may join: those of the eras listed, which also says which ports are opened.

use serde::{Deserialize, Serialize};

use crate::wire::dialect::Ports;

/// Clients by the number of ports they use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Era {
    /// Add-on 0.0.3 to 0.3.0 (replication 0.0.3 to 0.1.31).
    FourPorts,
    /// Add-on 0.4.0 to today (replication 0.1.33 to 0.9.11).
    ThreePorts,
    /// The newest builds of the add-on (replication 0.9.12 and later).
    OnePort,
}

/// The words for [`Era`] in a configuration.
pub(super) const WORDS: [&str; 3] = ["four-ports", "three-ports", "one-port"];

/// The eras whose clients may join; at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clients(Vec<Era>);

impl Default for Clients {
    fn default() -> Self {
        Self(vec![Era::FourPorts, Era::ThreePorts, Era::OnePort])
    }
}

impl Clients {
    /// Only those.
    #[must_use]
    pub fn of(eras: &[Era]) -> Self {
        Self(eras.to_vec())
    }

    /// Whether clients of this era may join.
    #[must_use]
    pub fn has(&self, era: Era) -> bool {
        self.0.contains(&era)
    }

    /// Whether clients that use these ports may join.
    #[must_use]
    pub fn may_use(&self, ports: Ports) -> bool {
        self.has(match ports {
            Ports::Four => Era::FourPorts,
            Ports::Three => Era::ThreePorts,
            Ports::Framed => Era::OnePort,
        })
    }

    /// How many consecutive ports they need.
    #[must_use]
    pub fn ports(&self) -> u16 {
        if self.has(Era::FourPorts) {
            4
        } else if self.has(Era::ThreePorts) {
            3
        } else {
            1
        }
    }

    /// Whether any of them speaks ZeroMQ.
    #[must_use]
    pub fn zmtp(&self) -> bool {
        self.has(Era::FourPorts) || self.has(Era::ThreePorts)
    }

    /// Whether any of them speaks the framed transport.
    #[must_use]
    pub fn framed(&self) -> bool {
        self.has(Era::OnePort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_opened_for_whom_they_are_for() {
        assert_eq!(Clients::default().ports(), 4);
        let modern = Clients::of(&[Era::OnePort, Era::ThreePorts]);
        assert_eq!(
            (modern.ports(), modern.zmtp(), modern.framed()),
            (3, true, true)
        );
        assert!(!modern.may_use(Ports::Four) && modern.may_use(Ports::Three));
        let newest = Clients::of(&[Era::OnePort]);
        assert_eq!(
            (newest.ports(), newest.zmtp(), newest.framed()),
            (1, false, true)
        );
    }
}
