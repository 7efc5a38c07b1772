//! The parsers against the document: they accept every value that the document allows, up to its limits, and refuse every value
//! beyond them.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use shared::problem::{Problem, Result};
use uuid::Uuid;

use super::*;
use crate::{
    actions,
    command::{self, IDEMPOTENCY_KEY},
    draft,
    input::Fields,
    me,
    params::Params,
    preview,
    push_subscriptions::NewPushSubscription,
    reminders::Until,
    task::{Inner, Repeats, Task},
};

const AT: &str = "2031-01-01T09:00:00Z";

/// Fields of which a body takes one.
const EITHER_OR: [(&str, &str); 2] = [("remind_at", "before_due"), ("until", "minutes")];

/// A body of the document, the least that it needs, and the parser of the handler that takes it.
struct Body {
    name: &'static str,
    least: Value,
    parse: fn(&Value) -> Result<()>,
}

fn bodies() -> [Body; 10] {
    let title = json!({"title": "a"});
    [
        Body { name: "NewTask", least: title.clone(), parse: |body| fields(body).read(draft::new_task).map(drop) },
        Body { name: "WholeTask", least: title, parse: |body| fields(body).read(draft::whole_task).map(drop) },
        Body {
            name: "TaskPatch",
            least: json!({}),
            parse: |body| fields(body).read(|fields| draft::patched_task(fields, &task(body))).map(drop),
        },
        Body { name: "NewReminder", least: json!({}), parse: |body| fields(body).read(draft::reminder).map(drop) },
        Body { name: "Snooze", least: json!({}), parse: |body| fields(body).read(Until::read).map(drop) },
        Body {
            name: "PreviewedRecurrence",
            least: json!({"recurrence": {"type": "daily"}, "due_at": AT}),
            parse: |body| fields(body).read(preview::Wanted::read).map(drop),
        },
        Body {
            name: "NewPushSubscription",
            least: json!({
                "endpoint": "a", "p256dh": of_length(Some("base64url"), 87), "auth": of_length(Some("base64url"), 22),
                "vapid_key": of_length(Some("base64url"), 87),
            }),
            parse: |body| fields(body).read(NewPushSubscription::read).map(drop),
        },
        Body {
            name: "Restore",
            least: json!({"version": 1}),
            parse: |body| fields(body).read(|fields| fields.require(&VERSION)).map(drop),
        },
        Body {
            name: "ActionRequest",
            least: json!({"capability": "a"}),
            parse: |body| fields(body).read(actions::Wanted::read).map(drop),
        },
        Body { name: "MePatch", least: json!({}), parse: |body| fields(body).read(me::Patch::read).map(drop) },
    ]
}

fn fields(body: &Value) -> Fields {
    Fields::new(body.as_object().expect("an object").clone())
}

/// The task that a patch changes. A patch of a recurrence needs one.
fn task(patch: &Value) -> Task {
    let daily = Repeats { kind: Kind::Daily, interval: 1, rule: None, anchor: Anchor::Due };
    Task {
        id: Uuid::nil(),
        title: "a".to_owned(),
        description: None,
        completed: false,
        completed_at: None,
        priority: Priority::Medium,
        due_at: Some(AT.parse().unwrap()),
        time_zone: "UTC".to_owned(),
        tags: Vec::new(),
        reminders: Vec::new(),
        recurrence: patch["recurrence"].is_object().then_some(daily),
        next_occurrence_at: None,
        version: 1,
        created_at: AT.parse().unwrap(),
        updated_at: AT.parse().unwrap(),
        inner: Inner::default(),
    }
}

/// An object of a body: its schema, where it is, and the body that it is in.
struct Place<'a> {
    document: &'a Value,
    body: &'a Body,
    schema: &'a Value,
    pointer: String,
    around: Value,
}

