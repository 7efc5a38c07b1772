//! What an occurrence of a recurring task has in common with the later ones.
//!
//! A change of one occurrence leaves the later ones as they were. `tasks.series_values` therefore remembers the series' value of every
//! field that was changed for this occurrence alone. `task-completed` creates the next occurrence from the row with these values laid
//! over it.
//!
//! A writer that does not know the column (the Phase II application) changes the title of this occurrence and of the later ones, unless
//! the series' title is remembered.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use shared::recurrence::Series;
use utoipa::ToSchema;

use crate::{
    draft::Wanted,
    task::{Priority, Task},
};

/// Which occurrences of a recurring task a change is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// This occurrence alone.
    #[default]
    This,
    /// This occurrence and all later ones.
    Following,
}

impl std::str::FromStr for Scope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "this" => Ok(Self::This),
            "following" => Ok(Self::Following),
            _ => Err("must be this or following"),
        }
    }
}

/// `tasks.series_values`: the series' values where they differ from the row, each under the name of its column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SeriesValues {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// `Some(None)`: the series has no description.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "null_is_a_value")]
    description: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    /// When the rule makes this occurrence due.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    /// The names. Tags have no column.
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
}

fn null_is_a_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl SeriesValues {
    /// Keeps for later occurrences the tags that this one has lost.
    pub(crate) fn keep_tags(&mut self, tags: &[String]) {
        self.tags.get_or_insert_with(|| tags.to_vec());
    }

    /// The values of `series` that differ from those of the row. `None` if all are equal.
    pub(crate) fn where_different(series: &Wanted, row: &Wanted) -> Option<Self> {
        fn different<T: PartialEq + Clone>(series: &T, row: &T) -> Option<T> {
            (series != row).then(|| series.clone())
        }
        let values = Self {
            title: different(&series.title, &row.title),
            description: different(&series.description, &row.description),
            priority: different(&series.priority, &row.priority),
            due_at: different(&series.due_at, &row.due_at).flatten(),
            time_zone: different(&series.time_zone, &row.time_zone).flatten().map(|zone| zone.to_string()),
            tags: different(&series.tags, &row.tags),
        };
        (values != Self::default()).then_some(values)
    }
}

impl Task {
    /// The task as its user wrote it.
    pub(crate) fn written(&self) -> Wanted {
        Wanted {
            title: self.title.clone(),
            description: self.description.clone(),
            priority: self.priority,
            due_at: self.due_at,
            time_zone: Some(self.zone()),
            tags: self.tags.clone(),
            recurrence: self.recurrence.as_ref().and_then(|repeats| repeats.parse().ok()),
        }
    }

    /// The task as it would be without the changes of this occurrence alone. Equal to [`Task::written`] if it does not recur.
    pub(crate) fn in_series(&self) -> Wanted {
        let SeriesValues { title, description, priority, due_at, time_zone, tags } = self.inner.series_values.clone();
        let row = self.written();
        Wanted {
            title: title.unwrap_or(row.title),
            description: description.unwrap_or(row.description),
            priority: priority.unwrap_or(row.priority),
            due_at: due_at.or(row.due_at),
            time_zone: time_zone.and_then(|name| name.parse().ok()).or(row.time_zone),
            tags: tags.unwrap_or(row.tags),
            ..row
        }
    }

    /// When the next occurrence is due. For an open task: if it is completed on time, or now if its due time has passed.
    pub(crate) fn next_occurrence(&self) -> Option<DateTime<Utc>> {
        let completed_at = self.completed_at.unwrap_or(self.due_at?.max(self.inner.now));
        self.in_series().next_occurrence(self.inner.recurrence_start?, completed_at)
    }
}

impl Wanted {
    /// When the occurrence after this one is due in the series that began at `start`, if this one is completed at `completed_at`.
    pub(crate) fn next_occurrence(&self, start: DateTime<Utc>, completed_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let series = Series { recurrence: self.recurrence.clone()?, start, zone: self.time_zone.clone()? };
        series.next(self.due_at?, completed_at)
    }
}
