//! A probe's report in words: what people read, and what each trouble means for them.

use std::fmt;

use super::Trouble;
use super::report::{Clients, Port, Report, Server, Verdict};
use crate::wire::detect::Foreign;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.ports.last().map_or(self.port, |port| port.port);
        if self.host == self.address {
            writeln!(f, "{}, ports {} to {last}", self.host, self.port)?;
        } else {
            writeln!(
                f,
                "{} ({}), ports {} to {last}",
                self.host, self.address, self.port
            )?;
        }
        writeln!(f)?;
        for port in &self.ports {
            self.write_port(f, port)?;
        }
        writeln!(f)?;
        if self.verdict == Verdict::Nothing {
            return writeln!(f, "There is no session server to be found here.");
        }
        self.write_server(f)?;
        self.write_clients(f)?;
        writeln!(f)?;
        match self.verdict {
            Verdict::Reachable if self.clients.iter().all(|clients| !clients.reachable) => {
                writeln!(
                    f,
                    "All ports that are needed answer, but over IPv6, by which no client connects: give the \
                 server an IPv4 address, too."
                )
            }
            Verdict::Reachable => writeln!(f, "All ports that are needed answer."),
            _ => writeln!(f, "Not all ports that are needed answer as they should."),
        }
    }
}

impl Report {
    fn write_port(&self, f: &mut fmt::Formatter<'_>, port: &Port) -> fmt::Result {
        write!(f, "  {:<5}  ", port.port)?;
        if !port.roles.is_empty() {
            f.write_str(&port.roles.join(" and "))?;
            match (port.framed, self.server) {
                (true, Server::OnePort) => f.write_str(" (newest clients only)")?,
                (true, _) => f.write_str(" (newest clients, too)")?,
                (false, _) => {}
            }
            if let Some(connect) = port.connect_ms {
                write!(f, ", connects in {connect} ms")?;
            }
            if let Some(round_trip) = port.round_trip_ms {
                write!(f, ", answers in {round_trip} ms")?;
            }
            if port.hint.is_some() {
                f.write_str("; but ")?;
            }
        }
        match &port.hint {
            Some(hint) => writeln!(f, "{hint}"),
            None if port.needed || !port.roles.is_empty() => writeln!(f),
            None => writeln!(f, "not needed by this server"),
        }
    }

    fn write_server(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.server {
            Server::All => "A server for all versions of the add-on",
            Server::FourPorts => "The old add-ons' own server, with four ports",
            Server::ThreePorts => "The add-on's own server, with three ports",
            Server::OnePort => "The newest add-on's own server, with one port",
            Server::Unknown => "A session server",
        })?;
        match &self.session {
            Some(session) => {
                let joining = if session.private {
                    "a password is needed to join"
                } else {
                    "no password is needed to join"
                };
                writeln!(f, "; version {}, {joining}.", session.version)
            }
            None => writeln!(f, "; it does not tell strangers its version."),
        }
    }

    fn write_clients(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self.server, Server::All | Server::Unknown) {
            writeln!(f, "Who can connect from here:")?;
        } else {
            writeln!(
                f,
                "Who can connect from here, with the server's own version:"
            )?;
        }
        for clients in &self.clients {
            clients.write(f)?;
        }
        Ok(())
    }
}

impl Clients {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.served == Some(false) {
            return Ok(());
        }
        let can = if self.reachable { "yes" } else { "no" };
        write!(
            f,
            "  {can:<3}  add-on {} (replication {})",
            self.addon, self.replication
        )?;
        let missing: Vec<String> = self.missing.iter().map(u16::to_string).collect();
        match missing.as_slice() {
            [] if self.reachable => writeln!(f),
            [] => writeln!(f, ": it connects by IPv4 only"),
            [one] => writeln!(f, ": port {one} is missing"),
            many => writeln!(f, ": ports {} are missing", many.join(", ")),
        }
    }
}

/// The word for a trouble that programs get.
pub(super) fn name(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Refused => "refused",
        Trouble::Dropped => "dropped",
        Trouble::Unreachable(_) => "unreachable",
        Trouble::Silent => "silent",
        Trouble::HungUp => "hung-up",
        Trouble::Foreign(_) => "foreign",
        Trouble::Broken(_) => "broken",
        Trouble::OtherSocket(_) => "other-socket",
        Trouble::OtherPort => "other-port",
        Trouble::Mute => "mute",
    }
}

/// What it means if one of the transports is hung up on where the other is taken.
pub(super) const HALF: &str = "hangs up on the newest clients: a server that is not made for them, or \
     another one of its ports; is the first port right?";

/// A trouble at a port, and what to do about it. `near`: on the computer that asks, so that no
/// router can be to blame.
pub(super) fn hint(trouble: &Trouble, port: u16, near: bool) -> String {
    match trouble {
        Trouble::Refused if near => {
            "refused: nothing listens there; is the server running?".to_owned()
        }
        Trouble::Refused => "refused: nothing listens there; is the server running, and is the \
             port forwarded to the right computer?"
            .to_owned(),
        Trouble::Dropped if near => {
            "nothing answers: a firewall drops it, or what listens there hangs".to_owned()
        }
        Trouble::Dropped => format!(
            "nothing answers: the router or a firewall drops it; is TCP port {port} forwarded to \
             the server's computer, and open in its firewall?"
        ),
        Trouble::Unreachable(error) => format!(
            "cannot be reached from here ({error}): is the address right, and this computer online?"
        ),
        Trouble::Silent => "takes the connection, but says nothing: the server hangs, or \
             something else listens there"
            .to_owned(),
        Trouble::HungUp => "takes the connection and hangs up: a tunnel or proxy that finds no \
             server behind it, or a server that refuses this address"
            .to_owned(),
        Trouble::Foreign(foreign) => match foreign {
            Foreign::Tls => other_program("TLS"),
            Foreign::Http => other_program("HTTP"),
            Foreign::Ssh => other_program("SSH"),
            Foreign::Zmtp1 => other_program("an outdated version of ZeroMQ's protocol"),
            Foreign::Unknown(_) => other_program("an unknown protocol"),
        },
        Trouble::Broken(error) => {
            format!("something else listens there, or the line is bad: {error}")
        }
        Trouble::OtherSocket(socket) => format!(
            "another program listens there (a {} socket of ZeroMQ), or another port leads there; \
             is the first port right, and are the ports forwarded one to one?",
            socket.name()
        ),
        Trouble::OtherPort => "leads to another one of the server's ports: is the first port \
             right, and are the ports forwarded one to one?"
            .to_owned(),
        Trouble::Mute => "takes the connection, but does not answer: another one of the server's \
             ports, or the server hangs; is the first port right?"
            .to_owned(),
    }
}

fn other_program(protocol: &str) -> String {
    format!("another program listens there, which speaks {protocol}; is the port right?")
}
