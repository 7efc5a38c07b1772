//! The provider of a delivery's channel, as the steps of an attempt see it.

use super::row::Row;
use crate::email;

#[derive(Clone, Copy)]
pub(super) enum Provider<'a> {
    /// The configured provider of email.
    Email(&'a email::Provider),
    /// The push service of the device. Its client is made when a message is sent, so that push without keys delays no email.
    Push,
}

impl Provider<'_> {
    /// Whether a repeated attempt shows the message once.
    pub(super) fn has_idempotency_key(self) -> bool {
        match self {
            Self::Email(provider) => provider.has_idempotency_key(),
            Self::Push => true,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Email(provider) => provider.name(),
            Self::Push => "web-push",
        }
    }

    /// Who throttles us as a whole: the provider of email, or the one push service. `None` for files.
    pub(super) fn throttling(self, row: &Row) -> Option<String> {
        match self {
            Self::Email(email::Provider::Files(_)) => None,
            Self::Email(provider) => Some(provider.name().to_owned()),
            Self::Push => row.device.as_ref()?.service(),
        }
    }
}
