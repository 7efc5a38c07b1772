//! Capabilities: what a link in a message, or a button of its notification, may do without a session.
//!
//! A capability names one action on one version of a reminder of a user, and ends after seven days. It is signed with HMAC-SHA256, so nobody
//! can change it or make one. Its holder may perform that action, once, and nothing else: it reads nothing. `reminder-due` makes
//! capabilities, and `tasks` accepts them.

use std::{fmt, time::Duration};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use clap::Args;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use sha2::Sha256;
use utoipa::ToSchema;
use uuid::Uuid;

/// How long a capability is valid.
pub const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The shortest key: RFC 2104, section 3 wants as many bytes as the hash has.
const KEY_BYTES: usize = 32;
/// Signed before each capability, so that a signature made for another purpose is never one of a capability.
const PURPOSE: &[u8] = b"punctual capability 1";
/// The bytes of the action, the three ids, the version and the end.
const SIGNED: usize = 1 + 3 * 16 + 4 + 8;
const SIGNATURE: usize = 32;
/// The length of a capability's text.
pub const TEXT_LENGTH: usize = (SIGNED + SIGNATURE).div_ceil(3) * 4;

/// The keys of capabilities.
#[derive(Args, Clone, Debug, Default)]
#[group(skip)]
pub struct CapabilityConfig {
    /// Key of the links and buttons of reminders, which act without a session, at least 32 bytes: the same for `tasks` and `reminder-due`. Without it
    /// there are none.
    #[arg(long, env, hide_env_values = true)]
    pub action_key: Option<SecretString>,
    /// The `ACTION_KEY` before the current one. `tasks` accepts links that were made with it, for the seven days that they are valid.
    #[arg(long, env, hide_env_values = true)]
    pub former_action_key: Option<SecretString>,
}

/// An action that a capability allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Complete the task.
    Complete,
    /// Snooze the reminder.
    Snooze,
}

impl Action {
    /// The text in the API and in `notification_deliveries.action`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Snooze => "snooze",
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Complete => 1,
            Self::Snooze => 2,
        }
    }
}

/// What its holder may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The user in whose name.
    pub user_id: Uuid,
    /// The reminder's task.
    pub task_id: Uuid,
    /// The reminder.
    pub reminder_id: Uuid,
    /// The version of the reminder whose message has the capability.
    pub reminder_version: i32,
    /// The action.
    pub action: Action,
    /// When it ends, to the second.
    pub expires_at: DateTime<Utc>,
}

/// Why a text is refused. The message tells the user what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a capability that was signed with one of the keys.
    #[error("is not the text of a link that this service made; copy the whole link")]
    Forged,
    /// Older than [`LIFETIME`].
    #[error("has expired: a link acts for seven days; sign in and change the task there")]
    Expired,
}

impl Capability {
    /// When it was made.
    #[must_use]
    pub fn issued_at(&self) -> DateTime<Utc> {
        self.expires_at - LIFETIME
    }

    fn bytes(&self) -> [u8; SIGNED] {
        let mut bytes = [0; SIGNED];
        let parts: [&[u8]; 6] = [
            &[self.action.byte()],
            self.user_id.as_bytes(),
            self.task_id.as_bytes(),
            self.reminder_id.as_bytes(),
            &self.reminder_version.to_be_bytes(),
            &self.expires_at.timestamp().to_be_bytes(),
        ];
        let mut rest = bytes.as_mut_slice();
        for part in parts {
            let (here, after) = rest.split_at_mut(part.len());
            here.copy_from_slice(part);
            rest = after;
        }
        bytes
    }

    /// Reads what [`Capability::bytes`] wrote.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (action, rest) = bytes.split_first()?;
        let (user_id, rest) = rest.split_first_chunk()?;
        let (task_id, rest) = rest.split_first_chunk()?;
        let (reminder_id, rest) = rest.split_first_chunk()?;
        let (reminder_version, rest) = rest.split_first_chunk()?;
        let action = [Action::Complete, Action::Snooze].into_iter().find(|known| known.byte() == *action)?;
        Some(Self {
            user_id: Uuid::from_bytes(*user_id),
            task_id: Uuid::from_bytes(*task_id),
            reminder_id: Uuid::from_bytes(*reminder_id),
            reminder_version: i32::from_be_bytes(*reminder_version),
            action,
            expires_at: DateTime::from_timestamp(i64::from_be_bytes(rest.try_into().ok()?), 0)?,
        })
    }
}

/// Makes and accepts capabilities. Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    current: Hmac<Sha256>,
    former: Option<Hmac<Sha256>>,
}