impl Place<'_> {
    /// The body with the field of this object set, or without the field.
    fn with(&self, name: &str, value: Option<Value>) -> Value {
        let mut body = self.around.clone();
        let object = body.pointer_mut(&self.pointer).expect("the object").as_object_mut().expect("an object");
        let other = EITHER_OR.iter().find_map(|(a, b)| match name {
            name if name == *a => Some(*b),
            name if name == *b => Some(*a),
            _ => None,
        });
        if let Some(other) = other.filter(|other| self.schema["properties"].get(other).is_some()) {
            let sample = if other == "minutes" {
                json!(5)
            } else if other == "before_due" {
                json!("PT1H")
            } else {
                json!(AT)
            };
            if value.as_ref().is_none_or(Value::is_null) {
                object.insert(other.to_owned(), sample);
            }
            //
        }
        match value {
            Some(value) => {
                if name == "rule" && !value.is_null() {
                    object.insert("type".to_owned(), json!("custom"));
                }
                object.insert(name.to_owned(), value);
            }
            None => drop(object.remove(name)),
        }
        if self.pointer.starts_with("/reminders") {
            body["due_at"] = json!(AT);
        }
        body
    }

    #[track_caller]
    fn check(&self, name: &str, value: Option<Value>, valid: bool) {
        let body = self.with(name, value);
        let pointer = format!("#{}/{name}", self.pointer);
        let wrong = match (self.body.parse)(&body) {
            Ok(()) => None,
            Err(Problem::Invalid(invalid)) => {
                let invalid = invalid.named().iter().find(|invalid| invalid.pointer.as_ref() == Some(&pointer));
                invalid.map(|invalid| invalid.detail.clone())
            }
            Err(other) => panic!("{other}"),
        };
        assert_eq!(wrong.is_none(), valid, "{} {pointer}: {wrong:?} in {body}", self.body.name);
    }

    fn check_all(&self, names: &BTreeSet<String>) {
        let properties = self.schema["properties"].as_object().expect("properties");
        for (name, field) in properties {
            let is_required =
                self.schema["required"].as_array().is_some_and(|required| required.contains(&json!(name)));
            let (field, is_nullable) = without_null(self.document, field);
            self.check(name, None, !is_required);
            self.check(name, Some(Value::Null), is_nullable);
            for (value, is_valid) in samples(self.document, field) {
                self.check(name, Some(value), is_valid);
            }
            self.check_inside(name, field, names);
        }
        for unknown in names.iter().filter(|name| !properties.contains_key(*name)) {
            self.check(unknown, Some(json!("x")), false);
        }
    }

    /// Goes on with an object in a field, or with the objects of a list.
    fn check_inside(&self, name: &str, field: &Value, names: &BTreeSet<String>) {
        let (schema, pointer, value) = match field["type"].as_str() {
            Some("object") => (field, format!("{}/{name}", self.pointer), least(self.document, field)),
            Some("array") if resolve(self.document, &field["items"])["type"] == "object" => {
                let item = resolve(self.document, &field["items"]);
                (item, format!("{}/{name}/0", self.pointer), json!([least(self.document, item)]))
            }
            _ => return,
        };
        let around = self.with(name, Some(value));
        let around = if around["due_at"].is_null() && self.body.name != "TaskPatch" {
            let mut around = around;
            around["due_at"] = json!(AT);
            around
        } else {
            around
        };
        Place { document: self.document, body: self.body, schema, pointer, around }.check_all(names);
    }
}

/// The least that an object needs.
fn least(document: &Value, schema: &Value) -> Value {
    let mut object = json!({});
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let values = samples(document, without_null(document, &schema["properties"][name]).0);
        object[name] = values.into_iter().find(|(_, is_valid)| *is_valid).expect("a valid value").0;
    }
    object
}

/// Follows a reference.
fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect("a schema"),
        None => schema,
    }
}

/// The schema of a field that is not null, and whether null is allowed too.
fn without_null<'a>(document: &'a Value, field: &'a Value) -> (&'a Value, bool) {
    match field["oneOf"].as_array() {
        Some(either) => (resolve(document, &either[0]), either.contains(&json!({"type": "null"}))),
        None => {
            (resolve(document, field), field["type"].as_array().is_some_and(|kinds| kinds.contains(&json!("null"))))
        }
    }
}

/// Values at and beyond every limit of a schema, each with whether it is valid.
fn samples(document: &Value, schema: &Value) -> Vec<(Value, bool)> {
    let number = |name: &str| schema[name].as_u64().map(|number| usize::try_from(number).unwrap());
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).expect("a type");
    let mut samples = vec![(json!(true), kind == "boolean")];
    match kind {
        "string" => {
            let format = schema["format"].as_str();
            if let Some(words) = schema["enum"].as_array() {
                samples.extend(words.iter().map(|word| (word.clone(), true)));
            }
            samples.extend(match format {
                Some("date-time") => vec![(json!(AT), true), (json!("2031-01-01T09:00:00"), false)],
                Some("time-zone") => vec![(json!("Europe/Berlin"), true), (json!("Mars/Olympus"), false)],
                Some("iso-duration") => vec![(json!("PT15M"), true), (json!("15 minutes"), false)],
                Some("rrule") => vec![(json!("FREQ=DAILY"), true), (json!("FREQ=OFTEN"), false)],
                Some("base64url") => vec![(json!("a"), false)],
                Some(other) => panic!("{other}: say here what a value of this format is"),
                None if schema.get("enum").is_some() => vec![(json!("no such word"), false)],
                None => vec![(json!("a"), true)],
            });
            if let Some(most) = number("maxLength") {
                samples.extend([(of_length(format, most), true), (of_length(format, most + 1), false)]);
            }
            if format.is_none() && schema.get("enum").is_none() {
                samples.push((json!(""), number("minLength").is_none()));
            }
        }
        "integer" => {
            let (least, most) = (number("minimum").expect("a limit"), number("maximum").expect("a limit"));
            let (below, above) = ((json!(least - 1), false), (json!(most + 1), false));
            samples.extend([(json!(least), true), (json!(most), true), below, above, (json!(1.5), false)]);
        }
        "array" => {
            let item = resolve(document, &schema["items"]);
            let (least, most) = (number("minItems").unwrap_or(0), number("maxItems").expect("a limit"));
            let items = match item["type"].as_str() {
                Some("object") => vec![(json!({"remind_at": AT}), true)],
                _ => self::samples(document, item),
            };
            let valid = items.iter().find(|(_, is_valid)| *is_valid).expect("a valid item").0.clone();
            samples.extend(items.into_iter().map(|(item, is_valid)| (json!([item]), is_valid)));
            samples.extend([(json!(vec![&valid; least]), true), (json!(vec![&valid; most]), true)]);
            samples.push((json!(vec![&valid; most + 1]), false));
            samples.extend(least.checked_sub(1).map(|few| (json!(vec![&valid; few]), false)));
        }
        "boolean" => samples.push((json!("true"), false)),
        "object" => {}
        other => panic!("{other}: say here what its values are"),
    }
    samples
}

