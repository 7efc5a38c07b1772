//! Capabilities of a message: its links and buttons act without a session.
//!
//! A link leads to the page, with the capability in the fragment. A program that opens the links of a mail to look for malware therefore
//! changes nothing: the fragment is not part of its request, and only a button on the page acts.

use chrono::{DateTime, Utc};
use reqwest::Url;
use serde::Serialize;
use shared::{
    audit::ReminderRef,
    capability::{Action, Capability, Keys, LIFETIME},
};

use crate::email::{EmailConfig, Links};

/// Makes the capabilities of messages.
pub(crate) struct Actions {
    page: Option<Url>,
    keys: Keys,
}

/// The capabilities of one message. `POST /v1/actions` takes them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Capabilities {
    pub(crate) complete: String,
    pub(crate) snooze: String,
}

impl Actions {
    /// As configured; none without a key.
    pub(crate) fn new(config: &EmailConfig) -> anyhow::Result<Option<Self>> {
        let keys = Keys::new(&config.capabilities)?;
        Ok(keys.map(|keys| Self { page: config.page_url.clone(), keys }))
    }

    /// Makes the capabilities of a message about a version of a reminder. They are valid from `since` on, and equal for every attempt to send it.
    pub(crate) fn capabilities(&self, reminder: ReminderRef, since: DateTime<Utc>) -> Capabilities {
        let sign = |action| {
            self.keys.sign(&Capability {
                user_id: reminder.user_id,
                task_id: reminder.task_id,
                reminder_id: reminder.id,
                reminder_version: reminder.version,
                action,
                expires_at: since + LIFETIME,
            })
        };
        Capabilities { complete: sign(Action::Complete), snooze: sign(Action::Snooze) }
    }

    /// The same as links to the page; none without a page.
    pub(crate) fn links(&self, reminder: ReminderRef, since: DateTime<Utc>) -> Option<Links> {
        let page = self.page.as_ref()?;
        let link = |capability: &str| {
            let mut link = page.clone();
            link.set_fragment(Some(&format!("/act/{capability}")));
            link.to_string()
        };
        let Capabilities { complete, snooze } = self.capabilities(reminder, since);
        Some(Links { done: link(&complete), snooze: link(&snooze) })
    }
}
