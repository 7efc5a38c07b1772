//! Reads a body field by field into types that cannot hold what is not allowed, and collects every field at fault.

use std::fmt::Display;

use chrono::{DateTime, Datelike as _, Utc};
use serde_json::{Map, Value};
use shared::{
    problem::{Fault, Problem, Result},
    recurrence::Zone,
};

/// What a field of a body said.
#[derive(Clone, Debug)]
pub(crate) enum Given<T> {
    /// Nothing; also what was at fault.
    Absent,
    Null,
    Value(T),
}

impl<T> Given<T> {
    /// The value, or `current` where the field is absent, or nothing where it is null (RFC 7396).
    pub(crate) fn over(self, current: Option<T>) -> Option<T> {
        match self {
            Self::Absent => current,
            Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }

    /// The value, where there is one.
    pub(crate) fn value(self) -> Option<T> {
        self.over(None)
    }
}

/// An object being read.
pub(crate) struct Fields {
    at: String,
    object: Map<String, Value>,
    faults: Vec<Fault>,
}

impl Fields {
    pub(crate) fn new(object: Map<String, Value>) -> Self {
        Self { at: String::new(), object, faults: Vec::new() }
    }

    /// Reads a field by `parse`, whose error is what is wrong with it.
    pub(crate) fn take<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&Value) -> Result<T, E>) -> Given<T> {
        match self.object.remove(name) {
            None => Given::Absent,
            Some(Value::Null) => Given::Null,
            Some(value) => match parse(&value) {
                Ok(value) => Given::Value(value),
                Err(wrong) => {
                    self.fault(name, wrong);
                    Given::Absent
                }
            },
        }
    }

    /// Reads a field that must be there. Without it there is a fault, and [`Fields::finish`] fails.
    pub(crate) fn need<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&Value) -> Result<T, E>) -> Option<T> {
        let faults = self.faults.len();
        let given = self.take(name, parse).value();
        if given.is_none() && self.faults.len() == faults {
            self.fault(name, "is required");
        }
        given
    }

    /// Reads a field that is an object of its own.
    pub(crate) fn take_object<T>(&mut self, name: &str, read: impl FnOnce(&mut Fields) -> Option<T>) -> Given<T> {
        let at = format!("{}/{name}", self.at);
        match self.take(name, object) {
            Given::Absent => Given::Absent,
            Given::Null => Given::Null,
            Given::Value(object) => self.inside(at, object, read).map_or(Given::Absent, Given::Value),
        }
    }

    /// Reads a field that is a list of at most `limit` objects.
    pub(crate) fn take_objects<T>(
        &mut self,
        name: &str,
        limit: usize,
        mut read: impl FnMut(&mut Fields) -> Option<T>,
    ) -> Given<Vec<T>> {
        let items = match self.take(name, |value| list(value, limit)) {
            Given::Absent => return Given::Absent,
            Given::Null => return Given::Null,
            Given::Value(items) => items,
        };
        let mut read_items = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match object(item) {
                Ok(object) => read_items.extend(self.inside(format!("{}/{name}/{index}", self.at), object, &mut read)),
                Err(wrong) => self.fault(&format!("{name}/{index}"), wrong),
            }
        }
        Given::Value(read_items)
    }

    fn inside<T>(
        &mut self,
        at: String,
        object: Map<String, Value>,
        read: impl FnOnce(&mut Fields) -> Option<T>,
    ) -> Option<T> {
        let mut fields = Fields { at, object, faults: Vec::new() };
        let value = read(&mut fields);
        fields.refuse_unknown();
        self.faults.append(&mut fields.faults);
        value
    }

    /// Applies a JSON merge patch (RFC 7396) to what the field `name` now is; the result is then read as any field.
    pub(crate) fn merge(&mut self, name: &str, current: Option<Value>) {
        if let (Some(patch @ Value::Object(_)), Some(mut whole)) = (self.object.get(name).cloned(), current) {
            merge_patch(&mut whole, patch);
            self.object.insert(name.to_owned(), whole);
        }
    }

    /// Refuses a field by name, with a better word than "unknown".
    pub(crate) fn refuse(&mut self, name: &str, why: &str) {
        if self.object.remove(name).is_some() {
            self.fault(name, why);
        }
    }

    /// Whether the field is there and not null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whether the field is there and null.
    pub(crate) fn is_null(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(Value::is_null)
    }

    /// How many items the field has, if it is a list.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.object.get(name).and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// Whether a field, or for an empty name any, is at fault.
    pub(crate) fn is_faulty(&self, name: &str) -> bool {
        let pointer = format!("#{}/{name}", self.at);
        self.faults.iter().any(|fault| name.is_empty() || fault.pointer.as_ref() == Some(&pointer))
    }

    /// Notes what is wrong with a field.
    pub(crate) fn fault(&mut self, name: &str, wrong: impl Display) {
        self.faults.push(Fault::at(format_args!("{}/{name}", self.at), wrong));
    }

    fn refuse_unknown(&mut self) {
        for (name, _) in std::mem::take(&mut self.object) {
            let name: String = name.chars().take(100).collect();
            // RFC 6901, section 3.
            self.fault(&name.replace('~', "~0").replace('/', "~1"), "is not a field of this body");
        }
    }

    /// Ends the reading: whatever was not read is unknown.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.refuse_unknown();
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::Invalid(self.faults)) }
    }
}

