//! What a user wants a task to be: the body of create, PUT and PATCH, parsed.

use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::{
    problem::Result,
    recurrence::{Anchor, BeforeDue, INTERVAL_LIMIT, Kind, Recurrence, RecurrenceError, Zone},
    schema::Channel,
};

use crate::{
    input::{Fields, Given, instant, list, text, trimmed, whole, zone},
    task::{Priority, Task},
};

pub(crate) const TITLE: std::ops::RangeInclusive<usize> = 1..=500;
pub(crate) const DESCRIPTION: std::ops::RangeInclusive<usize> = 0..=10_000;
const TAG: std::ops::RangeInclusive<usize> = 1..=50;
const TAGS: usize = 20;
/// How many reminders a task may have.
pub(crate) const REMINDERS: usize = 20;

/// The fields a user writes, as they are to be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    pub(crate) priority: Priority,
    pub(crate) due_at: Option<DateTime<Utc>>,
    /// Not given: the user's own.
    pub(crate) time_zone: Option<Zone>,
    /// In order, each once.
    pub(crate) tags: Vec<String>,
    pub(crate) recurrence: Option<Recurrence>,
}

/// A reminder to be.
#[derive(Clone, Debug)]
pub(crate) struct NewReminder {
    pub(crate) when: When,
    pub(crate) channels: Vec<Channel>,
}

/// When a reminder fires.
#[derive(Clone, Debug)]
pub(crate) enum When {
    At(DateTime<Utc>),
    Before(BeforeDue),
}

impl NewReminder {
    /// The instant it fires at; `None` for a relative one of a task without a due time, or before the calendar begins.
    pub(crate) fn instant(&self, due_at: Option<DateTime<Utc>>, zone: &Zone) -> Option<DateTime<Utc>> {
        match &self.when {
            When::At(at) => Some(*at),
            When::Before(before) => before.resolve(due_at?, zone),
        }
    }

    pub(crate) fn before_due(&self) -> Option<&str> {
        match &self.when {
            When::At(_) => None,
            When::Before(before) => Some(before.as_str()),
        }
    }
}

/// Reads the body of PUT: what is absent gets its default.
pub(crate) fn whole_task(mut fields: Fields) -> Result<(Wanted, Vec<NewReminder>)> {
    let title = fields.need("title", title);
    let rest = Rest::read(&mut fields);
    let reminders = fields.take_objects("reminders", REMINDERS, reminder).value().unwrap_or_default();
    let wanted = Wanted {
        title: title.unwrap_or_default(),
        description: rest.description.value(),
        priority: rest.priority.value().unwrap_or_default(),
        due_at: rest.due_at.value(),
        time_zone: rest.time_zone.value(),
        tags: rest.tags.value().unwrap_or_default(),
        recurrence: rest.recurrence.value(),
    };
    wanted.agree(&mut fields, &reminders);
    refuse_read_only(&mut fields);
    fields.finish()?;
    Ok((wanted, reminders))
}

/// Reads the body of create: a whole task, and `remind_at` as a short word for one reminder.
pub(crate) fn new_task(mut fields: Fields) -> Result<(Wanted, Vec<NewReminder>)> {
    let short = fields.take("remind_at", instant);
    if let Given::Value(_) = short
        && fields.count("reminders") >= REMINDERS
    {
        fields.fault("remind_at", format_args!("would be one more than {REMINDERS} reminders"));
    }
    let (wanted, mut reminders) = whole_task(fields)?;
    reminders.extend(short.value().map(|at| NewReminder { when: When::At(at), channels: vec![Channel::Email] }));
    Ok((wanted, reminders))
}

/// Reads the body of PATCH, a JSON merge patch (RFC 7396) of the task as it is: null takes away, what is absent stays.
pub(crate) fn patched_task(mut fields: Fields, task: &Task) -> Result<Wanted> {
    fields.refuse("reminders", "is changed by PUT, by POST /v1/tasks/{id}/reminders and under /v1/reminders");
    fields.merge("recurrence", task.recurrence.as_ref().and_then(|repeats| serde_json::to_value(repeats).ok()));
    if fields.is_null("title") {
        fields.refuse("title", "cannot be taken away");
    }
    let title = fields.take("title", title);
    let rest = Rest::read(&mut fields);
    let wanted = Wanted {
        title: title.over(Some(task.title.clone())).unwrap_or_default(),
        description: rest.description.over(task.description.clone()),
        priority: rest.priority.over(Some(task.priority)).unwrap_or_default(),
        due_at: rest.due_at.over(task.due_at),
        time_zone: rest.time_zone.over(Some(task.zone())),
        tags: rest.tags.over(Some(task.tags.clone())).unwrap_or_default(),
        // One that was stored and can no longer be read stays as it is unless it is named.
        recurrence: rest.recurrence.over(task.recurrence.as_ref().and_then(|repeats| repeats.parse().ok())),
    };
    wanted.agree(&mut fields, &[]);
    refuse_read_only(&mut fields);
    fields.finish()?;
    Ok(wanted)
}

