//! Logging in: names, passwords, versions, and who speaks how.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{info, warn};

use super::authority;
use super::outlet::{Outlet, Slot};
use super::state::{Phase, Present, Session, Timer, encode};
use super::users::{STATUS_LOBBY, User};
use crate::config::{NewerClients, Secret};
use crate::counters::Count;
use crate::text::shown;
use crate::wire::command::{self, Answer, Auth, Credentials};
use crate::wire::dialect::{self, Dialect, Framing, Passwords, Ports, UsersAtLogin, Version};
use crate::wire::identity::Identity;
use crate::wire::role::Role;

/// Why a login is refused. `Display` is what the user reads: no colon, and none of the words
/// that clients take for success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Not a name (see [`authority::is_name`]).
    #[error(
        "this user name cannot be used, choose one of 1 to 128 bytes without line breaks (an accented \
         letter has two bytes, a Chinese one three)"
    )]
    Name,
    /// It means something else (see [`authority::is_reserved`]).
    #[error("this user name is reserved, choose another one")]
    ReservedName,
    /// Somebody present is called so.
    #[error("client already logged in")]
    Duplicate,
    /// One password field, and what it holds is neither password.
    #[error("wrong password")]
    Password,
    /// One password field, and a session that asks for a password.
    #[error("wrong password, type the session password into the admin password field")]
    PasswordNeeded,
    /// Two fields: the admin's.
    #[error("wrong admin password")]
    AdminPassword,
    /// Two fields: the session's.
    #[error("wrong server password")]
    ServerPassword,
    /// Those present have another version.
    #[error(
        "wrong client version ({client} != {session}), everybody in a session needs the same, \
         another version needs a server of its own"
    )]
    Version {
        /// What this client has.
        client: String,
        /// What the others have.
        session: String,
    },
    /// Clients of this age are not let in.
    #[error("client version {0} is not allowed in this session, ask the host which one is")]
    Era(String),
    /// Newer than any known, which the configuration forbids.
    #[error("client version {0} is newer than this server, which has to be updated first")]
    Newer(String),
    /// The version text is none.
    #[error("this is not a version of the multi-user client")]
    NoVersion,
    /// The nodes were written by clients that store them in another way.
    #[error(
        "the session holds work of client version {author}, which {client} cannot read, \
         use {author} again or ask the host for an empty session"
    )]
    Family {
        /// Who wrote.
        author: String,
        /// Who wants in.
        client: String,
    },
    /// The operator is working on the session.
    #[error("{0}, try again in a moment")]
    Closed(&'static str),
    /// No place.
    #[error("the session is full ({0} users)")]
    Full(usize),
}

impl<O: Outlet> Session<O> {
    pub(super) fn log_in(&mut self, peer: &O, auth: Auth, framing: Framing, now: Instant) {
        let who = peer.identity();
        let version = auth.version.as_deref().and_then(Version::parse);
        let newer = version.is_some_and(Version::is_newer_than_known);
        let dialect = match dialect::for_version(auth.version.as_deref()) {
            Ok(dialect) if fits(dialect, framing, peer) => dialect,
            // A newer one may have gone back to another transport.
            Ok(_) if newer => fallback(framing, peer.is_framed()),
            _ => {
                let dialect = fallback(framing, peer.is_framed());
                return self.refuse_login(peer, dialect, &auth.name, &Refusal::NoVersion);
            }
        };
        if self.users.get(who).is_some() {
            // The same client starts over; libzmq gave us its new link before the old one ended.
            self.leave(who, "logged in anew", now);
        }
        peer.start_over();
        if self.check_passwords(&auth, dialect).is_ok() && self.check_version(&auth).is_ok() {
            self.make_way(peer, &auth.name, now);
        }
        let admin = match self.check(&auth, dialect) {
            Ok(admin) => admin,
            Err(refusal) => return self.refuse_login(peer, dialect, &auth.name, &refusal),
        };
        if newer {
            warn!(name: "client.newer", version = %shown(auth.version.as_deref().unwrap_or("")),
                "client is newer than any this server knows: treating it like the newest known");
        }
        if self.users.is_empty() {
            self.back_up_before_other_version(auth.version.as_deref());
            self.present = Some(Present {
                dialect,
                version: auth.version.clone(),
            });
            if self.replicas.is_empty() {
                // Nothing to join, and nobody who could have it: the next one may bring nodes.
                self.phase = Phase::Waiting;
            }
        }
        let name: Arc<str> = auth.name.into();
        info!(name: "user.joined", user = %shown(&name), admin, peer = %who,
            version = %shown(auth.version.as_deref().unwrap_or("none")), "user logged in");
        self.counters.add(Count::Logins);
        peer.log_in(dialect);
        let user = User::new(
            Arc::clone(&name),
            admin,
            dialect.login_status,
            peer.clone(),
            now,
        );
        self.users.insert(who.clone(), user);
        if dialect.withholds_login_until_data_link && !peer.is_linked(Role::Subscriber) {
            if let Some(user) = self.users.get_mut(who) {
                user.withheld = true;
            }
            self.at(now + self.settings.silence, Timer::DataLink(who.clone()));
            self.tell_users();
            return;
        }
        self.welcome(who, dialect);
    }

