//! The message as it travels: MIME, text and HTML as alternatives.

use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};

use super::{Email, SendError};

/// The same for every attempt of a delivery.
pub(super) fn id(email: &Email, from: &Mailbox) -> String {
    format!("<{}@{}>", email.id, from.email.domain())
}

/// A header is one line: whatever could end it becomes a space, and a run of spaces one space.
pub(super) fn single_line(text: &str) -> String {
    let breaks = |c: char| c.is_whitespace() || c.is_control();
    text.split(breaks).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

pub(super) fn build(email: &Email, from: &Mailbox, to: Address) -> Result<Message, SendError> {
    // Tells vacation responders not to answer (RFC 3834).
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    // lettre writes an ASCII `=?` as it is, which mail programs take for the beginning of an encoded word.
    let subject = single_line(&email.subject).replace("=?", "= ?");
    Message::builder()
        .message_id(Some(id(email, from)))
        .date_now()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(subject)
        .raw_header(automatic)
        .multipart(MultiPart::alternative_plain_html(lines(&email.text), lines(&email.html)))
        .map_err(|_| SendError::permanent("the message could not be built"))
}

/// Line ends are `\n` here, which lettre makes `\r\n`; it lets a lone `\r` pass, which some servers take for a line end.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}
