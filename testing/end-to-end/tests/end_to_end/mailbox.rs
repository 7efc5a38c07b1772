//! The messages that the mail server accepted for a user.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lab::{
    mail::{self, Message},
    wait,
};

use crate::{
    product::{RunningProduct, SOON},
    user::User,
};

/// An accepted message.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) subject: String,
    /// By this machine's clock, which is also the database's.
    pub(crate) accepted_at: DateTime<Utc>,
    pub(crate) message: Message,
}

impl RunningProduct {
    /// The messages to a user, in order of arrival.
    pub(crate) fn mails(&self, user: &User) -> Vec<Mail> {
        let mut messages = mail::messages(&self.topology.mail_dir);
        messages.retain(|message| message.header("to").is_some_and(|to| to.contains(&user.email)));
        let mail = |message: Message| Mail {
            subject: message.header("subject").unwrap_or_default(),
            accepted_at: message.accepted_at().into(),
            message,
        };
        messages.into_iter().map(mail).collect()
    }

    /// The messages to a user about tasks with this title.
    pub(crate) fn mails_about(&self, user: &User, title: &str) -> Vec<Mail> {
        self.mails(user).into_iter().filter(|mail| mail.subject.contains(title)).collect()
    }

    /// Waits for the first message to a user about a task with this title.
    pub(crate) async fn mail_about(&self, user: &User, title: &str) -> Mail {
        self.mail_within(SOON, user, title).await
    }

    /// Waits for a message about `title`, at most `limit`.
    pub(crate) async fn mail_within(&self, limit: Duration, user: &User, title: &str) -> Mail {
        wait::until(&format!("mail about {title:?} arrives"), limit, async || {
            let mut mails = self.mails(user);
            match mails.iter().position(|mail| mail.subject.contains(title)) {
                Some(found) => Ok(mails.swap_remove(found)),
                None => Err(format!("{:?}", self.subjects(user))),
            }
        })
        .await
    }

    /// The subjects of the messages to a user.
    pub(crate) fn subjects(&self, user: &User) -> Vec<String> {
        self.mails(user).into_iter().map(|mail| mail.subject).collect()
    }
}
