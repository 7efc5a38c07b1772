//! The payload of each event type. The JSON Schemas in `shared/schema/` are generated from these types; the end-to-end tests
//! validate every event on the topics against them.
//!
//! Payloads stay in the outbox for 45 days, and during a rollout or after a rollback older code reads those of newer code. So every released
//! payload must parse, and so must values that a later release adds to an enum. A field that is added later has a default. The samples in
//! `shared/tests/payloads` are the payloads of each release; a change of a payload adds one and changes none.

use std::fmt::Debug;

use catalogue::EventType;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// The payload of one event type.
pub trait Payload: Serialize + DeserializeOwned + JsonSchema + Debug + PartialEq + Send + 'static {
    /// The CloudEvents `type`.
    const TYPE: EventType;

    /// The task that the event is about.
    fn task(&self) -> &TaskRef;

    /// The reminder that the event is about, with its version.
    fn reminder(&self) -> Option<(Uuid, i32)> {
        None
    }
}

/// Something that is done with every payload type.
pub trait PayloadVisitor {
    /// Visits one type.
    fn visit<T: Payload>(&mut self);
}

macro_rules! payloads {
    ($($name:ident $({ $reminder:ident, $version:ident })?),+) => {
        $(impl Payload for $name {
            const TYPE: EventType = EventType::$name;

            fn task(&self) -> &TaskRef {
                &self.task
            }

            $(fn reminder(&self) -> Option<(Uuid, i32)> {
                Some((self.$reminder, self.$version))
            })?
        })+

        /// Visits every payload type, in the order of [`EventType::ALL`].
        pub fn visit_payloads(visitor: &mut impl PayloadVisitor) {
            $(visitor.visit::<$name>();)+
        }
    };
}

/// An [`EventType`] in a payload: its CloudEvents `type`.
mod event_type {
    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::EventType;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
    pub(super) fn serialize<S: Serializer>(kind: &EventType, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventType, D::Error> {
        let name = String::deserialize(deserializer)?;
        EventType::parse(&name).ok_or_else(|| D::Error::custom(format_args!("there is no event type {name:?}")))
    }

    pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
        let one_of = EventType::ALL
            .map(|kind| json_schema!({"description": kind.about(), "type": "string", "const": kind.as_str()}));
        json_schema!({ "oneOf": one_of })
    }
}

/// The type of the event that caused a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Cause {
    /// A type that this code knows.
    Known(
        #[serde(with = "event_type")]
        #[schemars(schema_with = "event_type::schema")]
        EventType,
    ),
    /// A type that newer code has added.
    Other(String),
}

impl From<EventType> for Cause {
    fn from(kind: EventType) -> Self {
        Self::Known(kind)
    }
}

/// The channel that a message was sent on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SentOn {
    /// A channel that this code knows.
    Known(Channel),
    /// A channel that newer code has added.
    Other(String),
}

impl From<Channel> for SentOn {
    fn from(channel: Channel) -> Self {
        Self::Known(channel)
    }
}

impl From<String> for SentOn {
    fn from(name: String) -> Self {
        name.parse().map_or(Self::Other(name), Self::Known)
    }
}

/// How a reminder reaches its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Email.
    Email,
    /// Web Push, to each device that the user has subscribed.
    Push,
}

impl Channel {
    /// Every channel, in order of declaration.
    pub const ALL: [Self; 2] = [Self::Email, Self::Push];

    /// The stored value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Push => "push",
        }
    }
}

impl std::str::FromStr for Channel {
    type Err = UnknownChannel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == text).ok_or(UnknownChannel)
    }
}

/// A name that is not a [`Channel`].
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("is not a channel: `email` and `push` are")]
pub struct UnknownChannel;

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
    pub channel: SentOn,
    /// The push subscription that it was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Uuid>,
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
    pub cause: Cause,
}

payloads!(
    TaskCreated,
    TaskUpdated,
    TaskCompleted,
    TaskDeleted,
    ReminderDue { reminder_id, reminder_version },
    ReminderSent { reminder_id, reminder_version },
    TaskChanged
);

#[cfg(test)]
mod tests;
