//! A text from the operator that everybody sees for a few seconds.
//!
//! Clients have no messages. What every generation of the add-on does show are the other users: a
//! row in a list, and a name in the 3D view where they look from. So the text becomes one more user
//! for a while, who stands in the upper left corner of what each artist sees. That user is in
//! nobody's way: it owns nothing, cannot be given anything, and is in no count.
//!
//! What an entry needs (add-on, all generations): each key below is read without asking; the
//! corners of a view are three numbers each, seven of them; the view is drawn anew when its matrix
//! changes. A name with a NUL is listed again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::outlet::{Outlet, Slot};
use super::state::Session;
use super::users::{STATUS_ACTIVE, User};
use crate::wire::command::Answer;
use crate::wire::pickle::{Dict, Items, Value};

/// How long it is shown.
const SHOWN: Duration = Duration::from_secs(12);
/// Longest text, in characters: more has no room in a view.
const LONGEST: usize = 80;
/// Where it stands in a view: from the left, and from the bottom.
const PLACE: (f64, f64) = (0.05, 0.75);
/// Corners of a view: its rectangle, the eye, and what is looked at.
const CORNERS: usize = 7;
/// Yellow.
const COLOUR: [f64; 4] = [1.0, 0.8, 0.0, 1.0];
/// What the matrix of the view is changed by, so that it is drawn.
const CHANGE: f64 = 1e-9;

/// A text that is being shown.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    /// The text, as a user's name.
    name: Arc<str>,
    until: Instant,
    /// How often it was sent.
    count: u32,
    /// It is over: what it has left in the views is to be removed.
    last: bool,
}

impl<O: Outlet> Session<O> {
    /// Shows everybody a text. Returns how many there are.
    ///
    /// # Errors
    /// If there is nothing to show.
    pub fn say(&mut self, text: &str, now: Instant) -> Result<usize, String> {
        let text: String = text
            .chars()
            .filter(|c| !c.is_control())
            .take(LONGEST)
            .collect();
        let text = text.trim();
        if text.is_empty() {
            return Err("say what?".to_owned());
        }
        self.notice = Some(Notice {
            name: format!("» {text}").into(),
            until: now + SHOWN,
            count: 0,
            last: false,
        });
        self.tell_users();
        Ok(self.users.len())
    }

    /// Shows it again where artists look now, or removes it. Called once a second.
    pub(super) fn renew_notice(&mut self, now: Instant) {
        let Some(notice) = &mut self.notice else {
            return;
        };
        if std::mem::replace(&mut notice.last, now >= notice.until) {
            self.notice = None;
        }
        self.tell_users();
    }

    /// The users dict for each user, with the text among them. Returns the bytes of all of them.
    pub(super) fn tell_users_with_notice(&mut self) -> usize {
        let Some(notice) = &mut self.notice else {
            return 0;
        };
        notice.count = notice.count.wrapping_add(1);
        let notice = notice.clone();
        let Value::Dict(users) = self.users.to_value() else {
            return 0;
        };
        let mut sent = 0usize;
        let taken = self.users.named(&notice.name).is_some();
        for (_, user) in self.users.iter() {
            let mut users = users.clone();
            if let (false, Some(entry)) = (taken, entry(&notice, user)) {
                users.insert(Value::str(&*notice.name), Value::Dict(entry));
            }
            if let Some(bytes) = self.encode(&Answer::Users(&Value::Dict(users))) {
                sent = sent.saturating_add(bytes.len());
                user.outlet.command(Slot::Users, bytes);
            }
        }
        sent
    }
}

/// The text as one more user, standing where this one looks. `None` while that is not known.
fn entry<O>(notice: &Notice, user: &User<O>) -> Option<Dict> {
    let scene = user.metadata.get("scene_current")?;
    let frame = user.metadata.get("frame_current")?;
    let corners = corners(user.metadata.get("view_corners")?)?;
    let matrix = changed(user.metadata.get("view_matrix")?, notice.count)?;
    let mut metadata = Dict::new();
    metadata.insert("color", Value::Tuple(floats(&COLOUR)));
    metadata.insert("scene_current", scene.clone());
    metadata.insert("frame_current", frame.clone());
    metadata.insert("mode_current", Value::str("OBJECT"));
    if !notice.last {
        let place = Value::List(floats(&place(&corners)));
        metadata.insert("view_corners", Value::List(vec![place; CORNERS].into()));
    }
    metadata.insert("view_matrix", matrix);
    let mut entry = Dict::new();
    entry.insert("id", Value::str(&*notice.name));
    entry.insert("admin", Value::Bool(false));
    entry.insert("latency", Value::Int(0));
    entry.insert("status", Value::Int(STATUS_ACTIVE));
    entry.insert("metadata", Value::Dict(metadata));
    Some(entry)
}

/// A place in the rectangle of a view, whose corners are bottom left, top right, top left, bottom
/// right.
fn place(corners: &[[f64; 3]; 4]) -> [f64; 3] {
    let (u, t) = PLACE;
    let shares = [(1.0 - u) * (1.0 - t), u * t, (1.0 - u) * t, u * (1.0 - t)];
    let mut place = [0.0; 3];
    for (corner, share) in corners.iter().zip(shares) {
        for (sum, value) in place.iter_mut().zip(corner) {
            *sum += share * value;
        }
    }
    place
}

/// The rectangle of a view that is one.
fn corners(value: &Value) -> Option<[[f64; 3]; 4]> {
    let items = items(value)?;
    if items.len() != CORNERS {
        return None;
    }
    let mut corners = [[0.0; 3]; 4];
    for (corner, value) in corners.iter_mut().zip(items) {
        let values = self::items(value)?;
        if values.len() != corner.len() {
            return None;
        }
        for (number, value) in corner.iter_mut().zip(values) {
            *number = float(value)?;
        }
    }
    Some(corners)
}

/// The matrix of a view, a little different each time.
fn changed(value: &Value, count: u32) -> Option<Value> {
    let mut rows = items(value)?.to_vec();
    let last = rows.first_mut()?;
    let mut row = items(last)?.to_vec();
    let number = row.last_mut()?;
    *number = Value::Float(float(number)? + f64::from(count) * CHANGE);
    *last = Value::List(row.into());
    Some(Value::List(rows.into()))
}

fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::List(items) | Value::Tuple(items) => Some(items),
        _ => None,
    }
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(float) if float.is_finite() => Some(*float),
        Value::Int(int) => Some(*int as f64),
        _ => None,
    }
}

fn floats(values: &[f64]) -> Items {
    values
        .iter()
        .copied()
        .map(Value::Float)
        .collect::<Vec<_>>()
        .into()
}