impl Keys {
    /// The configured keys; none without a current one.
    ///
    /// # Errors
    /// When a key is too short.
    pub fn new(config: &CapabilityConfig) -> anyhow::Result<Option<Self>> {
        let key = |secret: &Option<SecretString>, name: &'static str| {
            let Some(secret) = secret else { return Ok(None) };
            let secret = secret.expose_secret().as_bytes();
            anyhow::ensure!(secret.len() >= KEY_BYTES, "{name} must have {KEY_BYTES} bytes or more");
            let key = Hmac::<Sha256>::new_from_slice(secret).ok().with_context(|| format!("{name} is not a key"))?;
            Ok(Some(key.chain_update(PURPOSE)))
        };
        let (current, former) =
            (key(&config.action_key, "ACTION_KEY")?, key(&config.former_action_key, "FORMER_ACTION_KEY")?);
        Ok(current.map(|current| Self { current, former }))
    }

    /// The text of a capability, signed with the current key. The same capability always has the same text.
    #[must_use]
    pub fn sign(&self, capability: &Capability) -> String {
        let signed = capability.bytes();
        let signature = self.current.clone().chain_update(signed).finalize().into_bytes();
        BASE64_URL_SAFE_NO_PAD.encode([signed.as_slice(), &signature].concat())
    }

    /// Reads the text of a capability that one of the keys has signed.
    ///
    /// # Errors
    /// It is not one, or has expired.
    pub fn verify(&self, text: &str, now: DateTime<Utc>) -> Result<Capability, Refusal> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::Forged)?;
        let (signed, signature) = bytes.split_at_checked(SIGNED).ok_or(Refusal::Forged)?;
        // `verify_slice` takes the same time for every signature.
        let mut keys = [Some(&self.current), self.former.as_ref()].into_iter().flatten();
        if !keys.any(|key| key.clone().chain_update(signed).verify_slice(signature).is_ok()) {
            return Err(Refusal::Forged);
        }
        let capability = Capability::parse(signed).ok_or(Refusal::Forged)?;
        if now < capability.expires_at { Ok(capability) } else { Err(Refusal::Expired) }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "a key of capabilities with 32 bytes";

    fn keys(current: &str, former: Option<&str>) -> Keys {
        let secret = |text: &str| SecretString::from(text);
        let config = CapabilityConfig { action_key: Some(secret(current)), former_action_key: former.map(secret) };
        Keys::new(&config).unwrap().unwrap()
    }

    fn capability() -> Capability {
        Capability {
            user_id: Uuid::from_u128(1),
            task_id: Uuid::from_u128(2),
            reminder_id: Uuid::from_u128(3),
            reminder_version: 4,
            action: Action::Snooze,
            expires_at: at(1_900_000_000),
        }
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn a_capability_is_read_as_it_was_signed_until_it_expires() {
        let (keys, capability) = (keys(KEY, None), capability());
        let text = keys.sign(&capability);
        assert_eq!(text.len(), TEXT_LENGTH);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
        let last = capability.expires_at - TimeDelta::nanoseconds(1);
        assert_eq!(keys.verify(&text, last), Ok(capability));
        assert_eq!(keys.verify(&text, capability.expires_at), Err(Refusal::Expired));
        assert_eq!(capability.expires_at - capability.issued_at(), TimeDelta::days(7));
    }

    /// Links in mail outlive releases: this text must stay valid.
    #[test]
    fn the_form_of_a_capability_does_not_change() {
        let text = keys(KEY, None).sign(&capability());
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&text).unwrap();
        let mut expected = vec![2];
        for id in 1..=3_u128 {
            expected.extend(id.to_be_bytes());
        }
        expected.extend(4_i32.to_be_bytes());
        expected.extend(1_900_000_000_i64.to_be_bytes());
        assert_eq!(bytes[..SIGNED], expected);
        let mut signature = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
        signature.update(&[b"punctual capability 1".as_slice(), &expected].concat());
        assert_eq!(bytes[SIGNED..], signature.finalize().into_bytes()[..]);
    }

    #[test]
    fn a_former_key_is_accepted_and_signs_nothing() {
        let (old, new) = (keys(KEY, None), keys("another key of capabilities, as long", Some(KEY)));
        let now = at(1_800_000_000);
        let text = old.sign(&capability());
        assert_eq!(new.verify(&text, now), Ok(capability()));
        let text = new.sign(&capability());
        assert_eq!(old.verify(&text, now), Err(Refusal::Forged));
        assert_eq!(keys("a third key of capabilities, as long", None).verify(&text, now), Err(Refusal::Forged));
    }

    #[test]
    fn a_key_that_is_too_short_is_refused_and_a_missing_one_makes_none() {
        let short = |text: &str| Some(SecretString::from(text));
        let config = CapabilityConfig { action_key: short("short"), former_action_key: None };
        assert_eq!(Keys::new(&config).unwrap_err().to_string(), "ACTION_KEY must have 32 bytes or more");
        let config = CapabilityConfig { action_key: short(KEY), former_action_key: short("short") };
        assert_eq!(Keys::new(&config).unwrap_err().to_string(), "FORMER_ACTION_KEY must have 32 bytes or more");
        assert!(Keys::new(&CapabilityConfig::default()).unwrap().is_none());
    }

    #[test]
    fn no_bit_of_a_capability_can_be_changed() {
        let keys = keys(KEY, None);
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(keys.sign(&capability())).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let text = BASE64_URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(keys.verify(&text, at(1_800_000_000)), Err(Refusal::Forged), "bit {bit}");
        }
        for length in 0..bytes.len() {
            let text = BASE64_URL_SAFE_NO_PAD.encode(&bytes[..length]);
            assert_eq!(keys.verify(&text, at(1_800_000_000)), Err(Refusal::Forged), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_accepted_that_was_not_signed(text in ".{0,200}") {
            prop_assert_eq!(keys(KEY, None).verify(&text, at(1_800_000_000)), Err(Refusal::Forged));
        }
    }
}
