//! Which shape a file has.

use crate::wire::dialect::{Family, SessionFile, dialects, for_version};

/// Shapes of the nodes in a file. The first three are the add-on's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Clients from 0.4.0 on: `{'nodes': [[P(2), uuid, owner, P(dependencies), P(data)], …]}`, all
    /// of it `bytes`, where `P` is a pickle of protocol 4.
    Chunks,
    /// Clients from 0.1.25 to 0.3.0: `{'nodes': [(uuid, {'owner': str, 'data': dict,
    /// 'dependencies': list}), …], 'users': {}}`.
    Decoded {
        /// Whether there is a `str_type` behind the owner, as up to 0.1.42.
        typed: bool,
    },
    /// Clients before 0.1.25, which have no such file. Ours for them:
    /// `{'family': 'marshal' or 'typed', 'nodes': [[uuid, owner, type, P(dependencies), payload], …]}`.
    /// The list holds `bytes`; the payload is what the clients push, a pickle or marshal.
    Ours {
        /// Whether the payloads are marshal.
        marshal: bool,
    },
}

impl Format {
    /// What clients of this family and version load. If the version is not known, what the last ones of
    /// the family do.
    pub fn of(family: Family, version: Option<&str>) -> Self {
        let known = version.and_then(|version| for_version(Some(version)).ok());
        let row = known.or_else(|| dialects().iter().rfind(|row| row.family == family));
        match (family, row.map(|row| row.session_file)) {
            (Family::Marshal, _) => Self::Ours { marshal: true },
            (Family::TypedPickle, Some(SessionFile::None)) => Self::Ours { marshal: false },
            (Family::TypedPickle, _) => Self::Decoded { typed: true },
            (Family::UntypedPickle, Some(SessionFile::Decoded)) => Self::Decoded { typed: false },
            (Family::UntypedPickle, _) => Self::Chunks,
        }
    }

    /// Whose nodes are written like this.
    pub fn family(self) -> Family {
        match self {
            Self::Chunks | Self::Decoded { typed: false } => Family::UntypedPickle,
            Self::Decoded { typed: true } | Self::Ours { marshal: false } => Family::TypedPickle,
            Self::Ours { marshal: true } => Family::Marshal,
        }
    }

    /// Whether clients load such a file themselves.
    pub fn is_the_add_ons(self) -> bool {
        !matches!(self, Self::Ours { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_says_the_format() {
        let ours = |marshal| Format::Ours { marshal };
        let decoded = |typed| Format::Decoded { typed };
        for (version, format) in [
            ("0.0.20", ours(true)),
            ("0.1.1", ours(false)),
            ("0.1.24", ours(false)),
            ("0.1.25", decoded(true)),
            ("0.1.42", decoded(true)),
            ("0.2.1", decoded(false)),
            ("0.3.0", decoded(false)),
            ("0.4.0", Format::Chunks),
            ("0.10.2", Format::Chunks),
        ] {
            let family = for_version(Some(version)).unwrap().family;
            assert_eq!(Format::of(family, Some(version)), format, "{version}");
            assert_eq!(format.family(), family, "{version}");
        }
        assert_eq!(Format::of(Family::Marshal, None), ours(true));
        assert_eq!(Format::of(Family::TypedPickle, None), decoded(true));
        assert_eq!(Format::of(Family::UntypedPickle, None), Format::Chunks);
    }
}
