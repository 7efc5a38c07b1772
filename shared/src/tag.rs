//! Tags: the form of a name, and the id that follows from it.

use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

/// The id of a user's tag. A statement can use it before it knows whether the tag is new.
#[must_use]
pub fn id(user_id: Uuid, name: &str) -> Uuid {
    Uuid::new_v5(&user_id, name.as_bytes())
}

/// The name in NFC, in which it is stored and found. Release 0.1.0 stored it as given.
#[must_use]
pub fn nfc(name: &str) -> String {
    name.nfc().collect()
}