/// A value of a format with so many characters.
fn of_length(format: Option<&str>, length: usize) -> Value {
    match format {
        // A point begins with a 4.
        Some("base64url") => json!(format!("B{}", "A".repeat(length - 1))),
        Some("rrule") => json!(format!("{:length$}", "FREQ=DAILY")),
        Some("iso-duration") => {
            let days = (length - 4) / 2;
            json!(format!("P{:0>days$}DT{:0>minutes$}M", 1, 1, minutes = length - 4 - days))
        }
        _ => json!("a".repeat(length)),
    }
}

#[test]
fn parsers_enforce_what_the_document_says_about_every_field() {
    let document = serde_json::to_value(crate::document()).unwrap();
    let schemas = &document["components"]["schemas"];
    let all: BTreeSet<&str> = schemas
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, schema)| schema["additionalProperties"] == false)
        .map(|(name, _)| &**name)
        .collect();
    let inside = ["RecurrenceInput", "RecurrencePatch"];
    assert_eq!(all, bodies().iter().map(|body| body.name).chain(inside).collect(), "every body is checked");
    let names: BTreeSet<String> =
        all.iter().flat_map(|body| schemas[body]["properties"].as_object().unwrap().keys().cloned()).collect();
    for body in &bodies() {
        let around = body.least.clone();
        let place = Place { document: &document, body, schema: &schemas[body.name], pointer: String::new(), around };
        place.check_all(&names);
    }
}

#[test]
fn parameters_have_the_limits_that_the_document_says() {
    let document = serde_json::to_value(crate::document()).unwrap();
    let params =
        |given: &[u64]| Params::new(given.iter().map(|n| ("limit".to_owned(), n.to_string())).collect()).unwrap();
    let is_valid = |limit: u64| {
        let mut params = params(&[limit]);
        params.limit();
        params.finish().is_ok()
    };
    let is_valid_key = |length: usize| {
        let key = HeaderValue::from_str(&"k".repeat(length)).unwrap();
        command::key(&HeaderMap::from_iter([(HeaderName::from_static("idempotency-key"), key)])).is_ok()
    };
    let (mut pages, mut keys) = (0, 0);
    let methods = document["paths"].as_object().unwrap().values();
    let operations = methods.flat_map(|methods| methods.as_object().unwrap().values());
    for parameter in operations.filter_map(|operation| operation["parameters"].as_array()).flatten() {
        if parameter["name"] == "limit" {
            pages += 1;
            let limit = |name: &str| parameter["schema"][name].as_u64().expect("a limit");
            assert_eq!(params(&[]).limit() as u64, limit("default"));
            let (least, most) = (limit("minimum"), limit("maximum"));
            assert_eq!([least - 1, least, most, most + 1].map(is_valid), [false, true, true, false]);
        } else if parameter["name"] == IDEMPOTENCY_KEY {
            keys += 1;
            let limit = |name: &str| usize::try_from(parameter["schema"][name].as_u64().expect("a limit")).unwrap();
            let (least, most) = (limit("minLength"), limit("maxLength"));
            assert_eq!([least - 1, least, most, most + 1].map(is_valid_key), [false, true, true, false]);
        } else if parameter["name"] == "q" {
            let most = usize::try_from(parameter["schema"]["maxLength"].as_u64().expect("a limit")).unwrap();
            assert_eq!([most, most + 1].map(|length| crate::list::is_search(&"ä".repeat(length))), [true, false]);
        } else {
            let limits = ["minLength", "maxLength", "minimum", "maximum", "pattern", "minItems", "maxItems"];
            let limit = limits.iter().find(|limit| parameter["schema"].get(**limit).is_some());
            assert_eq!(limit, None, "{}: check here that the parser has this limit", parameter["name"]);
        }
    }
    assert_eq!((pages, keys), (6, 15));
}
