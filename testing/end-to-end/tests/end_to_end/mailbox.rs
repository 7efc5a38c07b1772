//! The mail that reached a user.

use std::{fs, path::Path};

use chrono::{DateTime, Utc};
use lab::mail::{self, Message};

use crate::{
    user::User,
    wait,
    world::{SOON, World},
};

/// A message that was accepted.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) subject: String,
    /// When the server had all of it, by this machine's clock, which is the database's.
    pub(crate) accepted_at: DateTime<Utc>,
    pub(crate) message: Message,
}

impl World {
    /// The messages to a user, in the order they were accepted.
    pub(crate) fn mails(&self, user: &User) -> Vec<Mail> {
        let messages = mail::messages(&self.topology.mail_dir).into_iter();
        let mine = messages.filter(|message| message.header("to").is_some_and(|to| to.contains(&user.email)));
        let mut mails: Vec<Mail> = mine
            .map(|message| Mail {
                subject: message.header("subject").unwrap_or_default(),
                accepted_at: accepted_at(&message.path),
                message,
            })
            .collect();
        mails.sort_by_key(|mail| mail.accepted_at);
        mails
    }

    /// The messages to a user about a task of this title.
    pub(crate) fn mails_about(&self, user: &User, title: &str) -> Vec<Mail> {
        self.mails(user).into_iter().filter(|mail| mail.subject.contains(title)).collect()
    }

    /// Waits for the first message to a user about a task of this title.
    pub(crate) async fn mail_about(&self, user: &User, title: &str) -> Mail {
        wait::until(&format!("mail about {title:?} arrives"), SOON, async || {
            self.mails_about(user, title).into_iter().next().ok_or_else(|| format!("{:?}", self.subjects(user)))
        })
        .await
    }

    /// What the messages to a user are about.
    pub(crate) fn subjects(&self, user: &User) -> Vec<String> {
        self.mails(user).into_iter().map(|mail| mail.subject).collect()
    }
}

/// The SMTP server names a message by the nanosecond it had all of it; the `files` provider writes it in that moment.
fn accepted_at(path: &Path) -> DateTime<Utc> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let nanoseconds = name.split('-').next().filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok());
    match nanoseconds {
        Some(nanoseconds) => DateTime::from_timestamp_nanos(nanoseconds),
        None => fs::metadata(path).and_then(|meta| meta.modified()).expect("a mail is a file").into(),
    }
}
