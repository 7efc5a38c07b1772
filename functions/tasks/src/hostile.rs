//! Whatever comes where a body, a query or a header is read: an answer in time, and never a panic. `PROPTEST_CASES` makes these
//! run as long as wanted.

use std::time::{Duration, Instant};

use axum::{body::Body, extract::FromRequest as _, http::Request};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};
use shared::problem::Problem;

use crate::{
    command::Command,
    draft,
    input::{Fields, instant_text},
    params::Params,
};

/// A value of any kind, or one that a field could have had.
fn any_value() -> BoxedStrategy<Value> {
    let text = prop_oneof![
        any::<String>(),
        "[-+]?[0-9]{4,6}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,12})?([Zz]|[-+][0-9]{2}:[0-9]{2})",
        "P([0-9]{1,9}[YMWD]){0,2}(T[0-9]{1,9}[HMS])?",
        "(RRULE:)?FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY|SECONDLY)(;(INTERVAL|COUNT|UNTIL|BYDAY|BYMONTH|BYMONTHDAY|BYSETPOS)=[-0-9A-Z,]{0,12}){0,5}",
        "[A-Z][a-z]{1,12}/[A-Z][A-Za-z_]{1,12}",
        select(vec![
            "daily",
            "custom",
            "completion",
            "urgent",
            "email",
            "push",
            "Europe/Berlin",
            "UTC",
            "2031-01-31T09:00:00Z"
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 48, 6, |inner| {
        prop_oneof![vec(inner.clone(), 0..6).prop_map(Value::from), object(inner.boxed()).prop_map(Value::Object)]
    })
    .boxed()
}

const FIELDS: [&str; 20] = [
    "title",
    "description",
    "priority",
    "due_at",
    "time_zone",
    "tags",
    "reminders",
    "remind_at",
    "before_due",
    "channels",
    "recurrence",
    "type",
    "interval",
    "rule",
    "anchor",
    "until",
    "minutes",
    "id",
    "version",
    "user_id",
];

fn object(value: BoxedStrategy<Value>) -> BoxedStrategy<Map<String, Value>> {
    let name = prop_oneof![8 => select(FIELDS.as_slice()).prop_map(str::to_owned), 1 => any::<String>()];
    vec((name, value), 0..10).prop_map(|fields| fields.into_iter().collect()).boxed()
}

/// What was read is within the limits that the API promises.
fn read(object: Map<String, Value>) -> Result<(), TestCaseError> {
    let begun = Instant::now();
    let size = Value::Object(object.clone()).to_string().len();
    for outcome in [draft::new_task(Fields::new(object.clone())), draft::whole_task(Fields::new(object.clone()))] {
        match outcome {
            Ok((wanted, reminders)) => {
                prop_assert!((1..=500).contains(&wanted.title.chars().count()) && !wanted.title.contains('\0'));
                prop_assert!(wanted.tags.len() <= 20 && reminders.len() <= 20);
                prop_assert!(wanted.recurrence.is_none() || wanted.due_at.is_some());
            }
            Err(Problem::Invalid(faults)) => {
                let told: usize = faults.iter().map(|fault| fault.detail.len()).sum();
                prop_assert!(!faults.is_empty() && told < 2_000 * faults.len() + 8 * size, "{faults:?}");
            }
            Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }
    let mut fields = Fields::new(object);
    let _ = draft::reminder(&mut fields);
    let _ = fields.finish();
    prop_assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    Ok(())
}

proptest! {
    #[test]
    fn any_object_is_a_task_within_its_limits_or_told_its_faults(object in object(any_value())) {
        read(object)?;
    }

    /// Mostly right, so that what depends on several fields is reached.
    #[test]
    fn a_task_with_some_fields_changed_is_one_within_its_limits_or_told_its_faults(
        changes in object(any_value()), recurrence in option::of(object(any_value())), reminder in option::of(object(any_value())),
    ) {
        let mut body = json!({
            "title": "a", "due_at": "2031-01-31T09:00:00+02:00", "time_zone": "America/Havana", "tags": ["x"],
            "reminders": [{"before_due": "P1DT15M"}], "recurrence": {"type": "custom", "rule": "FREQ=MONTHLY;BYMONTHDAY=-1"},
        });
        body.as_object_mut().unwrap().extend(changes);
        if let (Some(changes), Some(of)) = (recurrence, body["recurrence"].as_object_mut()) {
            of.extend(changes);
        }
        if let (Some(changes), Some(of)) = (reminder, body["reminders"].get_mut(0).and_then(Value::as_object_mut)) {
            of.extend(changes);
        }
        let Value::Object(body) = body else { unreachable!() };
        read(body)?;
    }

    #[test]
    fn any_text_is_an_instant_of_the_calendar_or_none(text in any::<String>(), like in "[-+]?[0-9]{4,6}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{0,12})?(Z|[-+][0-9]{2}:[0-9]{2})") {
        for text in [&text, &like] {
            if let Ok(at) = instant_text(text) {
                prop_assert!((1970..=9999).contains(&chrono::Datelike::year(&at)));
                prop_assert_eq!(at.timestamp_subsec_nanos() % 1_000, 0);
            }
        }
    }

    #[test]
    fn any_headers_and_bytes_are_a_command_or_refused(
        headers in vec((select(vec!["if-match", "idempotency-key", "content-type", "content-length", "traceparent", "x"]), vec(any::<u8>(), 0..300)), 0..6),
        body in vec(any::<u8>(), 0..500), version in any::<i64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut request = Request::post("/v1/tasks");
        for (name, value) in headers {
            if let Ok(value) = axum::http::HeaderValue::from_bytes(&value) {
                request = request.header(name, value);
            }
        }
        let command = runtime.block_on(Command::from_request(request.body(Body::from(body)).unwrap(), &()));
        if let Ok(command) = command {
            if let Some(key) = &command.key {
                prop_assert!((1..=255).contains(&key.len()) && key.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
            let _ = (command.expects(version), command.nothing());
            if let Ok(fields) = command.object() {
                let _ = draft::new_task(fields);
            }
        }
    }

    #[test]
    fn any_query_is_read_or_told_its_faults(given in vec((any::<String>(), any::<String>()), 0..8)) {
        if let Ok(mut params) = Params::new(given) {
            let limit = params.limit();
            prop_assert!((1..=100).contains(&limit));
            let _ = params.finish();
        }
    }
}
