//! What was asked for and what was answered: everything the checker knows of the users' side.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

/// What a command is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Create,
    Change,
    Complete,
    Reopen,
    Delete,
    /// Not valid, or not allowed: it must change nothing.
    Refused,
}

/// A reminder as an answer showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) id: Uuid,
    pub(crate) version: i32,
    pub(crate) remind_at: DateTime<Utc>,
    pub(crate) state: String,
}

/// One request that writes, with all its answers: several where it was repeated or raced with the same `Idempotency-Key`.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// Users are numbered.
    pub(crate) user: usize,
    /// In the title of its task, and nowhere else.
    pub(crate) marker: String,
    pub(crate) kind: Kind,
    pub(crate) request: String,
    pub(crate) started: DateTime<Utc>,
    pub(crate) ended: DateTime<Utc>,
    /// The status of each answer; 0 where none came.
    pub(crate) statuses: Vec<u16>,
    /// The task of each success.
    pub(crate) tasks: Vec<Uuid>,
    /// The version a success answered with; none for a delete.
    pub(crate) version: Option<i64>,
    pub(crate) reminders: Vec<Shown>,
}

/// What is known of a command's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Acknowledged: exactly one effect.
    Done,
    /// Refused: none.
    Refused,
    /// No answer, or one that leaves it open: none or one.
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

    /// Reads the task in the answer of a success.
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

/// A wall that fell while the load ran; each is a failure by itself.
#[derive(Clone, Debug)]
pub(crate) struct Leak {
    pub(crate) at: DateTime<Utc>,
    pub(crate) what: String,
}

/// Everything recorded, by many at once.
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
        let leak = Leak { at: Utc::now(), what };
        self.leaks.lock().unwrap_or_else(PoisonError::into_inner).push(leak);
    }

    /// The commands in the order they ended.
    pub(crate) fn commands(&self) -> Vec<Command> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn leaks(&self) -> Vec<Leak> {
        self.leaks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
