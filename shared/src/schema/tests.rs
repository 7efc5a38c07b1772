//! Payloads of every release, read by this code.

use std::{collections::BTreeSet, fs, path::Path};

use schemars::schema_for;
use serde_json::{Map, Value, json};

use super::*;

/// The samples of one payload type: name and payload.
fn samples<T: Payload>() -> Vec<(String, Map<String, Value>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/payloads").join(T::TYPE.as_str());
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = files.map(|file| file.unwrap().path());
    paths.map(|path| (path.display().to_string(), serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())).collect()
}

/// Parses a payload and writes it again.
fn written_again<T: Payload>(name: &str, payload: &Map<String, Value>) -> Map<String, Value> {
    let parsed: T =
        serde_json::from_value(payload.clone().into()).unwrap_or_else(|error| panic!("{name}: {error}: {payload:?}"));
    serde_json::to_value(parsed).unwrap().as_object().unwrap().clone()
}

/// Checks the samples of each payload type.
struct Samples;

impl PayloadVisitor for Samples {
    fn visit<T: Payload>(&mut self) {
        let schema = schema_for!(T).to_value();
        let fields = schema["properties"].as_object().unwrap();
        let samples = samples::<T>();
        for (name, sample) in &samples {
            let again = written_again::<T>(name, sample);
            for (field, value) in sample {
                let same = match (fields[field]["format"].as_str(), value.as_str(), again[field].as_str()) {
                    (Some("date-time"), Some(sent), Some(again)) => {
                        sent.parse::<DateTime<Utc>>().unwrap() == again.parse::<DateTime<Utc>>().unwrap()
                    }
                    _ => *value == again[field],
                };
                assert!(same, "{name}: {field} is {} after {value}", again[field]);
            }
            let mut newer = sample.clone();
            newer.insert("a_later_field".to_owned(), json!({"of": ["a", "later", "release"]}));
            // A text without a format is free text or an enum.
            let words = |field: &&String| sample[*field].is_string() && fields[*field].get("format").is_none();
            let words: Vec<&String> = sample.keys().filter(words).collect();
            for field in &words {
                newer[*field] = json!("a later word");
            }
            let again = written_again::<T>(name, &newer);
            assert!(words.iter().all(|field| again[*field] == "a later word"), "{name}: {again:?}");
        }
        let shown: BTreeSet<&String> = samples.iter().flat_map(|(_, sample)| sample.keys()).collect();
        assert_eq!(shown, fields.keys().collect(), "the samples of {} show each field", T::TYPE.as_str());
    }
}

#[test]
fn payloads_of_every_release_parse_with_unknown_fields_and_values_of_later_ones() {
    visit_payloads(&mut Samples);
}

#[test]
fn an_unknown_value_is_kept_as_other() {
    let known: Cause = serde_json::from_value(json!("task.created")).unwrap();
    assert_eq!(known, Cause::Known(EventType::TaskCreated));
    let unknown: Cause = serde_json::from_value(json!("task.unheard")).unwrap();
    assert_eq!(unknown, Cause::Other("task.unheard".to_owned()));
    assert_eq!(serde_json::to_value(unknown).unwrap(), "task.unheard");
    for (name, on) in [("push", SentOn::Known(Channel::Push)), ("pigeon", SentOn::Other("pigeon".to_owned()))] {
        let parsed: SentOn = serde_json::from_value(json!(name)).unwrap();
        assert_eq!(
            (&parsed, serde_json::to_value(&parsed).unwrap(), SentOn::from(name.to_owned())),
            (&on, json!(name), on.clone())
        );
    }
    serde_json::from_value::<SentOn>(json!(7)).unwrap_err();
}
