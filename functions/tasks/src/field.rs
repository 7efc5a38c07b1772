//! What a field of a request body is: its name, how it is read, and its schema in the OpenAPI document. One declaration gives all
//! three, so that a limit in the document is the limit that the parser enforces.

mod nested;

use std::{fmt::Display, marker::PhantomData, ops::RangeInclusive, str::FromStr};

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use serde_json::{Value, json};
use shared::{
    push,
    recurrence::{BeforeDue, DURATION_LIMIT, NotADuration, Zone},
};
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

pub(crate) use self::nested::{List, Object, Objects, object};
use crate::text;

/// A field of a request body.
pub(crate) struct Field<K> {
    pub(crate) name: &'static str,
    kind: K,
    /// Description, example and default for the document.
    annotations: fn() -> Value,
}

impl<K: Kind> Field<K> {
    pub(crate) const fn new(name: &'static str, kind: K, annotations: fn() -> Value) -> Self {
        Self { name, kind, annotations }
    }

    /// Reads a value; the error says what is wrong with it.
    pub(crate) fn parse(&self, value: Value) -> Result<K::Value, String> {
        self.kind.parse(value)
    }
}

/// What a field can hold.
pub(crate) trait Kind {
    type Value;

    fn parse(&self, value: Value) -> Result<Self::Value, String>;

    /// The JSON Schema of the values that `parse` accepts.
    fn schema(&self) -> Value;
}

/// Text of some number of characters, in NFC, without NUL and noncharacters.
pub(crate) struct Text {
    characters: RangeInclusive<usize>,
    visible: bool,
}

/// No character of Unicode stands in NFC for more than this many.
const COMPOSED_LIMIT: usize = 4;

impl Text {
    pub(crate) const fn of(characters: RangeInclusive<usize>) -> Self {
        Self { characters, visible: false }
    }

    /// Text of which a person must see something. White space around it is removed before it is counted.
    pub(crate) const fn visible(characters: RangeInclusive<usize>) -> Self {
        Self { characters, visible: true }
    }
}

impl Kind for Text {
    type Value = String;

    fn parse(&self, value: Value) -> Result<String, String> {
        let given = string(value)?;
        if let Some(wrong) = text::forbidden(&given) {
            return Err(wrong.to_owned());
        }
        let given = if self.visible { given.trim() } else { &given };
        // Text that is too long in any case is not normalised.
        let most = COMPOSED_LIMIT * self.characters.end();
        if given.chars().nth(most).is_some() {
            within(&self.characters, most + 1, "characters")?;
        }
        let text = text::nfc(given);
        within(&self.characters, text.chars().count(), "characters")?;
        if self.visible && text::is_blank(&text) {
            return Err("must have a character that can be seen".to_owned());
        }
        Ok(text)
    }

    fn schema(&self) -> Value {
        let mut schema = json!({"type": "string", "maxLength": self.characters.end()});
        if *self.characters.start() > 0 {
            schema["minLength"] = json!(self.characters.start());
        }
        schema
    }
}

/// A word of `T`, whose words are a schema of their own.
pub(crate) struct Word<T>(PhantomData<fn() -> T>);

impl<T> Word<T> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: ToSchema + FromStr<Err: Display>> Kind for Word<T> {
    type Value = T;

    fn parse(&self, value: Value) -> Result<T, String> {
        string(value)?.parse().map_err(|error: T::Err| error.to_string())
    }

    fn schema(&self) -> Value {
        reference::<T>()
    }
}

/// An instant, to the microsecond that PostgreSQL keeps.
pub(crate) struct Instant;

impl Kind for Instant {
    type Value = DateTime<Utc>;

    fn parse(&self, value: Value) -> Result<DateTime<Utc>, String> {
        Ok(instant(&string(value)?)?)
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "format": "date-time"})
    }
}

/// Reads an instant (RFC 3339, section 5.6), to the microsecond that PostgreSQL keeps.
pub(crate) fn instant(text: &str) -> Result<DateTime<Utc>, &'static str> {
    // chrono also takes a space for the `T`, and U+2212 for the minus.
    let is_strict = text.is_ascii() && !text.contains(' ');
    let at = is_strict.then(|| DateTime::parse_from_rfc3339(text).ok()).flatten();
    let at = at.ok_or("must be a time with its offset (RFC 3339), such as 2027-05-04T09:00:00+02:00")?.to_utc();
    // chrono writes second 60 as a nanosecond beyond the second.
    if at.nanosecond() >= 1_000_000_000 && !may_be_leap_second(at) {
        return Err("must not have second 60, except for a leap second at the end of June or December (UTC)");
    }
    // A leap second counts as the second after it, as in PostgreSQL.
    DateTime::from_timestamp_micros(at.timestamp_micros())
        .filter(|stored| at.year() >= 1970 && stored.year() <= 9999)
        .ok_or("must lie between the years 1970 and 9999")
}

/// RFC 3339, section 5.7.
fn may_be_leap_second(at: DateTime<Utc>) -> bool {
    matches!((at.month(), at.day(), at.hour(), at.minute()), (6, 30, 23, 59) | (12, 31, 23, 59))
}

/// A time zone of the IANA database.
pub(crate) struct ZoneName;

impl Kind for ZoneName {
    type Value = Zone;