/// RFC 7396, section 2.
fn merge_patch(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.as_object_mut().and_then(|target| target.remove(&name))),
            value => merge_patch(&mut target[name], value),
        }
    }
}

/// A string of so many characters, without NUL (which PostgreSQL cannot store).
pub(crate) fn text(value: &Value, lengths: std::ops::RangeInclusive<usize>) -> Result<String, String> {
    let text = value.as_str().ok_or("must be a string")?;
    if text.contains('\0') {
        return Err("must not contain NUL".to_owned());
    }
    if !lengths.contains(&text.chars().count()) {
        return Err(format!("must have {} to {} characters", lengths.start(), lengths.end()));
    }
    Ok(text.to_owned())
}

/// The same, without the space around it.
pub(crate) fn trimmed(value: &Value, lengths: std::ops::RangeInclusive<usize>) -> Result<String, String> {
    match value {
        Value::String(given) => text(&given.trim().into(), lengths),
        other => text(other, lengths),
    }
}

/// An instant, to the microsecond that PostgreSQL keeps.
pub(crate) fn instant(value: &Value) -> Result<DateTime<Utc>, &'static str> {
    instant_text(value.as_str().ok_or("must be a string")?)
}

/// The same, from text.
pub(crate) fn instant_text(text: &str) -> Result<DateTime<Utc>, &'static str> {
    let at = DateTime::parse_from_rfc3339(text)
        .map_err(|_| "must be a time with its offset (RFC 3339), such as 2027-05-04T09:00:00+02:00")?;
    DateTime::from_timestamp_micros(at.timestamp_micros())
        .filter(|at| (1970..=9999).contains(&at.year()))
        .ok_or("must lie between the years 1970 and 9999")
}

/// A time zone of the IANA database.
pub(crate) fn zone(value: &Value) -> Result<Zone, String> {
    let name = value.as_str().ok_or("must be a string")?;
    Zone::parse(name).map_err(|error| error.to_string())
}

/// A whole number of a range.
pub(crate) fn whole(value: &Value, range: std::ops::RangeInclusive<u32>) -> Result<u32, String> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
}

/// A list of at most so many items.
pub(crate) fn list(value: &Value, limit: usize) -> Result<Vec<Value>, String> {
    let items = value.as_array().ok_or("must be a list")?;
    if items.len() > limit {
        return Err(format!("must have at most {limit} items"));
    }
    Ok(items.clone())
}

fn object(value: &Value) -> Result<Map<String, Value>, &'static str> {
    value.as_object().cloned().ok_or("must be an object")
}

#[cfg(test)]
mod tests;
