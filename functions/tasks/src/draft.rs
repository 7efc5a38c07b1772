//! The bodies that describe a task: of create, PUT and PATCH.

use chrono::{DateTime, Utc};
use shared::{
    recurrence::{BeforeDue, Recurrence, RecurrenceError, Zone},
    schema::Channel,
};

use crate::{
    bodies::{
        ANCHOR, BEFORE_DUE, CHANNELS, DESCRIPTION, DUE_AT, INTERVAL, PRIORITY, RECURRENCE, REMIND_AT, REMINDERS,
        REMINDERS_LIMIT, RULE, SCOPE, TAGS, TIME_ZONE, TITLE, TYPE,
    },
    change::Place,
    input::{Fields, Given},
    series::Scope,
    task::{Priority, Task},
};

/// The fields of a task that its user writes, as they shall be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    pub(crate) priority: Priority,
    pub(crate) due_at: Option<DateTime<Utc>>,
    /// `None`: the user's own.
    pub(crate) time_zone: Option<Zone>,
    /// Sorted, without duplicates.
    pub(crate) tags: Vec<String>,
    pub(crate) recurrence: Option<Recurrence>,
}

/// A change of a task.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) wanted: Wanted,
    /// What later occurrences shall have, if the change is for them too.
    pub(crate) series: Option<Wanted>,
    /// Otherwise the recurrence stays, even one that this version cannot parse.
    pub(crate) names_recurrence: bool,
    /// The place in its series that the task shall have again, if a version is restored.
    pub(crate) place: Option<Place>,
}

/// A reminder to add.
#[derive(Clone, Debug)]
pub(crate) struct NewReminder {
    pub(crate) when: When,
    /// Empty: the user's own.
    pub(crate) channels: Vec<Channel>,
}

/// When a reminder fires.
#[derive(Clone, Debug)]
pub(crate) enum When {
    At(DateTime<Utc>),
    Before(BeforeDue),
}

impl NewReminder {
    /// The instant it fires at, or why a relative reminder has none.
    pub(crate) fn instant(&self, due_at: Option<DateTime<Utc>>, zone: &Zone) -> Result<DateTime<Utc>, &'static str> {
        match &self.when {
            When::At(at) => Ok(*at),
            When::Before(before) => before.resolve(due_at.ok_or(NEEDS_DUE_AT)?, zone).ok_or(OUTSIDE_CALENDAR),
        }
    }

    pub(crate) fn before_due(&self) -> Option<&str> {
        match &self.when {
            When::At(_) => None,
            When::Before(before) => Some(before.as_str()),
        }
    }
}

/// Reads the body of PUT: an absent field gets its default.
pub(crate) fn whole_task(fields: &mut Fields) -> Option<(Wanted, Vec<NewReminder>)> {
    let title = fields.require(&TITLE);
    let rest = Rest::read(fields);
    let reminders = fields.take_objects(&REMINDERS, reminder).value().unwrap_or_default();
    let wanted = Wanted {
        // A body without a title is refused, after the other fields have been checked.
        title: title.unwrap_or_default(),
        description: rest.description.value(),
        priority: rest.priority.value().unwrap_or_default(),
        due_at: rest.due_at.value(),
        time_zone: rest.time_zone.value(),
        tags: rest.tags.value().unwrap_or_default(),
        recurrence: rest.recurrence.value(),
    };
    wanted.check_due_at(fields, &reminders);
    refuse_read_only(fields);
    Some((wanted, reminders))
}

/// A task to create.
pub(crate) struct NewTask {
    pub(crate) wanted: Wanted,
    pub(crate) reminders: Vec<NewReminder>,
    /// Whether the task gets the user's default reminder, because the body names no reminders.
    pub(crate) by_default: bool,
}

/// Reads the body of create: a whole task, and `remind_at` as a short form of one reminder.
pub(crate) fn new_task(fields: &mut Fields) -> Option<NewTask> {
    let by_default = !fields.has(&REMIND_AT) && !fields.has(&REMINDERS);
    let remind_at = fields.take(&REMIND_AT);
    if let Given::Value(_) = remind_at
        && fields.count(&REMINDERS) >= REMINDERS_LIMIT
    {
        fields.invalid(
            REMIND_AT.name,
            format_args!("would be one reminder too many: a task has at most {REMINDERS_LIMIT}"),
        );
    }
    let (wanted, mut reminders) = whole_task(fields)?;
    reminders.extend(remind_at.value().map(|at| NewReminder { when: When::At(at), channels: Vec::new() }));
    Some(NewTask { wanted, reminders, by_default })
}

/// Reads the body of PATCH, a JSON merge patch (RFC 7396) of the current task: null removes a field, an absent one stays. With the scope
/// `following` it is a patch of the series too.
pub(crate) fn patched_task(fields: &mut Fields, task: &Task) -> Option<Edit> {
    fields.refuse(
        REMINDERS.name,
        "cannot be patched: use PUT, POST /v1/tasks/{id}/reminders, or the operations under /v1/reminders",
    );
    fields.merge(&RECURRENCE, task.recurrence.as_ref().and_then(|repeats| serde_json::to_value(repeats).ok()));
    if fields.is_null(&TITLE) {
        fields.refuse(TITLE.name, "cannot be null: a task needs a title");
    }
    let scope = fields.take(&SCOPE).value().unwrap_or_default();
    let patch = Patch { title: fields.take(&TITLE), rest: Rest::read(fields) };
    let wanted = patch.clone().applied_to(task.written());
    // The relative reminders of the task follow the due time.
    let relative = task.reminders.iter().filter_map(|reminder| BeforeDue::parse(reminder.before_due.as_deref()?).ok());
    let zone = wanted.time_zone.clone().unwrap_or_else(Zone::utc);
    if let Some(due_at) = wanted.due_at.filter(|due_at| task.due_at != Some(*due_at))
        && relative.into_iter().any(|before| before.resolve(due_at, &zone).is_none())
    {
        fields.invalid(DUE_AT.name, "is too late for the relative reminders: its wall-clock year is out of range");
    }
    wanted.check_due_at(fields, &[]);
    refuse_read_only(fields);
    let names_recurrence = !matches!(patch.rest.recurrence, Given::Absent);
    let series = (scope == Scope::Following).then(|| patch.applied_to(task.in_series()));
    Some(Edit { wanted, series, names_recurrence, place: None })
}