    fn parse(&self, value: Value) -> Result<Zone, String> {
        Zone::parse(&string(value)?).map_err(|error| error.to_string())
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "format": "time-zone"})
    }
}

/// An ISO 8601 duration before the due time.
pub(crate) struct Duration;

impl Kind for Duration {
    type Value = BeforeDue;

    fn parse(&self, value: Value) -> Result<BeforeDue, String> {
        let text = string(value)?;
        // jiff, which parses it, also takes small letters and signs.
        let is_strict = text.bytes().all(|byte| byte.is_ascii_digit() || b"PYMWDTHS.,".contains(&byte));
        let duration = if is_strict { BeforeDue::parse(&text) } else { Err(NotADuration) };
        duration.map_err(|error| error.to_string())
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "format": "iso-duration", "maxLength": DURATION_LIMIT})
    }
}

/// A point of the curve P-256, uncompressed, in base64url without padding.
pub(crate) struct PublicKey;

impl Kind for PublicKey {
    type Value = String;

    fn parse(&self, value: Value) -> Result<String, String> {
        let key = Some(string(value)?).filter(|key| push::point(key).is_some());
        key.ok_or_else(|| "must be an uncompressed point of P-256 in base64url, without padding".to_owned())
    }

    fn schema(&self) -> Value {
        // The first byte is 4, and the last two bits are unused.
        base64url(87, "^B[A-P][A-Za-z0-9_-]{84}[AEIMQUYcgkosw048]$")
    }
}

/// 16 bytes in base64url without padding.
pub(crate) struct Secret;

impl Kind for Secret {
    type Value = String;

    fn parse(&self, value: Value) -> Result<String, String> {
        let secret = Some(string(value)?).filter(|secret| push::bytes::<16>(secret).is_some());
        secret.ok_or_else(|| "must be 16 bytes in base64url, without padding".to_owned())
    }

    fn schema(&self) -> Value {
        base64url(22, "^[A-Za-z0-9_-]{21}[AQgw]$")
    }
}

fn base64url(length: usize, pattern: &str) -> Value {
    json!({"type": "string", "format": "base64url", "minLength": length, "maxLength": length, "pattern": pattern})
}

/// A whole number.
pub(crate) struct Whole(pub(crate) RangeInclusive<u32>);

impl Kind for Whole {
    type Value = u32;

    fn parse(&self, value: Value) -> Result<u32, String> {
        // To JSON Schema 5.0 and 5e0 are integers.
        let integer = value.as_u64().or_else(|| {
            let number =
                value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number));
            number.map(|number| number as u64)
        });
        integer
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| self.0.contains(number))
            .ok_or_else(|| format!("must be a whole number from {} to {}", self.0.start(), self.0.end()))
    }

    fn schema(&self) -> Value {
        json!({"type": "integer", "format": "int32", "minimum": self.0.start(), "maximum": self.0.end()})
    }
}

/// True or false.
pub(crate) struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn parse(&self, value: Value) -> Result<bool, String> {
        value.as_bool().ok_or_else(|| "must be true or false".to_owned())
    }

    fn schema(&self) -> Value {
        json!({"type": "boolean"})
    }
}

fn string(value: Value) -> Result<String, &'static str> {
    if let Value::String(text) = value { Ok(text) } else { Err("must be a string") }
}

fn within(limits: &RangeInclusive<usize>, count: usize, of: &str) -> Result<(), String> {
    match (limits.contains(&count), limits.start(), limits.end()) {
        (true, ..) => Ok(()),
        (false, 0, most) => Err(format!("must have at most {most} {of}")),
        (false, least, most) => Err(format!("must have {least} to {most} {of}")),
    }
}

fn reference<T: ToSchema>() -> Value {
    json!({"$ref": format!("#/components/schemas/{}", T::name())})
}

/// Whether a body must have a field, and whether the field may be null.
#[derive(Clone, Copy)]
pub(crate) enum Presence {
    Required,
    /// Null means the same as absent, or in a merge patch that the field is removed.
    Optional,
    /// May be absent, but not null.
    NotNull,
}

/// A field as a body documents it.
pub(crate) trait Documented: Sync {
    fn name(&self) -> &'static str;

    fn schema(&self, presence: Presence) -> Value;
}

impl<K: Kind + Sync> Documented for Field<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schema(&self, presence: Presence) -> Value {
        let mut schema = self.kind.schema();
        if let Presence::Optional = presence {
            match schema.get("type").cloned() {
                Some(kind) => schema["type"] = json!([kind, "null"]),
                None => schema = json!({"oneOf": [schema, {"type": "null"}]}),
            }
        }
        if let (Value::Object(schema), Value::Object(annotations)) = (&mut schema, (self.annotations)()) {
            schema.extend(annotations);
        }
        schema
    }
}

/// The schema of a body: an object with these fields and no others.
pub(crate) fn body_schema(description: &str, fields: &[(&dyn Documented, Presence)]) -> RefOr<Schema> {
    let mut schema =
        json!({"type": "object", "description": description, "properties": {}, "additionalProperties": false});
    for (field, presence) in fields {
        schema["properties"][field.name()] = field.schema(*presence);
    }
    let required = fields.iter().filter(|(_, presence)| matches!(presence, Presence::Required));
    let required: Vec<_> = required.map(|(field, _)| field.name()).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    serde_json::from_value(schema).expect("the parts of a schema make a schema")
}

#[cfg(test)]
mod tests;
