//! The command role, port p: logins, and everything users ask for.
//!
//! Strangers may log in and ask for the server info. Anything else by somebody who is not logged
//! in comes from a client that believes it still is (after a restart of the server, or a link
//! that came back too late): it is told once that it is not, so that its artist does not work
//! into a void.

use std::sync::Arc;

use super::context::Context;
use super::peer::{Link, Peer};
use super::read::Received;
use super::role::Speech;
use crate::counters::Count;
use crate::session::Event;
use crate::session::event::End;
use crate::session::login::fallback;
use crate::session::outlet::{Outlet, Slot};
use crate::wire::command::{self, Answer, Command, Request};
use crate::wire::dialect::{self, Framing};
use crate::wire::transport;

/// What somebody is told who acts without being logged in.
const NOT_LOGGED_IN: &str = "you are not part of this session any more, please join again";
/// What somebody is told who tries passwords too fast.
const TOO_MANY_LOGINS: &str = "FAILED: too many login attempts from your address, wait a minute";

/// See the module.
#[derive(Debug)]
pub(crate) struct CommandSpeech;

impl Speech for CommandSpeech {
    fn understand(
        &mut self,
        peer: &Arc<Peer>,
        link: &Arc<Link>,
        received: &mut Received,
        context: &Context,
    ) -> Option<Event> {
        if peer.is_stranger() && peer.outbox.queued() > context.limits.stranger_answers {
            let what = "questions whose answers are not read";
            context
                .counters
                .refuse(Count::RefusedStranger, peer.identity(), what);
            link.finish(End::Misused);
            return None;
        }
        let command = match command::decode(&received.message, &context.limits.command) {
            Ok(command) => command,
            Err(error) => {
                context
                    .counters
                    .refuse(Count::MalformedMessages, peer.identity(), error);
                if peer.is_stranger() {
                    link.finish(End::Misused);
                }
                return None;
            }
        };
        match &command.request {
            // Also of users: whoever is in could guess the admin password otherwise.
            Request::Auth(_) if is_too_often(peer, link, context) => {
                refuse_attempt(peer, &command, context);
                return None;
            }
            Request::Auth(_) | Request::Info => {}
            _ if peer.is_stranger() => {
                tell_stranger(peer, command.framing, context);
                return None;
            }
            _ => {}
        }
        Some(Event::Command(command))
    }
}

fn is_too_often(peer: &Arc<Peer>, link: &Arc<Link>, context: &Context) -> bool {
    let attempt = context
        .admission
        .login_attempt(link.address, peer.identity().as_bytes());
    attempt.is_err()
}

fn refuse_attempt(peer: &Arc<Peer>, command: &Command, context: &Context) {
    context.counters.refuse(
        Count::RefusedLogin,
        peer.identity(),
        "too many login attempts",
    );
    let dialect = match &command.request {
        Request::Auth(auth) => dialect::for_version(auth.version.as_deref()).ok(),
        _ => None,
    };
    let dialect = dialect
        .filter(|d| d.commands == command.framing)
        .unwrap_or_else(|| fallback(command.framing, peer.is_framed()));
    let answer = command::encode(dialect, &Answer::Auth(TOO_MANY_LOGINS));
    peer.command(Slot::Plain, transport::encode(dialect.ports, &answer));
}

/// Tells somebody who is not logged in so, once.
pub(crate) fn tell_stranger(peer: &Arc<Peer>, framing: Framing, context: &Context) {
    context
        .counters
        .refuse(Count::RefusedStranger, peer.identity(), "not logged in");
    if peer.tell_once() {
        let dialect = fallback(framing, peer.is_framed());
        let answer = Answer::Disconnect {
            reason: NOT_LOGGED_IN,
        };
        let bytes = transport::encode(dialect.ports, &command::encode(dialect, &answer));
        peer.command(Slot::Plain, bytes);
    }
}
