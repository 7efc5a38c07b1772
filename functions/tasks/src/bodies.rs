//! The bodies of requests, and their fields, each declared once. A body is read field by field (`input`, `draft`) and not into a
//! struct, so that an answer can name every invalid field.

use serde_json::{Value, json};
use shared::{
    capability::TEXT_LENGTH,
    recurrence::{Anchor, INTERVAL_LIMIT, Kind, RULE_LIMIT},
    schema::Channel,
    tag,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    field::{
        Documented, Duration, Field, Flag, Instant, List, Object, Objects,
        Presence::{self, NotNull, Optional, Required},
        PublicKey, Secret, Text, Whole, Word, ZoneName, body_schema,
    },
    series::Scope,
    task::Priority,
};

/// How many reminders a task may have.
pub(crate) const REMINDERS_LIMIT: usize = 20;
const A_YEAR_IN_MINUTES: u32 = 366 * 24 * 60;
const VERSION_LIMIT: u32 = i32::MAX.unsigned_abs();

pub(crate) const TITLE: Field<Text> =
    Field::new("title", Text::visible(1..=500), || json!({"example": "call the dentist"}));
pub(crate) const DESCRIPTION: Field<Text> = Field::new("description", Text::of(0..=10_000), none);
pub(crate) const PRIORITY: Field<Word<Priority>> =
    Field::new("priority", Word::new(), || json!({"description": "Null is `medium`."}));
pub(crate) const DUE_AT: Field<Instant> = Field::new(
    "due_at",
    Instant,
    || json!({"description": "RFC 3339, with its offset. Without it, reminders relative to it are cancelled."}),
);
pub(crate) const TIME_ZONE: Field<ZoneName> =
    Field::new("time_zone", ZoneName, || json!({"description": "An IANA name.", "example": "Europe/Berlin"}));
pub(crate) const TAGS: Field<List<Text>> = Field::new(
    "tags",
    List { item: Text::visible(1..=tag::NAME_LIMIT), items: 0..=20 },
    || json!({"description": "The whole list. Case tells tags apart.", "example": ["health"]}),
);
pub(crate) const REMINDERS: Field<Objects<NewReminder>> =
    Field::new("reminders", Objects::up_to(REMINDERS_LIMIT), none);
pub(crate) const RECURRENCE: Field<Object<RecurrenceInput>> =
    Field::new("recurrence", Object::new(), || json!({"description": "Needs a `due_at`, the first occurrence."}));

const RECURRENCE_PATCH: Field<Object<RecurrencePatch>> =
    Field::new(RECURRENCE.name, Object::new(), || json!({"description": "A merge patch of the recurrence."}));
pub(crate) const SCOPE: Field<Word<Scope>> = Field::new("scope", Word::new(), || {
    json!({
        "description": "Which occurrences of a recurring task the patch changes: `this` one alone, or this and all `following`. \
                        Null is `this`. A `recurrence` always applies from this occurrence on.",
    })
});
pub(crate) const TYPE: Field<Word<Kind>> = Field::new("type", Word::new(), none);
pub(crate) const INTERVAL: Field<Whole> = Field::new(
    "interval",
    Whole(1..=INTERVAL_LIMIT),
    || json!({"description": "The number of days, weeks, months or years from one occurrence to the next. Null is 1."}),
);
pub(crate) const RULE: Field<Text> = Field::new("rule", Text::of(1..=RULE_LIMIT), || {
    json!({
        "format": "rrule", "description": "RFC 5545. Required for `custom`, and for no other type.",
        "example": "FREQ=MONTHLY;BYDAY=-1FR",
    })
});
pub(crate) const ANCHOR: Field<Word<Anchor>> =
    Field::new("anchor", Word::new(), || json!({"description": "Null is `due`."}));

pub(crate) const FIRST_DUE_AT: Field<Instant> = Field::new(
    "due_at",
    Instant,
    || json!({"description": "RFC 3339, with its offset: when the first occurrence is due. `COUNT` counts from it."}),
);
/// The largest number of dates in a preview. A rule that rarely matches takes about half a millisecond for each.
const PREVIEW_LIMIT: u32 = 20;
pub(crate) const COUNT: Field<Whole> =
    Field::new("count", Whole(1..=PREVIEW_LIMIT), || json!({"description": "How many dates. Null is 5."}));

pub(crate) const REMIND_AT: Field<Instant> = Field::new(
    "remind_at",
    Instant,
    || json!({"description": "RFC 3339, with its offset. A reminder whose time has passed fires at once."}),
);
pub(crate) const BEFORE_DUE: Field<Duration> = Field::new("before_due", Duration, || {
    json!({
        "description": "An ISO 8601 duration before the due time. Days follow the clock of the task's zone.",
        "example": "PT15M",
    })
});
pub(crate) const CHANNELS: Field<List<Word<Channel>>> = Field::new(
    "channels",
    List { item: Word::new(), items: 1..=10 },
    || json!({"description": "Null is the user's, see `/v1/me`."}),
);
pub(crate) const OWN_CHANNELS: Field<List<Word<Channel>>> = Field::new(
    "channels",
    List { item: Word::new(), items: 1..=10 },
    || json!({"description": "The channels of a new reminder that names none. Null is `[\"email\"]`."}),
);
pub(crate) const DEFAULT_REMINDER: Field<Duration> = Field::new("default_reminder", Duration, || {
    json!({
        "description": "The reminder of a new task with a due time whose body names no reminders: an ISO 8601 duration before the due time. \
                        Null is none.",
        "example": "PT15M",
    })
});
pub(crate) const HIDE_TITLES: Field<Flag> = Field::new(
    "hide_titles",
    Flag,
    || json!({"description": "Whether notifications show no title of a task, for a screen that others see. Null is false."}),
);

