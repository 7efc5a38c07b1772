//! Builds the MIME message, with text and HTML as alternatives.

use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};

use super::{Email, SendError};

/// The Message-ID, which is the same for every attempt of a delivery.
pub(super) fn id(email: &Email, from: &Mailbox) -> String {
    format!("<{}@{}>", email.id, from.email.domain())
}

/// Makes a text fit one header line: each run of whitespace and control characters becomes one space.
pub(super) fn single_line(text: &str) -> String {
    let breaks = |c: char| c.is_whitespace() || c.is_control();
    text.split(breaks).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

pub(super) fn build(email: &Email, from: &Mailbox, to: Address) -> Result<Message, SendError> {
    // Tells vacation responders not to answer (RFC 3834).
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    // lettre does not escape an ASCII `=?`, which mail programs read as the start of an encoded word.
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

/// Makes every line end `\n`, which lettre turns into `\r\n`. lettre would keep a lone `\r`, which some servers read as a line end.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}
