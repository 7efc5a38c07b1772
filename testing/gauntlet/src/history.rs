//! The commands and their answers: everything that the checker knows from the users' side.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock;

/// The kind of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Create,
    Change,
    Complete,
    Reopen,
    Delete,
    /// Restores a version, also of a deleted task.
    Restore,
    /// An invalid or forbidden command, which must change nothing.
    Refused,
}

/// A reminder in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) id: Uuid,
    pub(crate) version: i32,
    pub(crate) remind_at: DateTime<Utc>,
    pub(crate) state: String,
}

/// A write request and its answers. It has several answers if it was repeated or raced with the same `Idempotency-Key`.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// The number of the user.
    pub(crate) user: usize,
    /// A unique word in the title of its task.
    pub(crate) marker: String,
    pub(crate) kind: Kind,
    pub(crate) request: String,
    pub(crate) started: DateTime<Utc>,
    pub(crate) ended: DateTime<Utc>,
    /// The status of each answer, or 0 for no answer.
    pub(crate) statuses: Vec<u16>,
    /// The task in each successful answer.
    pub(crate) tasks: Vec<Uuid>,
    /// The version in a successful answer; `None` for a delete.
    pub(crate) version: Option<i64>,
    pub(crate) reminders: Vec<Shown>,
}

/// The number of effects that the answers imply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Acknowledged: it has exactly one effect.
    Done,
    /// Refused: it has no effect.
    Refused,
    /// No answer or an ambiguous one: it has at most one effect.
    Unknown,
}

impl Command {
    pub(crate) fn outcome(&self) -> Outcome {
        let success = |status: &u16| (200..300).contains(status);
        let refusal = |status: &u16| (400..500).contains(status);
        if self.statuses.iter().any(success) {
            Outcome::Done
        } else if self.statuses.iter().all(refusal) {
            Outcome::Refused
        } else {
            Outcome::Unknown
        }
    }

    /// Records an answer, and the task of a successful one.
    pub(crate) fn answered(&mut self, status: u16, body: &Value) {
        self.statuses.push(status);
        if !(200..300).contains(&status) {
            return;
        }
        self.tasks.extend(id(&body["id"]));
        self.version = body["version"].as_i64();
        self.reminders = shown(body);
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "user": self.user, "marker": self.marker, "kind": format!("{:?}", self.kind), "request": self.request,
            "started": self.started, "ended": self.ended, "statuses": self.statuses, "tasks": self.tasks,
            "version": self.version, "reminders": format!("{:?}", self.reminders),
        })
    }
}

/// The reminders in an answer.
fn shown(task: &Value) -> Vec<Shown> {
    let reminders = task["reminders"].as_array().map(Vec::as_slice).unwrap_or_default();
    let read = |one: &Value| {
        Some(Shown {
            id: id(&one["id"])?,
            version: i32::try_from(one["version"].as_i64()?).ok()?,
            remind_at: one["remind_at"].as_str()?.parse().ok()?,
            state: one["state"].as_str()?.to_owned(),
        })
    };
    reminders.iter().filter_map(read).collect()
}

pub(crate) fn id(value: &Value) -> Option<Uuid> {
    value.as_str()?.parse().ok()
}

/// Data of one user that another user received during the load.
#[derive(Clone, Debug)]
pub(crate) struct Leak {
    pub(crate) at: DateTime<Utc>,
    pub(crate) what: String,
}

/// A concurrent log of commands and leaks.
#[derive(Debug, Default)]
pub(crate) struct History {
    commands: Mutex<Vec<Command>>,
    leaks: Mutex<Vec<Leak>>,
}

impl History {
    pub(crate) fn record(&self, command: Command) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push(command);
    }

    pub(crate) fn leak(&self, what: String) {
        let leak = Leak { at: clock::now(), what };
        self.leaks.lock().unwrap_or_else(PoisonError::into_inner).push(leak);
    }

    /// The commands, in the order in which they ended.
    pub(crate) fn commands(&self) -> Vec<Command> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn leaks(&self) -> Vec<Leak> {
        self.leaks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
