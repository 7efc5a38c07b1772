//! The words of a reminder.

use askama::Template;
use uuid::Uuid;

use super::{Email, message::single_line};

/// Longer titles are cut in the subject, where mail programs show no more anyway; the message has them whole.
const TITLE_IN_SUBJECT: usize = 120;

/// What a reminder says. Times are formatted already, in the user's zone. Two of them that are equal give the same words,
/// so a repeated attempt must be made from the same values, `late` above all.
#[derive(Clone, Debug)]
pub struct ReminderMail {
    title: String,
    due: Option<String>,
    planned: String,
    late: Option<String>,
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
    /// `due`: when the task is due, if it is; `planned`: the reminder's own time; `late`: by how much that time was missed
    /// ("2 hours"), where it is worth a word.
    #[must_use]
    pub fn new(title: &str, due: Option<String>, planned: String, late: Option<String>) -> Self {
        let title = single_line(title);
        // Nothing but spaces and control characters still deserves a line of its own.
        let title = if title.is_empty() { "(untitled task)".to_owned() } else { title };
        Self { title, due, planned, late }
    }

    /// `Reminder: <title>`, in one line.
    #[must_use]
    pub fn subject(&self) -> String {
        let mut title: String = self.title.chars().take(TITLE_IN_SUBJECT).collect();
        if title.len() < self.title.len() {
            title.truncate(title.trim_end().len());
            title.push('…');
        }
        format!("Reminder: {title}")
    }

    /// The message to `to`, as delivery `id`.
    ///
    /// # Errors
    /// Only if formatting fails, which the templates, checked when compiled, give no cause for.
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
