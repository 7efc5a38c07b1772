//! E-mail addresses of users.

use std::str::FromStr;

use lettre::message::Mailbox;

/// The longest address: RFC 5321 limits a path to 256 octets, angle brackets included.
const LIMIT: usize = 254;

/// An e-mail address that a message can be sent to.
///
/// The mail library decides, because it builds the message later. An address that passes here and fails there would make every reminder of
/// its user fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

/// A text is not an e-mail address, or a message cannot be sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address that mail can be sent to")]
pub struct InvalidAddress;

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let parsed: lettre::Address = text.parse().map_err(|_| InvalidAddress)?;
        // lettre parses quoted local parts here, but not when it reads the header `To` to find the recipient.
        let recipient = text.parse::<Mailbox>().is_ok_and(|mailbox| mailbox.email == parsed);
        // An IP address, in brackets or as any notation that a resolver knows. No top-level domain begins with a digit.
        let top = parsed.domain().rsplit('.').next().unwrap_or_default();
        let is_host = !top.starts_with(|first: char| first == '[' || first.is_ascii_digit());
        let is_address = text.len() <= LIMIT && !text.contains(char::is_control) && recipient && is_host;
        is_address.then(|| Self(text.to_owned())).ok_or(InvalidAddress)
    }
}

impl Address {
    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use lettre::Message;

    use super::*;

    /// Whether lettre builds a message to an address, and finds its recipient.
    fn can_be_sent(address: &Address) -> bool {
        let to: lettre::Address = address.as_str().parse().unwrap();
        let from: Mailbox = "reminders@example.com".parse().unwrap();
        let message = Message::builder().from(from).to(Mailbox::new(None, to.clone())).subject("s").body(String::new());
        message.is_ok_and(|message| message.envelope().to() == [to])
    }

    #[test]
    fn an_address_that_passes_can_be_sent_to() {
        for text in
            ["ada@example.org", "a.b+c_d-e@x.example.org", "ada@localhost", "o'hara@example.ie", "ä@bücher.example"]
        {
            let address: Address = text.parse().unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(address.as_str(), text);
            assert!(can_be_sent(&address), "{text}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_sent_to_is_refused() {
        let long = format!("{}@{}.example", "a".repeat(64), "b.".repeat(100));
        for text in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "a\r\nBcc: c@d",
            "a@b\r\nBcc: c@d",
            "a\0@b",
            "Ada <ada@example.org>",
            "ada@example.org, eve@example.org",
            " ada@example.org",
            "\"a b\"@example.test",
            "\"a\"@example.test",
            "a@[127.0.0.1]",
            "a@[IPv6:::1]",
            "a@[::1]",
            "a@127.0.0.1",
            "a@127.1",
            "a@2130706433",
            "a@0x7f000001",
            &long,
        ] {
            assert_eq!(text.parse::<Address>(), Err(InvalidAddress), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_passes_can_be_sent_to(text in "([a-z\"\\\\ .<>(),:;@\\[\\]äß=?-]|\\PC){1,12}@([a-z0-9.\\[\\]:ü-]{1,12}|\\PC{1,6})") {
            if let Ok(address) = text.parse::<Address>() {
                proptest::prop_assert!(can_be_sent(&address), "{text:?}");
            }
        }
    }
}