    /// Answers an accepted login.
    fn welcome(&mut self, who: &Identity, dialect: &'static Dialect) {
        if let Some(user) = self.users.get_mut(who)
            && dialect.withholds_login_until_data_link
        {
            user.withheld = false;
            user.status = STATUS_LOBBY;
        }
        let running = matches!(self.phase, Phase::Active);
        let text = if running { "RUNNING" } else { "LOBBY" };
        match dialect.users_at_login {
            UsersAtLogin::Never => {
                self.answer(who, &Answer::Auth(text));
                self.users_changed = true;
            }
            UsersAtLogin::BeforeAnswer => {
                self.tell_users();
                self.answer(who, &Answer::Auth(text));
            }
            UsersAtLogin::AfterAnswer => {
                self.answer(who, &Answer::Auth(text));
                self.tell_users();
            }
        }
    }

    /// The data link for which a login was withheld is there.
    pub(super) fn data_link_came(&mut self, who: &Identity) {
        let withheld = self.users.get(who).is_some_and(|user| user.withheld);
        if let (true, Some(dialect)) = (withheld, self.dialect()) {
            self.welcome(who, dialect);
        }
    }

    /// The data link for which a login was withheld did not come in time.
    pub(super) fn data_link_late(&mut self, who: &Identity, now: Instant) {
        if self.users.get(who).is_some_and(|user| user.withheld) {
            self.answer(who, &Answer::Auth("FAILED: data channel timeout"));
            self.leave(who, "its data link did not come", now);
        }
    }

    /// Whether the new user is admin, or why it stays out. The order of the checks is the
    /// reference's (wire spec, Auth).
    fn check(&self, auth: &Auth, dialect: &'static Dialect) -> Result<bool, Refusal> {
        if authority::is_reserved(&auth.name) {
            return Err(Refusal::ReservedName);
        }
        if !authority::is_name(&auth.name) {
            return Err(Refusal::Name);
        }
        if self.users.named(&auth.name).is_some() {
            return Err(Refusal::Duplicate);
        }
        let admin = self.check_passwords(auth, dialect)?;
        self.check_version(auth)?;
        self.check_client(auth, dialect)?;
        if let Some(author) = &self.author
            && !self.replicas.is_empty()
            && author.family != dialect.family
        {
            return Err(Refusal::Family {
                author: author.family.clients().to_owned(),
                client: version_text(auth.version.as_deref()),
            });
        }
        if let Some(why) = self.closed {
            return Err(Refusal::Closed(why));
        }
        if self.users.len() >= self.settings.max_users {
            return Err(Refusal::Full(self.settings.max_users));
        }
        Ok(admin)
    }

    /// Whether clients like this one are let in at all.
    fn check_client(&self, auth: &Auth, dialect: &Dialect) -> Result<(), Refusal> {
        let version = auth.version.as_deref().and_then(Version::parse);
        let newer = version.is_some_and(Version::is_newer_than_known);
        if newer && self.settings.newer_clients == NewerClients::Refuse {
            return Err(Refusal::Newer(version_text(auth.version.as_deref())));
        }
        if !self.settings.clients.may_use(dialect.ports) {
            return Err(Refusal::Era(version_text(auth.version.as_deref())));
        }
        Ok(())
    }

    fn check_version(&self, auth: &Auth) -> Result<(), Refusal> {
        if let Some(present) = &self.present
            && !self.users.is_empty()
            && present.version != auth.version
        {
            return Err(Refusal::Version {
                client: version_text(auth.version.as_deref()),
                session: version_text(present.version.as_deref()),
            });
        }
        Ok(())
    }

