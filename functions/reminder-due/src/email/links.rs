//! The links of a reminder's mail, which act without a session.
//!
//! A link leads to the page, with the capability in the fragment. A program that opens the links of a mail to look for malware therefore
//! changes nothing: the fragment is not part of its request, and only a button on the page acts.

use chrono::{DateTime, Utc};
use reqwest::Url;
use shared::{
    audit::ReminderRef,
    capability::{Action, Capability, Keys, LIFETIME},
};

use super::EmailConfig;

/// Makes links.
pub(crate) struct ActionLinks {
    page: Url,
    keys: Keys,
}

/// The links of one mail.
#[derive(Clone, Debug)]
pub struct Links {
    /// Completes the task.
    pub done: String,
    /// Snoozes the reminder.
    pub snooze: String,
}

impl ActionLinks {
    /// As configured; none without a page or a key.
    pub(crate) fn new(config: &EmailConfig) -> anyhow::Result<Option<Self>> {
        let keys = Keys::new(&config.capabilities)?;
        Ok(config.page_url.clone().zip(keys).map(|(page, keys)| Self { page, keys }))
    }

    /// The links of a mail about a version of a reminder. They are valid from `since` on, and the same for every attempt to send it.
    pub(crate) fn of(&self, reminder: ReminderRef, since: DateTime<Utc>) -> Links {
        let link = |action| {
            let capability = Capability {
                user_id: reminder.user_id,
                task_id: reminder.task_id,
                reminder_id: reminder.id,
                reminder_version: reminder.version,
                action,
                expires_at: since + LIFETIME,
            };
            let mut link = self.page.clone();
            link.set_fragment(Some(&format!("/act/{}", self.keys.sign(&capability))));
            link.to_string()
        };
        Links { done: link(Action::Complete), snooze: link(Action::Snooze) }
    }
}