pub(crate) const UNTIL: Field<Instant> =
    Field::new("until", Instant, || json!({"description": "RFC 3339, with its offset; in the future."}));
pub(crate) const MINUTES: Field<Whole> =
    Field::new("minutes", Whole(1..=A_YEAR_IN_MINUTES), || json!({"description": "From now.", "example": 10}));

pub(crate) const CAPABILITY: Field<Text> = Field::new(
    "capability",
    Text::of(1..=TEXT_LENGTH),
    || json!({"description": "The end of the link, after `#/act/`."}),
);

pub(crate) const VERSION: Field<Whole> = Field::new(
    "version",
    Whole(1..=VERSION_LIMIT),
    || json!({"description": "The version to restore. Of a deleted task the last one is that before its deletion.", "example": 3}),
);
pub(crate) const ENDPOINT: Field<Text> = Field::new("endpoint", Text::of(1..=2_000), || {
    json!({
        "description": "An https URL at a push service that this server may call. Keep it secret.",
        "example": "https://updates.push.services.mozilla.com/wpush/v2/abc",
    })
});
pub(crate) const P256DH: Field<PublicKey> =
    Field::new("p256dh", PublicKey, || json!({"description": "The browser's `getKey(\"p256dh\")`."}));
pub(crate) const AUTH: Field<Secret> =
    Field::new("auth", Secret, || json!({"description": "The browser's `getKey(\"auth\")`."}));
pub(crate) const VAPID_KEY: Field<PublicKey> = Field::new(
    "vapid_key",
    PublicKey,
    || json!({"description": "The `applicationServerKey` that the browser subscribed with: one of the `vapid_public_keys` of `/v1/me`."}),
);

fn none() -> Value {
    json!({})
}

/// Declares bodies: type, description, and fields with whether each must be there.
macro_rules! bodies {
    ($($name:ident: $description:literal, $fields:expr;)*) => {$(
        #[doc = $description]
        pub(crate) struct $name;

        impl $name {
            const FIELDS: &'static [(&'static dyn Documented, Presence)] = &$fields;
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                body_schema($description, Self::FIELDS)
            }
        }

        impl ToSchema for $name {}
    )*};
}

bodies! {
    NewTask: "A task to create. `remind_at` is short for one reminder at that time. Without a `time_zone` the task gets the user's.", [
        (&TITLE, Required), (&DESCRIPTION, Optional), (&PRIORITY, Optional), (&DUE_AT, Optional), (&TIME_ZONE, Optional),
        (&TAGS, Optional), (&REMINDERS, Optional), (&REMIND_AT, Optional), (&RECURRENCE, Optional),
    ];
    WholeTask: "A task that replaces another. An absent field gets its default. Without a `time_zone` the task gets the user's.", [
        (&TITLE, Required), (&DESCRIPTION, Optional), (&PRIORITY, Optional), (&DUE_AT, Optional), (&TIME_ZONE, Optional),
        (&TAGS, Optional), (&REMINDERS, Optional), (&RECURRENCE, Optional),
    ];
    TaskPatch: "A JSON merge patch of a task. A `time_zone` of null is the user's.", [
        (&TITLE, NotNull), (&DESCRIPTION, Optional), (&PRIORITY, Optional), (&DUE_AT, Optional), (&TIME_ZONE, Optional),
        (&TAGS, Optional), (&RECURRENCE_PATCH, Optional), (&SCOPE, Optional),
    ];
    RecurrenceInput: "How a task repeats.", [
        (&TYPE, Required), (&INTERVAL, Optional), (&RULE, Optional), (&ANCHOR, Optional),
    ];
    RecurrencePatch: "A merge patch of how a task repeats: `{\"interval\": 2}` keeps the type.", [
        (&TYPE, NotNull), (&INTERVAL, Optional), (&RULE, Optional), (&ANCHOR, Optional),
    ];
    PreviewedRecurrence: "A recurrence whose next dates are wanted. Without a `time_zone` they are in the user's.", [
        (&RECURRENCE, Required), (&FIRST_DUE_AT, Required), (&TIME_ZONE, Optional), (&COUNT, Optional),
    ];
    NewReminder: "A reminder to add, with exactly one of `remind_at` and `before_due`.", [
        (&REMIND_AT, Optional), (&BEFORE_DUE, Optional), (&CHANNELS, Optional),
    ];
    Snooze: "How long to snooze: exactly one of `until` and `minutes`.", [
        (&UNTIL, Optional), (&MINUTES, Optional),
    ];
    ActionRequest: "An action to perform. `minutes` is how long to snooze; null is 60.", [
        (&CAPABILITY, Required), (&MINUTES, Optional),
    ];
    Restore: "The version of a task to restore.", [
        (&VERSION, Required),
    ];
    NewPushSubscription: "A device to send reminders to, as the browser's `PushSubscription` says.", [
        (&ENDPOINT, Required), (&P256DH, Required), (&AUTH, Required), (&VAPID_KEY, Required),
    ];
    MePatch: "A JSON merge patch of the user. A `time_zone` of null is UTC.", [
        (&TIME_ZONE, Optional), (&OWN_CHANNELS, Optional), (&DEFAULT_REMINDER, Optional), (&HIDE_TITLES, Optional),
    ];
}

#[cfg(test)]
mod tests;
