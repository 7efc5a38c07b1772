//! Requests as the OpenAPI document shows them. They are read field by field (`input`, `draft`, `params`) and not into these
//! types, so that an answer can name every field at fault.

use chrono::{DateTime, Utc};
use shared::{
    recurrence::{Anchor, Kind},
    schema::Channel,
};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{
        Object, ObjectBuilder, Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::Type,
    },
};

use crate::{command::IDEMPOTENCY_KEY, task::Priority};

/// A task to create.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body")]
pub(crate) struct NewTask {
    #[schema(min_length = 1, max_length = 500, example = "call the dentist")]
    title: String,
    #[schema(max_length = 10_000)]
    description: Option<String>,
    #[schema(default = "medium")]
    priority: Option<Priority>,
    /// RFC 3339, with its offset.
    due_at: Option<DateTime<Utc>>,
    /// An IANA name; the user's own where absent.
    #[schema(format = "time-zone", example = "Europe/Berlin")]
    time_zone: Option<String>,
    #[schema(max_items = 20, example = json!(["health"]))]
    tags: Option<Vec<String>>,
    #[schema(max_items = 20)]
    reminders: Option<Vec<NewReminder>>,
    /// Short for one reminder at this instant.
    remind_at: Option<DateTime<Utc>>,
    /// Needs a `due_at`, which is its first occurrence.
    recurrence: Option<RecurrenceInput>,
}

/// A task as it is to be.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body")]
pub(crate) struct WholeTask {
    #[schema(min_length = 1, max_length = 500, example = "call the dentist")]
    title: String,
    #[schema(max_length = 10_000)]
    description: Option<String>,
    #[schema(default = "medium")]
    priority: Option<Priority>,
    /// RFC 3339, with its offset.
    due_at: Option<DateTime<Utc>>,
    /// An IANA name; the user's own where absent.
    #[schema(format = "time-zone")]
    time_zone: Option<String>,
    #[schema(max_items = 20)]
    tags: Option<Vec<String>>,
    #[schema(max_items = 20)]
    reminders: Option<Vec<NewReminder>>,
    /// Needs a `due_at`, which is its first occurrence.
    recurrence: Option<RecurrenceInput>,
}

/// A JSON merge patch of a task.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body")]
pub(crate) struct TaskPatch {
    #[schema(min_length = 1, max_length = 500, nullable = false)]
    title: Option<String>,
    #[schema(max_length = 10_000)]
    description: Option<String>,
    /// Null is medium.
    priority: Option<Priority>,
    /// RFC 3339, with its offset. Taken away, reminders relative to it rest.
    due_at: Option<DateTime<Utc>>,
    /// Null is the user's own.
    #[schema(format = "time-zone")]
    time_zone: Option<String>,
    /// The whole list.
    #[schema(max_items = 20)]
    tags: Option<Vec<String>>,
    /// Itself a merge patch: `{"interval": 2}` leaves the type as it is.
    recurrence: Option<RecurrencePatch>,
}

/// How a task repeats.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body")]
pub(crate) struct RecurrenceInput {
    r#type: Kind,
    /// Every how many days, weeks, months or years.
    #[schema(minimum = 1, maximum = 999, default = 1)]
    interval: Option<u32>,
    /// RFC 5545; for `custom`, which needs it.
    #[schema(format = "rrule", max_length = 1_000, example = "FREQ=MONTHLY;BYDAY=-1FR")]
    rule: Option<String>,
    #[schema(default = "due")]
    anchor: Option<Anchor>,
}

/// What changes in how a task repeats.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body")]
pub(crate) struct RecurrencePatch {
    r#type: Option<Kind>,
    #[schema(minimum = 1, maximum = 999)]
    interval: Option<u32>,
    #[schema(format = "rrule", max_length = 1_000)]
    rule: Option<String>,
    anchor: Option<Anchor>,
}

/// A reminder to add: exactly one of `remind_at` and `before_due`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body")]
pub(crate) struct NewReminder {
    /// RFC 3339, with its offset. One that has passed fires at once.
    remind_at: Option<DateTime<Utc>>,
    /// An ISO 8601 duration before the due time. Days follow the clock of the task's zone.
    #[schema(format = "iso-duration", max_length = 32, example = "PT15M")]
    before_due: Option<String>,
    #[schema(min_items = 1, default = json!(["email"]))]
    channels: Option<Vec<Channel>>,
}

/// How long to snooze: exactly one of the two.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body")]
pub(crate) struct Snooze {
    /// RFC 3339, with its offset; ahead.
    until: Option<DateTime<Utc>>,
    /// From now.
    #[schema(minimum = 1, maximum = 527_040, example = 10)]
    minutes: Option<u32>,
}

/// A JSON merge patch of the user.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body")]
pub(crate) struct MePatch {
    /// An IANA name; null is UTC.
    #[schema(format = "time-zone", example = "Europe/Berlin")]
    time_zone: Option<String>,
}

/// What a list of tasks is to hold.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a query")]
pub(crate) struct ListParams {
    /// `open`, `completed` or `all`.
    #[param(default = "all")]
    status: Option<String>,
    priority: Option<Priority>,
    /// Only tasks with this tag.
    tag: Option<String>,
    /// Only tasks due before this instant.
    due_before: Option<DateTime<Utc>>,
    /// Only tasks due after this instant.
    due_after: Option<DateTime<Utc>>,
    /// Words that must all occur in title or description.
    q: Option<String>,
    /// `created_at`, `due_at` or `priority`; with `-` before it in the other direction. Tasks without a due time come last.
    #[param(default = "created_at")]
    sort: Option<String>,
    /// The `next_cursor` of the page before, with the same sort.
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// A page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a query")]
pub(crate) struct PageParams {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
}

/// The header `Idempotency-Key`.
pub(crate) struct IdempotencyKey;

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        // Visible ASCII, as it arrives: space around a header's value is not part of it.
        let key = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255));
        let key = key.pattern(Some("^[!-~]([ -~]*[!-~])?$")).build();
        header(
            IDEMPOTENCY_KEY,
            "Chosen by the client, once for each thing it wants done. The same request with the same key has one effect and \
             gets the first answer again (with `Idempotency-Replayed: true`); another request with it is refused.",
            key,
        )
    }
}

/// The header `If-Match`.
pub(crate) struct IfMatch;

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = ObjectBuilder::new().schema_type(Type::String).build();
        header("If-Match", "Only if the task is at this version: its `ETag`, or `*`.", text)
    }
}

fn header(name: &str, description: &str, text: Object) -> Vec<Parameter> {
    let parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(text));
    vec![parameter.build()]
}
