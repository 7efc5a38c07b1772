//! Fields that hold lists and objects.

use std::{marker::PhantomData, ops::RangeInclusive};

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{Kind, reference, within};

/// A list of some number of items.
pub(crate) struct List<K> {
    pub(crate) item: K,
    pub(crate) items: RangeInclusive<usize>,
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn parse(&self, value: Value) -> Result<Vec<K::Value>, String> {
        let items = array(value, &self.items)?.into_iter().enumerate();
        items.map(|(index, item)| self.item.parse(item).map_err(|wrong| format!("item {index} {wrong}"))).collect()
    }

    fn schema(&self) -> Value {
        list_of(self.item.schema(), &self.items)
    }
}

/// An object with fields of its own, which are the body `T`.
pub(crate) struct Object<T>(PhantomData<fn() -> T>);

impl<T> Object<T> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: ToSchema> Kind for Object<T> {
    type Value = Map<String, Value>;

    fn parse(&self, value: Value) -> Result<Map<String, Value>, String> {
        Ok(object(value)?)
    }

    fn schema(&self) -> Value {
        reference::<T>()
    }
}

/// A list of at most so many objects. Their fields are read one by one, so that each can be named when it is invalid.
pub(crate) struct Objects<T> {
    limit: usize,
    item: PhantomData<fn() -> T>,
}

impl<T> Objects<T> {
    pub(crate) const fn up_to(limit: usize) -> Self {
        Self { limit, item: PhantomData }
    }
}

impl<T: ToSchema> Kind for Objects<T> {
    type Value = Vec<Value>;

    fn parse(&self, value: Value) -> Result<Vec<Value>, String> {
        array(value, &(0..=self.limit))
    }

    fn schema(&self) -> Value {
        list_of(reference::<T>(), &(0..=self.limit))
    }
}

pub(crate) fn object(value: Value) -> Result<Map<String, Value>, &'static str> {
    if let Value::Object(object) = value { Ok(object) } else { Err("must be an object") }
}

fn array(value: Value, limits: &RangeInclusive<usize>) -> Result<Vec<Value>, String> {
    let Value::Array(items) = value else { return Err("must be a list".to_owned()) };
    within(limits, items.len(), "items").map(|()| items)
}

fn list_of(item: Value, limits: &RangeInclusive<usize>) -> Value {
    let mut schema = json!({"type": "array", "items": item, "maxItems": limits.end()});
    if *limits.start() > 0 {
        schema["minItems"] = json!(limits.start());
    }
    schema
}