/// The fields besides the title.
struct Rest {
    description: Given<String>,
    priority: Given<Priority>,
    due_at: Given<DateTime<Utc>>,
    time_zone: Given<Zone>,
    tags: Given<Vec<String>>,
    recurrence: Given<Recurrence>,
}

impl Rest {
    fn read(fields: &mut Fields) -> Self {
        Self {
            description: fields.take("description", |value| text(value, DESCRIPTION)),
            priority: fields.take("priority", |value| {
                value.as_str().and_then(Priority::parse).ok_or("must be low, medium, high or urgent")
            }),
            due_at: fields.take("due_at", instant),
            time_zone: fields.take("time_zone", zone),
            tags: fields.take("tags", tags),
            recurrence: fields.take_object("recurrence", recurrence),
        }
    }
}

impl Wanted {
    /// Notes what does not go together.
    fn agree(&self, fields: &mut Fields, reminders: &[NewReminder]) {
        if self.recurrence.is_some() && self.due_at.is_none() && !fields.is_faulty("due_at") {
            fields.fault("due_at", "is required with a recurrence");
        }
        let zone = self.time_zone.clone().unwrap_or_else(Zone::utc);
        for (index, reminder) in reminders.iter().enumerate() {
            if reminder.instant(self.due_at, &zone).is_none() && !fields.is_faulty("due_at") {
                fields.fault(&format!("reminders/{index}/before_due"), "needs a due_at that it can be before");
            }
        }
    }
}

fn title(value: &Value) -> Result<String, String> {
    trimmed(value, TITLE)
}

fn tags(value: &Value) -> Result<Vec<String>, String> {
    let mut tags = list(value, TAGS)?
        .iter()
        .map(|tag| trimmed(tag, TAG))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|wrong| format!("each tag {wrong}"))?;
    tags.sort();
    tags.dedup();
    Ok(tags)
}

/// Reads a reminder: an instant or a duration before the due time, and its channels.
pub(crate) fn reminder(fields: &mut Fields) -> Option<NewReminder> {
    let both = fields.has("remind_at") && fields.has("before_due");
    let neither = !fields.has("remind_at") && !fields.has("before_due");
    let at = fields.take("remind_at", instant).value();
    let before = fields
        .take("before_due", |value| {
            BeforeDue::parse(value.as_str().unwrap_or_default()).map_err(|wrong| wrong.to_string())
        })
        .value();
    let channels = fields.take("channels", channels).value().unwrap_or_else(|| vec![Channel::Email]);
    if both || neither {
        fields.fault("remind_at", if both { "cannot stand beside before_due" } else { "or before_due is required" });
        return None;
    }
    let when = at.map(When::At).or(before.map(When::Before))?;
    Some(NewReminder { when, channels })
}

fn channels(value: &Value) -> Result<Vec<Channel>, String> {
    let mut channels: Vec<Channel> = Vec::new();
    for name in list(value, 10)? {
        let name = name.as_str().ok_or("must be a list of strings")?;
        let channel = name.parse().map_err(|wrong| format!("{name:?} {wrong}"))?;
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    if channels.is_empty() { Err("must name at least one channel".to_owned()) } else { Ok(channels) }
}

fn recurrence(fields: &mut Fields) -> Option<Recurrence> {
    let kind = fields.need("type", |value| value.as_str().unwrap_or_default().parse::<Kind>());
    let interval = fields.take("interval", |value| whole(value, 1..=INTERVAL_LIMIT));
    let rule = fields.take("rule", |value| text(value, 1..=1_000));
    let anchor = fields.take("anchor", |value| value.as_str().unwrap_or_default().parse::<Anchor>());
    let (interval, anchor) = (interval.value().unwrap_or(1), anchor.value().unwrap_or_default());
    match Recurrence::new(kind?, interval, rule.value().as_deref(), anchor) {
        Ok(recurrence) => Some(recurrence),
        // A part that was at fault already has its word.
        Err(_) if fields.is_faulty("") => None,
        Err(wrong) => {
            let name = match &wrong {
                RecurrenceError::UnknownKind => "type",
                RecurrenceError::UnknownAnchor | RecurrenceError::CountFromCompletion => "anchor",
                RecurrenceError::Interval | RecurrenceError::IntervalBesideRule => "interval",
                RecurrenceError::CustomWithoutRule | RecurrenceError::RuleWithoutCustom | RecurrenceError::Rule(_) => {
                    "rule"
                }
            };
            fields.fault(name, wrong);
            None
        }
    }
}

/// Fields of a task that commands or the system write: a better word for them than "unknown".
fn refuse_read_only(fields: &mut Fields) {
    for name in ["completed", "completed_at"] {
        fields.refuse(name, "is changed by POST /v1/tasks/{id}/complete and /v1/tasks/{id}/reopen");
    }
    for name in ["id", "version", "next_occurrence_at", "created_at", "updated_at"] {
        fields.refuse(name, "cannot be written");
    }
}
