//! Email addresses: one parser for the edge that accepts an address and for the function that sends to it.
//!
//! The rules are the intersection of the senders. lettre reads an address twice, in its own type and again from the header `To`, and
//! the second parser loses the quotes of `"a b"@example.com` and knows no `a@[127.0.0.1]` (lettre 0.11, `message/mailbox/parsers`).
//! Resend and Mailgun document neither.

use std::fmt;

use email_address::{EmailAddress, Options};

/// An address of one mailbox, without a name, that every sender takes.
///
/// Its local part is unquoted ASCII, and its domain is a name, never an IP address. A domain beyond ASCII is kept in its ASCII form, because
/// few servers take another. A local part beyond ASCII has no such form, and most servers refuse it (SMTPUTF8, RFC 6531).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// Parses an address of at most 254 bytes (RFC 5321, section 4.5.3.1.3).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.rsplit_once('@')?;
        let domain = if domain.is_ascii() { domain.to_owned() } else { idna::domain_to_ascii(domain).ok()? };
        let is_name = domain.rsplit('.').next().is_some_and(|last| !last.chars().all(|c| c.is_ascii_digit()));
        let address = format!("{local}@{domain}");
        let options = Options::default().without_domain_literal().without_display_text();
        let fits = is_name
            && local.is_ascii()
            && !local.starts_with('"')
            && !local.contains(char::is_control)
            && address.len() <= 254
            && EmailAddress::parse_with_options(&address, options).is_ok();
        fits.then_some(Self(address))
    }

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_some_provider_cannot_use_is_refused() {
        for text in ["ada@example.com", "a.b+c@x.example", "o'hara@example.co.uk", "a@localhost"] {
            assert_eq!(Address::parse(text).map(|address| address.to_string()).as_deref(), Some(text));
        }
        let long = format!("a@{}.example", "b".repeat(64));
        let longer = format!("{}@example.com", "a".repeat(65));
        for text in [
            "",
            "@",
            "ada",
            "ada@",
            "@example.com",
            "a b@example.com",
            "\"a b\"@example.test",
            "\"a\"@example.test",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "a@[IPv6:::1]",
            "Ada <ada@example.com>",
            "<ada@example.com>",
            "a@b@example.com",
            "a@example.com,b@example.com",
            "a@example..com",
            "a@-example.com",
            ".a@example.com",
            "a..b@example.com",
            "a@example.com\r\nBcc: b@example.com",
            "a\0@example.com",
            "jörg@example.com",
            "会@example.com",
            "ada\u{200b}@example.com",
            &long,
            &longer,
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_domain_beyond_ascii_is_kept_in_its_ascii_form() {
        assert_eq!(Address::parse("ada@Bücher.example").unwrap().as_str(), "ada@xn--bcher-kva.example");
    }
}
