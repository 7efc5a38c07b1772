//! Random patches of one occurrence, without a database: what they leave to the later ones.

use proptest::{prelude::*, sample::select};
use serde_json::{Map, Value, json};
use shared::recurrence::{Anchor, Kind};

use super::*;
use crate::{
    input::Fields,
    task::{Inner, Priority},
};

const START: &str = "2031-01-31T09:00:00Z";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The second occurrence of a monthly series, which follows the clock of Berlin.
fn february() -> Task {
    Task {
        id: Uuid::nil(),
        title: "rent".to_owned(),
        description: None,
        completed: false,
        completed_at: None,
        priority: Priority::Medium,
        due_at: Some(at("2031-02-28T09:00:00Z")),
        time_zone: "Europe/Berlin".to_owned(),
        tags: vec!["home".to_owned()],
        reminders: Vec::new(),
        recurrence: Some(Repeats { kind: Kind::Monthly, interval: 1, rule: None, anchor: Anchor::Due }),
        next_occurrence_at: None,
        version: 1,
        created_at: at(START),
        updated_at: at(START),
        inner: Inner {
            series_id: Some(Uuid::nil()),
            occurrence: Some(2),
            recurrence_start: Some(at(START)),
            ..Inner::default()
        },
    }
}

/// The task after a patch, as the statement writes it.
fn patched(task: &Task, patch: &Value) -> Task {
    let fields = Fields::new(patch.as_object().expect("an object").clone());
    let edit = fields.read(|fields| draft::patched_task(fields, task)).expect("a valid patch");
    let zone = edit.wanted.time_zone.clone().unwrap_or_else(Zone::utc);
    let change = Change::new(task, edit, &zone);
    let place = change.new_place().expect("a recurring task");
    let values = SeriesValues::where_different(&change.series, &change.wanted).unwrap_or_default();
    let written = serde_json::to_value(values).unwrap();
    let Wanted { title, description, priority, due_at, tags, .. } = change.wanted.clone();
    Task {
        title,
        description,
        priority,
        due_at,
        tags,
        time_zone: zone.to_string(),
        inner: Inner {
            series_id: Some(place.series_id),
            occurrence: Some(place.occurrence),
            recurrence_start: Some(place.start),
            series_values: serde_json::from_value(written).unwrap(),
            ..task.inner.clone()
        },
        ..task.clone()
    }
}

fn completed(task: &Task, at: DateTime<Utc>) -> Task {
    Task { completed_at: Some(at), ..task.clone() }
}

/// A patch of some fields, each with one of few values, so that some return to the value that they had.
fn patch() -> impl Strategy<Value = Map<String, Value>> {
    let field = prop_oneof![
        select(vec![json!("rent"), json!("pay the rent")]).prop_map(|title| ("title", title)),
        select(vec![json!(null), json!(""), json!("by transfer")]).prop_map(|text| ("description", text)),
        select(vec![json!(null), json!("low"), json!("urgent")]).prop_map(|priority| ("priority", priority)),
        select(vec![json!(null), json!(["home"]), json!(["home", "once"])]).prop_map(|tags| ("tags", tags)),
        select(vec![json!(null), json!("Europe/Berlin"), json!("Asia/Tokyo")]).prop_map(|zone| ("time_zone", zone)),
        select(vec!["2031-02-28T09:00:00Z", "2031-02-28T10:00:00Z", "2031-03-31T20:00:00Z", "2031-02-14T09:00:00Z"])
            .prop_map(|due_at| ("due_at", json!(due_at))),
    ];
    prop::collection::vec(field, 0..4)
        .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

proptest! {
    #[test]
    fn changes_of_one_occurrence_change_nothing_else(
        patches in prop::collection::vec(patch(), 0..8),
        hours in -2_000_i64..2_000,
    ) {
        let untouched = february();
        let changed = patches.into_iter().fold(untouched.clone(), |task, patch| patched(&task, &Value::Object(patch)));
        prop_assert_eq!(changed.in_series(), untouched.in_series());
        let completed_at = at(START) + chrono::TimeDelta::hours(hours);
        prop_assert_eq!(
            completed(&changed, completed_at).next_occurrence(),
            completed(&untouched, completed_at).next_occurrence()
        );
        let place = |task: &Task| (task.inner.series_id, task.inner.occurrence, task.inner.recurrence_start);
        prop_assert_eq!(place(&changed), place(&untouched));

        let Wanted { title, description, priority, due_at, time_zone, tags, .. } = untouched.written();
        let back = json!({
            "title": title, "description": description, "priority": priority, "due_at": due_at, "time_zone": time_zone, "tags": tags,
        });
        prop_assert_eq!(patched(&changed, &back).inner.series_values, SeriesValues::default());
    }

    #[test]
    fn later_occurrences_get_the_fields_of_a_patch_for_them_and_no_others(
        alone in prop::collection::vec(patch(), 0..4),
        following in patch(),
    ) {
        let task = alone.into_iter().fold(february(), |task, patch| patched(&task, &Value::Object(patch)));
        let mut patch = following.clone();
        patch.insert("scope".to_owned(), json!("following"));
        let changed = patched(&task, &Value::Object(patch));
        let (row, series, old_series) = (changed.written(), changed.in_series(), task.in_series());
        let names = |field: &str| following.contains_key(field);
        prop_assert_eq!(&series.title, if names("title") { &row.title } else { &old_series.title });
        prop_assert_eq!(&series.description, if names("description") { &row.description } else { &old_series.description });
        prop_assert_eq!(series.priority, if names("priority") { row.priority } else { old_series.priority });
        prop_assert_eq!(&series.tags, if names("tags") { &row.tags } else { &old_series.tags });
        prop_assert_eq!(&series.time_zone, if names("time_zone") { &row.time_zone } else { &old_series.time_zone });
        prop_assert_eq!(series.due_at, if names("due_at") { row.due_at } else { old_series.due_at });
        let begins = (series.due_at, &series.time_zone) != (old_series.due_at, &old_series.time_zone);
        let place = (changed.inner.occurrence, changed.inner.recurrence_start);
        prop_assert_eq!(place, if begins { (Some(1), series.due_at) } else { (Some(2), task.inner.recurrence_start) });
    }
}
