//! The text of a reminder mail.

use askama::Template;
use unicode_segmentation::UnicodeSegmentation as _;
use uuid::Uuid;

use super::{Email, message::single_line};

/// Maximum length of a title in the subject, in characters as a person counts them, because mail programs show no more anyway. The
/// body has the whole title.
const TITLE_IN_SUBJECT: usize = 120;

/// The links of one mail.
#[derive(Clone, Debug)]
pub struct Links {
    /// Completes the task.
    pub done: String,
    /// Snoozes the reminder.
    pub snooze: String,
}

/// The content of a reminder mail. Times are already formatted in the user's zone.
///
/// Equal values give equal text. A repeated attempt must use the same values, `late` above all.
#[derive(Clone, Debug)]
pub struct ReminderMail {
    title: String,
    due: Option<String>,
    planned: String,
    late: Option<String>,
    links: Option<Links>,
}

#[derive(Template)]
#[template(path = "reminder.txt")]
struct Text<'a> {
    mail: &'a ReminderMail,
}

#[derive(Template)]
#[template(path = "reminder.html")]
struct Html<'a> {
    mail: &'a ReminderMail,
    subject: String,
}

impl ReminderMail {
    /// Creates the content. `due` is the task's due time, if it has one. `planned` is the reminder's own time. `late` is the delay since
    /// then ("2 hours"), if it is worth a mention.
    #[must_use]
    pub fn new(title: &str, due: Option<String>, planned: String, late: Option<String>) -> Self {
        let title = single_line(title);
        // The title may consist of nothing but spaces and control characters.
        let title = if title.is_empty() { "(untitled task)".to_owned() } else { title };
        Self { title, due, planned, late, links: None }
    }

    /// With links to complete the task and to snooze the reminder.
    #[must_use]
    pub fn with_links(self, links: Option<Links>) -> Self {
        Self { links, ..self }
    }

    /// `Reminder: <title>`, in one line.
    #[must_use]
    pub fn subject(&self) -> String {
        match self.title.grapheme_indices(true).nth(TITLE_IN_SUBJECT) {
            Some((end, _)) => format!("Reminder: {}…", self.title[..end].trim_end()),
            None => format!("Reminder: {}", self.title),
        }
    }

    /// Builds the message to `to` for the delivery `id`.
    pub fn email(&self, id: Uuid, to: String) -> askama::Result<Email> {
        Ok(Email {
            id,
            to,
            subject: self.subject(),
            text: Text { mail: self }.render()?,
            html: Html { mail: self, subject: self.subject() }.render()?,
        })
    }
}
