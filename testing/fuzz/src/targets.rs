//! The targets, one per file.

mod cursor;
mod delivered;
mod duration;
mod envelope;
mod provider;
mod recurrence;
mod request;
mod smtp;
mod token;

use crate::Target;

/// Every target.
pub(crate) const ALL: [Target; 9] = [
    cursor::TARGET,
    delivered::TARGET,
    duration::TARGET,
    envelope::TARGET,
    provider::TARGET,
    recurrence::TARGET,
    request::TARGET,
    smtp::TARGET,
    token::TARGET,
];
