//! Builds the MIME message, with text and HTML as alternatives.

use icu_properties::props::{
    BinaryProperty as _, EnumeratedProperty as _, GeneralCategory, PrependedConcatenationMark,
};
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

/// Makes a text fit one header line and hide nothing: each run of whitespace and control characters becomes one space, and format
/// characters go.
pub(crate) fn single_line(text: &str) -> String {
    let breaks = |c: char| c.is_whitespace() || c.is_control();
    let text = without_format_characters(text);
    text.split(breaks).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Removes the characters of category Cf, which could reverse the text around them (U+202E) or hide letters between letters (U+200B).
/// Keeps the visible ones, the joiners within emoji and within words of scripts that need them, and the tags of a flag.
fn without_format_characters(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let before = kept.chars().next_back();
        let keeps = match c {
            '\u{200c}' | '\u{200d}' => before.is_some_and(is_joined) && rest.peek().copied().is_some_and(is_joined),
            '\u{e0020}'..='\u{e007f}' => matches!(before, Some('\u{1f3f4}' | '\u{e0020}'..='\u{e007e}')),
            // Signs of numbers and verses, which enclose or precede digits, are visible.
            _ => GeneralCategory::for_char(c) != GeneralCategory::Format || PrependedConcatenationMark::for_char(c),
        };
        if keeps {
            kept.push(c);
        }
    }
    kept
}

/// Whether a joiner beside this character has a meaning: a letter of a script without case or its mark, or an emoji or its modifier.
fn is_joined(c: char) -> bool {
    use GeneralCategory::{ModifierSymbol, NonspacingMark, OtherLetter, OtherSymbol, SpacingMark};
    matches!(GeneralCategory::for_char(c), OtherLetter | NonspacingMark | SpacingMark | OtherSymbol | ModifierSymbol)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::address;
    use uuid::Uuid;

    use super::*;

    fn built(to: &str) -> Option<Message> {
        let (text, html) = ("call".to_owned(), "call".to_owned());
        let email = Email { id: Uuid::nil(), to: to.to_owned(), subject: "call".to_owned(), text, html };
        let from = "Punctual <reminders@punctual.example>".parse().unwrap();
        build(&email, &from, to.parse().ok()?).ok()
    }

    proptest! {
        #[test]
        fn a_message_can_be_built_for_every_address_that_is_accepted(
            local in "[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~\\-\"\\\\ ,;:<>()\\[\\]äж会]{1,12}",
            domain in "[a-zA-Z0-9.!_\\-\\[\\]:äж会]{1,12}",
        ) {
            if let Some(to) = address::Address::parse(&format!("{local}@{domain}")) {
                let message = built(to.as_str()).expect("a message");
                prop_assert_eq!(message.envelope().to()[0].to_string(), to.to_string());
            }
        }
    }

    #[test]
    fn characters_that_hide_or_reverse_text_are_removed() {
        for (title, shown) in [
            ("pay \u{202e}gpj.exe", "pay gpj.exe"),
            ("\u{2066}a\u{2069} \u{200e}b\u{200f} c\u{feff}\u{ad}d", "a b cd"),
            ("pa\u{200b}y\u{200d}pal\u{200c}", "paypal"),
            ("hi\u{e0041}\u{e0042}", "hi"),
            ("\u{200b}\u{2060}", ""),
        ] {
            assert_eq!(single_line(title), shown, "{title:?}");
        }
    }

    #[test]
    fn joiners_within_emoji_and_words_are_kept() {
        for title in [
            "👨‍👩‍👧‍👦",
            "👩🏽‍🚀 ❤️‍🔥",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "می\u{200c}خواهم",
            "क्\u{200d}ष",
            "\u{600}12",
        ] {
            assert_eq!(single_line(title), title, "{title:?}");
        }
    }
}
