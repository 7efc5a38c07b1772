//! The payload of each event type. The JSON Schemas in `shared/schema/` are generated from these types; the end-to-end tests
//! validate every event on the topics against them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::event::EventType;

/// The payload of one event type.
pub trait Payload: Serialize + DeserializeOwned + JsonSchema + Send + 'static {
    /// The CloudEvents `type`.
    const TYPE: EventType;

    /// The task that the event is about.
    fn task(&self) -> &TaskRef;

    /// The reminder that the event is about, with its version.
    fn reminder(&self) -> Option<(Uuid, i32)> {
        None
    }
}

/// The task an event is about: part of every payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRef {
    /// The task.
    pub task_id: Uuid,
    /// Its owner.
    pub user_id: Uuid,
    /// Its title when the event was written.
    pub title: String,
    /// Its version when the event was written.
    pub version: i64,
}

/// A task was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCreated {
    /// The task.
    #[serde(flatten)]
    pub task: TaskRef,
}

/// A task, or one of its reminders, was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskUpdated {
    /// The task.
    #[serde(flatten)]
    pub task: TaskRef,
}

/// A task was completed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCompleted {
    /// The task.
    #[serde(flatten)]
    pub task: TaskRef,
    /// When the user completed it.
    pub completed_at: DateTime<Utc>,
}

/// A task was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskDeleted {
    /// The task.
    #[serde(flatten)]
    pub task: TaskRef,
}

/// A reminder is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReminderDue {
    /// The task.
    #[serde(flatten)]
    pub task: TaskRef,
    /// The reminder.
    pub reminder_id: Uuid,
    /// The planned instant.
    pub remind_at: DateTime<Utc>,
    /// The version that fired. Moving or cancelling a reminder gives it a new version.
    pub reminder_version: i32,
}

/// A provider accepted the message of a reminder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReminderSent {
    /// The task.
    #[serde(flatten)]
    pub task: TaskRef,
    /// The reminder.
    pub reminder_id: Uuid,
    /// The planned instant.
    pub remind_at: DateTime<Utc>,
    /// The version that was sent.
    pub reminder_version: i32,
    /// The channel that it was sent on.
    pub channel: Channel,
    /// The row of `notification_deliveries`.
    pub delivery_id: Uuid,
}

/// Something that a client shows of a task has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskChanged {
    /// The task.
    #[serde(flatten)]
    pub task: TaskRef,
    /// The event that changed it.
    pub cause: EventType,
}

/// How a reminder reaches its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// E-mail.
    Email,
}

impl Channel {
    /// The stored value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
        }
    }
}

impl std::str::FromStr for Channel {
    type Err = UnknownChannel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "email" => Ok(Self::Email),
            _ => Err(UnknownChannel),
        }
    }
}

/// A name that is not a [`Channel`].
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("is not a channel: only email is")]
pub struct UnknownChannel;

macro_rules! payload {
    ($($name:ident)*) => {$(
        impl Payload for $name {
            const TYPE: EventType = EventType::$name;
            fn task(&self) -> &TaskRef { &self.task }
        }
    )*};
    (reminder: $($name:ident)*) => {$(
        impl Payload for $name {
            const TYPE: EventType = EventType::$name;
            fn task(&self) -> &TaskRef { &self.task }
            fn reminder(&self) -> Option<(Uuid, i32)> { Some((self.reminder_id, self.reminder_version)) }
        }
    )*};
}
payload!(TaskCreated TaskUpdated TaskCompleted TaskDeleted TaskChanged);
payload!(reminder: ReminderDue ReminderSent);