    fn check_passwords(&self, auth: &Auth, dialect: &Dialect) -> Result<bool, Refusal> {
        let admin_password = self.settings.admin_password.as_ref();
        let server_password = self.settings.server_password.as_ref();
        let matches = |secret: Option<&Secret>, text: &Option<String>| {
            secret.is_some_and(|secret| {
                text.as_deref()
                    .is_some_and(|text| secret.matches(text.as_bytes()))
            })
        };
        match (&auth.credentials, dialect.passwords) {
            (Credentials::One(password), Passwords::One) => {
                if matches(admin_password, password) {
                    Ok(true)
                } else if matches(server_password, password) {
                    Ok(false)
                } else if server_password.is_some() {
                    Err(Refusal::PasswordNeeded)
                } else if auth.admin {
                    Err(Refusal::Password)
                } else {
                    Ok(false)
                }
            }
            (Credentials::Two { server, admin }, Passwords::Two) => {
                if auth.admin && !matches(admin_password, admin) {
                    Err(Refusal::AdminPassword)
                } else if server_password.is_some() && !matches(server_password, server) {
                    Err(Refusal::ServerPassword)
                } else {
                    Ok(auth.admin)
                }
            }
            _ => Err(Refusal::Password),
        }
    }

    /// Frees a name whose owner's command link is gone, for somebody at the same address: most
    /// likely the same artist, who has restarted Blender.
    fn make_way(&mut self, peer: &O, name: &str, now: Instant) {
        let Some(holder) = self.users.named(name).cloned() else {
            return;
        };
        let gone = self.users.get(&holder).is_some_and(|user| {
            user.cut.is_some()
                && user.outlet.address().is_some()
                && user.outlet.address() == peer.address()
        });
        if gone {
            self.leave(&holder, "came back as somebody new", now);
        }
    }

    fn refuse_login(&self, peer: &O, dialect: &Dialect, name: &str, refusal: &Refusal) {
        self.counters.refuse(
            Count::RefusedLogin,
            peer.identity(),
            format_args!("login as '{}': {refusal}", shown(name)),
        );
        let text = format!("FAILED: {refusal}");
        let answer = command::encode(dialect, &Answer::Auth(&text));
        peer.command(Slot::Plain, encode(dialect, &answer));
        if !dialect.sends_version {
            // The oldest clients overlook a refusal, but show this (wire spec, G1).
            let reason = refusal.to_string();
            let bye = command::encode(dialect, &Answer::Disconnect { reason: &reason });
            peer.command(Slot::Plain, encode(dialect, &bye));
        }
    }

    pub(super) fn tell_info(&self, peer: &O, framing: Framing) {
        let dialect = fallback(framing, peer.is_framed());
        let version = match &self.present {
            Some(Present {
                version: Some(version),
                ..
            }) => dialect::echoable(version),
            _ => match &self.settings.idle_version {
                Some(version) => version.clone(),
                None => newest(dialect),
            },
        };
        let private = self.settings.server_password.is_some();
        let answer = Answer::Info {
            private,
            version: &version,
        };
        peer.command(
            Slot::Plain,
            encode(dialect, &command::encode(dialect, &answer)),
        );
    }
}

/// Whether somebody with this dialect can have come this way.
fn fits(dialect: &Dialect, framing: Framing, peer: &impl Outlet) -> bool {
    dialect.commands == framing && (dialect.ports == Ports::Framed) == peer.is_framed()
}

/// How to speak to somebody whose version says nothing.
pub(crate) fn fallback(framing: Framing, framed: bool) -> &'static Dialect {
    dialect::dialects()
        .iter()
        .rev()
        .find(|row| row.commands == framing && (row.ports == Ports::Framed) == framed)
        .or_else(|| dialect::dialects().last())
        .unwrap_or_else(dialect::oldest)
}

/// What the newest client of this dialect calls itself. (Package 0.10.3 calls itself 0.10.2.)
fn newest(dialect: &Dialect) -> String {
    if dialect.ports == Ports::Framed {
        "0.10.2".to_owned()
    } else {
        dialect.last.to_string()
    }
}

/// A version as a refusal may show it. Clients look for words in the text, and a suffix could be
/// one that means success.
fn version_text(version: Option<&str>) -> String {
    let text = version.map_or_else(|| "0.0.10 or older".to_owned(), dialect::echoable);
    let misleading = ["LOBBY", "RUNNING"].iter().any(|word| text.contains(word));
    if misleading {
        "unknown".to_owned()
    } else {
        text
    }
}
