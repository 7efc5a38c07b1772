//! Reads a body field by field into types that cannot hold an illegal value, and collects every invalid field.

use std::fmt::Display;

use serde_json::{Map, Value};
use shared::problem::{InvalidField, InvalidFields, Problem, Result};

use crate::{
    body::pointer_token,
    field::{Field, Kind, Object, Objects, object},
};

/// What a body says about a field.
#[derive(Clone, Debug)]
pub(crate) enum Given<T> {
    /// The field is absent, or invalid and noted as such.
    Absent,
    Null,
    Value(T),
}

impl<T> Given<T> {
    /// The value of the field after a merge patch (RFC 7396): absent keeps `current`, null removes it.
    pub(crate) fn or_current(self, current: Option<T>) -> Option<T> {
        match self {
            Self::Absent => current,
            Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }

    /// Whether the field is absent.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value, if there is one.
    pub(crate) fn value(self) -> Option<T> {
        self.or_current(None)
    }
}

/// An object that is being read.
pub(crate) struct Fields {
    /// JSON pointer of the object.
    pointer: String,
    /// The fields that have not been read yet.
    object: Map<String, Value>,
    invalid: InvalidFields,
}

impl Fields {
    pub(crate) fn new(object: Map<String, Value>) -> Self {
        Self { pointer: String::new(), object, invalid: InvalidFields::default() }
    }

    /// Reads a whole body. `read` returns `None` only if it has found an invalid field; a field that it does not read is unknown.
    pub(crate) fn read<T>(mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Result<T> {
        let value = read(&mut self);
        self.refuse_unknown();
        match value {
            _ if !self.invalid.is_empty() => Err(Problem::Invalid(self.invalid)),
            value => Ok(value.expect("a body is read unless a field is invalid")),
        }
    }

    pub(crate) fn take<K: Kind>(&mut self, field: &Field<K>) -> Given<K::Value> {
        match self.object.remove(field.name) {
            None => Given::Absent,
            Some(Value::Null) => Given::Null,
            Some(value) => match field.parse(value) {
                Ok(value) => Given::Value(value),
                Err(wrong) => {
                    self.invalid(field.name, wrong);
                    Given::Absent
                }
            },
        }
    }

    /// Reads a required field. `None` if it is invalid, absent or null.
    pub(crate) fn require<K: Kind>(&mut self, field: &Field<K>) -> Option<K::Value> {
        let before = self.invalid.len();
        let given = self.take(field).value();
        self.note_absent(field.name, given, before)
    }

    /// Reads a required object by `read`, which returns `None` only if it has found an invalid field.
    pub(crate) fn require_object<B, T>(
        &mut self,
        field: &Field<Object<B>>,
        read: impl FnOnce(&mut Fields) -> Option<T>,
    ) -> Option<T>
    where
        Object<B>: Kind<Value = Map<String, Value>>,
    {
        let before = self.invalid.len();
        let given = self.take_object(field, read).value();
        self.note_absent(field.name, given, before)
    }

    /// Notes that a required field is not there, unless it was there and is noted as invalid.
    fn note_absent<T>(&mut self, name: &str, given: Option<T>, invalid_before: usize) -> Option<T> {
        if given.is_none() && self.invalid.len() == invalid_before {
            self.invalid(name, "is required");
        }
        given
    }

    /// Checks that exactly one of two fields is there.
    pub(crate) fn require_one_of<A, B>(&mut self, first: &Field<A>, second: &Field<B>) {
        if self.has(first) == self.has(second) {
            let wrong = format!("exactly one of `{}` and `{}` is required", first.name, second.name);
            self.invalid(first.name, wrong);
        }
    }

    /// Reads an object by `read`, which returns `None` only if it has found an invalid field.
    pub(crate) fn take_object<B, T>(
        &mut self,
        field: &Field<Object<B>>,
        read: impl FnOnce(&mut Fields) -> Option<T>,
    ) -> Given<T>
    where
        Object<B>: Kind<Value = Map<String, Value>>,
    {
        match self.take(field) {
            Given::Absent => Given::Absent,
            Given::Null => Given::Null,
            Given::Value(object) => self.inside(field.name, object, read).map_or(Given::Absent, Given::Value),
        }
    }

    /// Reads a list of objects, each by `read`.
    pub(crate) fn take_objects<B, T>(
        &mut self,
        field: &Field<Objects<B>>,
        mut read: impl FnMut(&mut Fields) -> Option<T>,
    ) -> Given<Vec<T>>
    where
        Objects<B>: Kind<Value = Vec<Value>>,
    {
        let items = match self.take(field) {
            Given::Absent => return Given::Absent,
            Given::Null => return Given::Null,
            Given::Value(items) => items,
        };
        let mut read_items = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let name = format!("{}/{index}", field.name);
            match object(item) {
                Ok(object) => read_items.extend(self.inside(&name, object, &mut read)),
                Err(wrong) => self.invalid(&name, wrong),
            }
        }
        Given::Value(read_items)
    }

    fn inside<T>(
        &mut self,
        name: &str,
        object: Map<String, Value>,
        read: impl FnOnce(&mut Fields) -> Option<T>,
    ) -> Option<T> {
        let mut fields =
            Fields { pointer: format!("{}/{name}", self.pointer), object, invalid: InvalidFields::default() };
        let value = read(&mut fields);
        fields.refuse_unknown();
        self.invalid.append(fields.invalid);
        value
    }

    /// Applies the merge patch (RFC 7396) in a field to its current value. The result is then read as the field.
    pub(crate) fn merge<K>(&mut self, field: &Field<K>, current: Option<Value>) {
        if let (Some(given @ Value::Object(_)), Some(mut whole)) = (self.object.get_mut(field.name), current) {
            merge_patch(&mut whole, given.take());
            *given = whole;
        }
    }

    /// Refuses a field that this body does not have, with a more helpful reason than that it is unknown.
    pub(crate) fn refuse(&mut self, name: &str, reason: &str) {
        if self.object.remove(name).is_some() {
            self.invalid(name, reason);
        }
    }

    /// Whether the field is there and not null.
    pub(crate) fn has<K>(&self, field: &Field<K>) -> bool {
        self.object.get(field.name).is_some_and(|value| !value.is_null())
    }

    /// Whether the field is there and null.
    pub(crate) fn is_null<K>(&self, field: &Field<K>) -> bool {
        self.object.get(field.name).is_some_and(Value::is_null)
    }

    /// The number of items of a field, if it is a list.
    pub(crate) fn count<K>(&self, field: &Field<K>) -> usize {
        self.object.get(field.name).and_then(Value::as_array).map_or(0, Vec::len)
    }

    pub(crate) fn is_invalid<K>(&self, field: &Field<K>) -> bool {
        let pointer = format!("#{}/{}", self.pointer, field.name);
        self.invalid.named().iter().any(|invalid| invalid.pointer.as_ref() == Some(&pointer))
    }

    /// Whether no invalid field has been found so far.
    pub(crate) fn are_valid(&self) -> bool {
        self.invalid.is_empty()
    }

    /// Notes that a field is invalid, and why.
    pub(crate) fn invalid(&mut self, name: &str, wrong: impl Display) {
        self.invalid.push(InvalidField::in_body(format_args!("{}/{name}", self.pointer), wrong));
    }

    fn refuse_unknown(&mut self) {
        for (name, _) in std::mem::take(&mut self.object) {
            self.invalid(&pointer_token(&name), "is not a field of this body");
        }
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

#[cfg(test)]
mod tests;
