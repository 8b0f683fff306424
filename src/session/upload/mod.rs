//! The first client brings the nodes: offer, transfer, end (wire spec, ServerSnapshot).
//!
//! An upload is a transaction. Nothing of it is visible until the last announced node is there;
//! if the uploader leaves or stalls, all of it is dropped and those in the lobby wait on. What the
//! uploader pushes meanwhile outside the announced set waits until it is done (`early`). Nodes are
//! written to the disk as they arrive (`ahead`), since the host waits until all of it is safe.

mod early;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use self::early::Early;
use super::guard::guarded;
use super::live::Push;
use super::outlet::Outlet;
use super::replicas::cost;
use super::state::{Phase, Session, Timer};
use super::users::{STATUS_ACTIVE, Stage};
use crate::config::Upload as Uploaders;
use crate::counters::Count;
use crate::store::Stored;
use crate::text::shown;
use crate::wire::command::Answer;
use crate::wire::dialect::Ports;
use crate::wire::identity::{Identity, NodeId, NodeSet};
use crate::wire::node::{NodeState, Update};
use crate::wire::role::Role;

/// How long clients up to 0.1.26 take from sending an offer to expecting its answer: an earlier
/// one ends their network thread (wire spec, "What a client must never see").
const SLOW_ANSWER: Duration = Duration::from_millis(150);

/// An upload under way.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) uploader: Identity,
    /// Announced nodes in the client's order.
    announced: Vec<NodeId>,
    /// Those that have not arrived, with the versions they will have, unless nodes are made
    /// meanwhile that are none of it.
    missing: HashMap<NodeId, u64>,
    received: HashMap<NodeId, NodeState>,
    bytes: usize,
    ended: bool,
    /// Everything is there, and is being written to the disk; it is as safe as this change.
    settling: Option<u64>,
    /// When it last got anywhere.
    progress: Instant,
    /// What the operator has changed meanwhile, of which the uploader cannot be told yet.
    pub(super) operated: NodeSet,
    /// Everything else that came meanwhile, in order.
    early: Vec<Early>,
    early_bytes: usize,
}

/// What the disk will be told of a node, if it gets this version.
fn upcoming(node: &NodeState, version: u64) -> Stored {
    Stored {
        place: version,
        owner: node.owner.as_str().into(),
        kind: node.kind.clone(),
        dependencies: node.dependencies.clone(),
        version,
        base: node.payload.clone(),
        tail_start: 0,
        tail: Vec::new(),
        aside: None,
    }
}

impl<O: Outlet> Session<O> {
    /// ServerSnapshot INIT.
    pub(super) fn offer(&mut self, who: &Identity, nodes: Vec<NodeId>, now: Instant) {
        let Some(dialect) = self.dialect() else {
            return;
        };
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        user.offered = true;
        let untouched = matches!(&user.stage, Stage::Fetching(fetching) if !fetching.asked);
        if untouched && !std::mem::replace(&mut user.crossed, true) {
            // The offer crossed the catalog of an upload that was just done. (It cannot do so again, and
            // catalogs are long.)
            user.stage = Stage::Lobby;
        }
        let free = matches!(user.stage, Stage::Lobby);
        if free {
            user.stage = Stage::Offering;
        }
        let allowed = user.admin || self.settings.upload == Uploaders::Anyone;
        let fits = nodes.len() <= self.settings.max_nodes;
        if free && matches!(self.phase, Phase::Waiting) && allowed && fits {
            info!(name: "upload.started", user = %shown(&user.name), nodes = nodes.len(), "upload started");
            let mut missing = HashMap::with_capacity(nodes.len());
            for id in &nodes {
                let before = missing.len() as u64;
                let version = self.replicas.next_version().wrapping_add(before);
                missing.entry(*id).or_insert(version);
            }
            self.phase = Phase::Uploading(Upload {
                uploader: who.clone(),
                missing,
                announced: nodes,
                received: HashMap::new(),
                bytes: 0,
                ended: false,
                settling: None,
                progress: now,
                operated: NodeSet::default(),
                early: Vec::new(),
                early_bytes: 0,
            });
        } else {
            let why = if !allowed {
                "an upload offer by somebody who is not admin"
            } else if !fits {
                "an upload of more nodes than the session may hold"
            } else {
                "an upload offer while the session has one or has nodes"
            };
            self.counters.refuse(Count::RefusedUpload, who, why);
        }
        if dialect.slow_answers {
            self.at(now + SLOW_ANSWER, Timer::AnswerOffer(who.clone()));
        } else {
            self.answer_offer(who, now);
        }
    }

