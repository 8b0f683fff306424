//! Whom to look at: `HOST` or `HOST:PORT`, as the command line has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

use super::MAX_PORT;

/// A host, and the first port of its server if it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name, or an address (of IPv6 without its brackets).
    pub host: String,
    /// The first port.
    pub port: Option<u16>,
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It is not of the form.
    #[error(
        "expected a name or an IP address, and perhaps a colon and a port (IPv6 in brackets: \
         [::1]:5555)"
    )]
    Form,
    /// The port is none.
    #[error("{0:?} cannot be a first port: expected a number from 1 to {MAX_PORT}")]
    Port(String),
}

impl Address {
    /// Where a server that listens on these addresses is reached from its own machine.
    #[must_use]
    pub fn of_own(bind: &[IpAddr]) -> Self {
        let four = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let here = bind.iter().map(|address| match address {
            IpAddr::V4(v4) if v4.is_unspecified() => four,
            IpAddr::V6(v6) if v6.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            address => *address,
        });
        let here: Vec<IpAddr> = here.collect();
        let host = if here.contains(&four) {
            four
        } else {
            // The clients' way, if there is one.
            let any = here.iter().min_by_key(|address| address.is_ipv6());
            any.copied().unwrap_or(four)
        };
        Self {
            host: host.to_string(),
            port: None,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split(text)?;
        let named = host.chars().all(|c| {
            // Underlines are in some names of containers, percent signs before IPv6 interfaces.
            c.is_alphanumeric() || ".-_:%".contains(c)
        });
        if host.is_empty() || !named {
            return Err(AddressError::Form);
        }
        let port = match port {
            None => None,
            Some(text) => match text.parse() {
                Ok(port @ 1..=MAX_PORT) => Some(port),
                _ => return Err(AddressError::Port(text.to_owned())),
            },
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

fn split(text: &str) -> Result<(&str, Option<&str>), AddressError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(AddressError::Form)?;
        // Behind the percent sign is the name of an interface.
        let number = host.split_once('%').map_or(host, |(number, _)| number);
        if number.parse::<Ipv6Addr>().is_err() {
            return Err(AddressError::Form);
        }
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(AddressError::Form),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, port)) if port.contains(':') => Err(AddressError::Form),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_server_is_where_it_listens() {
        for (bind, host) in [
            (&["0.0.0.0", "::"][..], "127.0.0.1"),
            (&["::"], "::1"),
            (&["10.147.17.5"], "10.147.17.5"),
            (&["10.147.17.5", "127.0.0.1"], "127.0.0.1"),
            (&["::", "10.147.17.5"], "10.147.17.5"),
            (&[], "127.0.0.1"),
        ] {
            let bind: Vec<IpAddr> = bind.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!(Address::of_own(&bind).host, host);
        }
    }

    #[test]
    fn hosts_with_and_without_ports() {
        for (text, host, port) in [
            ("localhost", "localhost", None),
            ("my_box.example.org:6000", "my_box.example.org", Some(6000)),
            ("bücher.example", "bücher.example", None),
            ("10.0.0.1:65532", "10.0.0.1", Some(65_532)),
            ("::1", "::1", None),
            ("[::1]", "::1", None),
            ("[::1]:5555", "::1", Some(5555)),
            ("[fe80::1%eth0]:5555", "fe80::1%eth0", Some(5555)),
        ] {
            let address = Address {
                host: host.to_owned(),
                port,
            };
            assert_eq!(text.parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn nonsense() {
        for text in [
            "",
            ":5555",
            "[",
            "[::1",
            "[::1]5555",
            "[localhost]:5555",
            "a:b:c",
            "tcp://host:5555",
            "user@host",
            "a host",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Form), "{text}");
        }
        for port in ["", "0", "65533", "-1", "5555x"] {
            let error = Err(AddressError::Port(port.to_owned()));
            assert_eq!(format!("host:{port}").parse::<Address>(), error);
        }
    }
}
