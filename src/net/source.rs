//! Whom limits take for one and the same peer; [`admission`](super::admission) counts by it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Whom limits take for one and the same peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// An IPv4 address, also when it is written as an IPv6 one, or an IPv6 network of 64 bits,
    /// which is what one subscriber gets at least.
    Address(IpAddr),
    /// An identity behind an address that everybody shares, by its hash.
    Identity(u64),
}

impl Source {
    /// The source an address belongs to.
    pub fn of(address: IpAddr) -> Self {
        Self(Kind::Address(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let network = address.to_bits() & (u128::MAX << 64);
                Ipv6Addr::from_bits(network).into()
            }
        }))
    }

    /// The source an identity is, where addresses say nothing.
    pub fn of_identity(hash: u64) -> Self {
        Self(Kind::Identity(hash))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Address(IpAddr::V4(address)) => address.fmt(f),
            Kind::Address(IpAddr::V6(network)) => write!(f, "{network}/64"),
            Kind::Identity(hash) => write!(f, "identity {hash:016x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subscriber_is_one_source() {
        let cases = [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ];
        for (text, shown) in cases {
            assert_eq!(Source::of(text.parse().unwrap()).to_string(), shown);
        }
    }
}