    pub(super) fn answer_offer(&mut self, who: &Identity, now: Instant) {
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        if !std::mem::take(&mut user.offered) {
            return;
        }
        if !matches!(user.stage, Stage::Offering) {
            self.answer(who, &Answer::UploadRejected);
        } else if matches!(&self.phase, Phase::Uploading(upload) if upload.uploader == *who) {
            user.stage = Stage::Uploading;
            self.answer(who, &Answer::UploadAccepted);
            self.complete_upload(now);
        } else {
            user.stage = Stage::Lobby;
            user.answered = Some(now);
            self.answer(who, &Answer::UploadRejected);
            if matches!(self.phase, Phase::Active) {
                self.want_catalog(who, now);
            }
        }
    }

    /// ServerSnapshot SET.
    pub(super) fn upload_set(&mut self, who: &Identity, node: NodeState, now: Instant) {
        let announced = self
            .uploading(who)
            .is_some_and(|u| u.missing.contains_key(&node.id));
        if announced {
            self.take_uploaded(node, now);
        } else {
            self.counters
                .refuse(Count::RefusedUpload, who, "a node that was not announced");
        }
    }

    /// ServerSnapshot END. It may overtake the last nodes (G1–G4): what counts is that all
    /// announced ones are there.
    pub(super) fn upload_end(&mut self, who: &Identity, now: Instant) {
        let Some(upload) = self.uploading(who) else {
            // After the last node this is the normal case: DONE has been sent already.
            self.show_active(who);
            return;
        };
        upload.ended = true;
        self.complete_upload(now);
    }

    fn uploading(&mut self, who: &Identity) -> Option<&mut Upload> {
        match &mut self.phase {
            Phase::Uploading(upload) if upload.uploader == *who => Some(upload),
            _ => None,
        }
    }

    /// What a pushed node means while an upload runs.
    pub(super) fn during_upload(&mut self, push: Push, now: Instant) {
        let limit = self.settings.max_session;
        let Phase::Uploading(upload) = &mut self.phase else {
            return;
        };
        match push.update {
            Update::Node(node)
                if upload.uploader == push.who && upload.missing.contains_key(&node.id) =>
            {
                self.take_uploaded(node, now);
            }
            // Nobody else has joined yet.
            _ if upload.uploader != push.who => {
                let what = "a node before its join was done";
                self.counters.refuse(Count::RefusedUpdate, &push.who, what);
            }
            _ if upload.hold(limit, push.cost()) => upload.early.push(Early::Update(push)),
            _ => self
                .counters
                .refuse(Count::RefusedFull, &push.who, "a push during an upload"),
        }
    }

    fn take_uploaded(&mut self, mut node: NodeState, now: Instant) {
        let limit = self.settings.max_session;
        let Phase::Uploading(upload) = &mut self.phase else {
            return;
        };
        let who = upload.uploader.clone();
        upload.bytes = upload.bytes.saturating_add(cost(&node));
        if upload.bytes.saturating_add(upload.early_bytes) > limit {
            self.counters.refuse(Count::RefusedFull, &who, "an upload");
            self.discard_upload(now);
            let reason = "the upload is larger than this server allows";
            self.dismiss(&who, reason, now);
            return;
        }
        if let Some(user) = self.users.get(&who) {
            let owner = super::authority::owner_of_new(&node.owner, &user.name);
            if owner != node.owner {
                node.owner = owner.into();
            }
        }
        let version = upload.missing.remove(&node.id);
        upload.progress = now;
        if let Some(version) = version.filter(|_| self.keeps) {
            self.ahead.add((node.id, upcoming(&node, version)), now);
        }
        upload.received.insert(node.id, node);
        self.complete_upload(now);
    }

    fn complete_upload(&mut self, now: Instant) {
        let Phase::Uploading(upload) = &mut self.phase else {
            return;
        };
        let ready = self
            .users
            .get(&upload.uploader)
            .is_some_and(|u| matches!(u.stage, Stage::Uploading));
        if !ready || !upload.missing.is_empty() || (upload.announced.is_empty() && !upload.ended) {
            return;
        }
        if upload.settling.is_some() {
            return;
        }
        let mut received = std::mem::take(&mut upload.received);
        for id in &upload.announced {
            if let Some(node) = received.remove(id) {
                self.replicas.store(node);
            }
        }
        upload.settling = Some(self.replicas.sequence());
        self.ahead.complete();
        self.note_author();
        if !self.keeps || !self.replicas.has_changes() {
            self.finish_upload(now);
        }
    }

    /// Whether an upload waits for the disk.
    pub(super) fn is_settling(&self) -> bool {
        matches!(&self.phase, Phase::Uploading(upload) if upload.settling.is_some())
    }

    /// What was changed up to here is safe, or as safe as it will be: an upload that waits for that
    /// is done.
    pub(super) fn settled(&mut self, sequence: u64, now: Instant) {
        let waits = |upload: &Upload| upload.settling.is_some_and(|then| then <= sequence);
        if matches!(&self.phase, Phase::Uploading(upload) if waits(upload)) {
            self.finish_upload(now);
        }
    }