/// The fields of a patch.
#[derive(Clone)]
struct Patch {
    title: Given<String>,
    rest: Rest,
}

impl Patch {
    fn applied_to(self, current: Wanted) -> Wanted {
        let Self { title, rest } = self;
        Wanted {
            title: title.or_current(Some(current.title)).expect("null was refused"),
            description: rest.description.or_current(current.description),
            priority: rest.priority.or_current(Some(current.priority)).unwrap_or_default(),
            due_at: rest.due_at.or_current(current.due_at),
            time_zone: rest.time_zone.or_current(current.time_zone),
            tags: rest.tags.or_current(Some(current.tags)).unwrap_or_default(),
            recurrence: rest.recurrence.or_current(current.recurrence),
        }
    }
}

/// The fields besides the title, which each body reads in its own way.
#[derive(Clone)]
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
        let mut tags = fields.take(&TAGS);
        if let Given::Value(tags) = &mut tags {
            tags.sort();
            tags.dedup();
        }
        Self {
            description: fields.take(&DESCRIPTION),
            priority: fields.take(&PRIORITY),
            due_at: fields.take(&DUE_AT),
            time_zone: fields.take(&TIME_ZONE),
            tags,
            recurrence: fields.take_object(&RECURRENCE, recurrence),
        }
    }
}

impl Wanted {
    /// Checks that a recurrence and relative reminders have the due time that they need.
    fn check_due_at(&self, fields: &mut Fields, reminders: &[NewReminder]) {
        if fields.is_invalid(&DUE_AT) {
            return;
        }
        if self.recurrence.is_some() && self.due_at.is_none() {
            fields.invalid(DUE_AT.name, "is required: a recurring task needs a due time");
        }
        let zone = self.time_zone.clone().unwrap_or_else(Zone::utc);
        for (index, reminder) in reminders.iter().enumerate() {
            if let Err(wrong) = reminder.instant(self.due_at, &zone) {
                let name = format!("{}/{index}/{}", REMINDERS.name, BEFORE_DUE.name);
                fields.invalid(&name, wrong);
            }
        }
    }
}

/// Why a relative reminder has no instant.
const NEEDS_DUE_AT: &str = "needs a task with a `due_at`: it is a duration before the due time";
const OUTSIDE_CALENDAR: &str =
    "cannot be computed: the wall-clock year of `due_at` in the task's time zone is out of range, which ends with 9999";

/// Reads a reminder: an instant, or a duration before the due time, and its channels.
pub(crate) fn reminder(fields: &mut Fields) -> Option<NewReminder> {
    fields.require_one_of(&REMIND_AT, &BEFORE_DUE);
    let at = fields.take(&REMIND_AT).value();
    let before = fields.take(&BEFORE_DUE).value();
    let channels = distinct(fields.take(&CHANNELS).value().unwrap_or_default());
    let when = at.map(When::At).or(before.map(When::Before))?;
    Some(NewReminder { when, channels })
}

/// Leaves out channels that are there twice.
pub(crate) fn distinct(given: Vec<Channel>) -> Vec<Channel> {
    let mut channels = Vec::new();
    for channel in given {
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    channels
}

/// Gives the user's channels to reminders that name none.
pub(crate) fn fill_channels(reminders: &mut [NewReminder], users: &[Channel]) {
    for reminder in reminders.iter_mut().filter(|reminder| reminder.channels.is_empty()) {
        reminder.channels = users.to_vec();
    }
}

/// Reads how a task repeats.
pub(crate) fn recurrence(fields: &mut Fields) -> Option<Recurrence> {
    let kind = fields.require(&TYPE);
    let interval = fields.take(&INTERVAL).value().unwrap_or(1);
    let rule = fields.take(&RULE).value();
    let anchor = fields.take(&ANCHOR).value().unwrap_or_default();
    match Recurrence::new(kind?, interval, rule.as_deref(), anchor) {
        Ok(recurrence) => Some(recurrence),
        // The parts do not fit together because one of them is missing: it is noted as invalid already.
        Err(_) if !fields.are_valid() => None,
        Err(wrong) => {
            let name = match &wrong {
                RecurrenceError::UnknownKind => TYPE.name,
                RecurrenceError::UnknownAnchor | RecurrenceError::CountFromCompletion => ANCHOR.name,
                RecurrenceError::Interval | RecurrenceError::IntervalBesideRule => INTERVAL.name,
                RecurrenceError::CustomWithoutRule | RecurrenceError::RuleWithoutCustom | RecurrenceError::Rule(_) => {
                    RULE.name
                }
            };
            fields.invalid(name, wrong);
            None
        }
    }
}

/// Refuses the fields of a task that only commands or the system write.
fn refuse_read_only(fields: &mut Fields) {
    for name in ["completed", "completed_at"] {
        fields.refuse(name, "is read-only: use POST /v1/tasks/{id}/complete or /v1/tasks/{id}/reopen");
    }
    for name in ["id", "version", "next_occurrence_at", "created_at", "updated_at"] {
        fields.refuse(name, "is read-only");
    }
}