    fn finish_upload(&mut self, now: Instant) {
        let Phase::Uploading(upload) = std::mem::replace(&mut self.phase, Phase::Active) else {
            return;
        };
        self.ahead.end();
        let who = upload.uploader.clone();
        info!(name: "upload.done", nodes = self.replicas.len(), bytes = self.replicas.bytes(), "upload done");
        self.answer(&who, &Answer::UploadDone);
        if let Some(user) = self.users.get_mut(&who) {
            user.stage = Stage::Active;
        }
        if upload.ended {
            self.show_active(&who);
        }
        let counters = Arc::clone(&self.counters);
        // Whatever is wrong with that, what waits is to be done.
        guarded(&counters, || {
            self.let_lobby_in(now);
            self.tell_operated(&who, &upload.operated, now);
        });
        self.apply_early(upload.early, now);
        if let Some(user) = self.users.get_mut(&who) {
            // (What it pushed before does not tell that it got this.)
            user.answered = Some(now);
        }
        self.reopen_if_barren();
    }

    /// There is something to join now: those in the lobby get the catalog, asked for or not.
    pub(super) fn let_lobby_in(&mut self, now: Instant) {
        let waiting: Vec<_> = self
            .users
            .iter()
            .filter(|(_, user)| matches!(user.stage, Stage::Lobby) && !user.withheld)
            .map(|(id, _)| id.clone())
            .collect();
        for user in waiting {
            self.want_catalog(&user, now);
        }
    }

    /// Shows a user as one who has everything (G3 on).
    pub(super) fn show_active(&mut self, who: &Identity) {
        let Some(dialect) = self.dialect() else {
            return;
        };
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        if dialect.active_status_on_done && user.is_active() && user.status != STATUS_ACTIVE {
            user.status = STATUS_ACTIVE;
            self.tell_users();
        }
    }

    /// A payload of this node that others must not be given was dropped.
    pub(super) fn unfit(&mut self, who: &Identity, node: NodeId, now: Instant) {
        if self
            .uploading(who)
            .is_some_and(|upload| upload.missing.contains_key(&node))
        {
            self.discard_upload(now);
            let reason = "a node of this scene holds what this server does not pass on";
            self.dismiss(who, reason, now);
        } else {
            self.tell_truth_in_turn(who, node, now);
        }
    }

    /// The uploader leaves. What it brought is dropped, unless that is complete.
    pub(super) fn lose_uploader(&mut self, who: &Identity, now: Instant) {
        if !self.is_settling() {
            return self.discard_upload(now);
        }
        let Phase::Uploading(mut upload) = std::mem::replace(&mut self.phase, Phase::Active) else {
            return;
        };
        // What it changed after that counts as well, while it is still known who it is…
        if let Some(user) = self.users.get_mut(who) {
            user.stage = Stage::Active;
        }
        self.apply_early(std::mem::take(&mut upload.early), now);
        // …and if it logs in again it has nothing, like everybody else.
        upload.uploader = Identity::anonymous();
        self.phase = Phase::Uploading(upload);
    }

    /// Drops an upload; those in the lobby stay there.
    fn discard_upload(&mut self, now: Instant) {
        if let Phase::Uploading(upload) = &self.phase {
            warn!(name: "upload.discarded", missing = upload.missing.len(),
                received = upload.received.len(), "upload discarded");
            self.phase = Phase::Waiting;
            self.ahead.end();
            if !self.replicas.is_empty() {
                // The operator has put some back meanwhile.
                self.phase = Phase::Active;
                self.let_lobby_in(now);
            }
        }
    }

    /// Gives up an upload that makes no progress: no byte of commands or nodes for too long.
    pub(super) fn find_stalled_upload(&mut self, now: Instant) {
        let Phase::Uploading(upload) = &self.phase else {
            return;
        };
        if upload.settling.is_some() {
            return;
        }
        let who = upload.uploader.clone();
        let stall = self.settings.stall;
        let Some(user) = self.users.get(&who) else {
            return self.discard_upload(now);
        };
        if now < upload.progress.max(user.outlet.last_bulk()) + stall {
            return;
        }
        let four = self.dialect().is_some_and(|d| d.ports == Ports::Four);
        let reason = if four && !user.outlet.is_linked(Role::Publisher) {
            format!(
                "no nodes arrive, is port {} (publisher) forwarded and open?",
                self.settings.port(Role::Publisher, Ports::Four)
            )
        } else {
            "the upload made no progress".to_owned()
        };
        self.discard_upload(now);
        self.dismiss(&who, &reason, now);
    }
}
