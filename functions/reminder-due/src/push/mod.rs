//! Web Push (RFC 8030): one message to one device, one attempt.
//!
//! A browser subscribes at the push service of its vendor, which gives it a URL, the endpoint. A message is a POST to it, encrypted for the
//! device (`encryption.rs`) and signed by us (`vapid.rs`).
//!
//! Its topic is the reminder. A push service keeps at most one message of a topic for a device that is away, and the page shows at most one
//! notification of a reminder. So a repeated attempt shows nothing twice, and the topic counts as an idempotency key.
//!
//! An endpoint comes from a user. Four walls keep it from reaching anything but push services: `PUSH_HOSTS`, the resolver (`resolver.rs`), no proxy
//! and no redirects, and the network policy of the chart.

mod encryption;
mod resolver;
mod vapid;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use clap::Parser;
use reqwest::{
    Certificate, Client, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, LOCATION},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use shared::push::{DEFAULT_HOSTS, Endpoint, PushHosts};
use tokio::time::timeout;
use unicode_segmentation::UnicodeSegmentation as _;
use uuid::Uuid;

use self::{encryption::DeviceKeys, resolver::PublicAddresses, vapid::VapidKeys};
use crate::{
    actions::Capabilities,
    email::{SendError, http, message::single_line, storable},
};

/// The name of the private keys in the secret store.
pub(crate) const SECRET_KEY: &str = "vapid-private-keys";

/// Maximum bytes of a title in a message. A push service must take 4,096 bytes (RFC 8030, section 7.2), and a lock screen shows fewer.
const TITLE_LIMIT: usize = 480;

/// Where reminders may be pushed. The private keys are `vapid-private-keys` in the secret store: one or two keys of P-256 as PEM (PKCS #8). A
/// subscription that was made with either public key gets messages.
#[derive(Parser, Clone, Debug)]
#[command(about, long_about = None)]
pub struct PushConfig {
    /// Push services that may be called: names, separated by commas. `*.` before a name stands for its subdomains. `name=address:port` pins the
    /// address of a service inside the network, which DNS may not name.
    #[arg(long, env, default_value = DEFAULT_HOSTS)]
    pub push_hosts: PushHosts,
    /// Certificates of authorities that are trusted beside those of the system.
    #[arg(skip)]
    pub roots: Vec<Certificate>,
}

/// The client of all push services.
#[derive(Clone)]
pub struct Push {
    client: Client,
    hosts: PushHosts,
    keys: Arc<VapidKeys>,
    deadline: Duration,
}

/// The subscription of a device, as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) endpoint: String,
    pub(crate) p256dh: String,
    pub(crate) auth: String,
    pub(crate) vapid_key: String,
}

impl Device {
    /// The name of its push service.
    pub(crate) fn service(&self) -> Option<String> {
        Url::parse(&self.endpoint).ok()?.domain().map(str::to_owned)
    }
}

/// The payload of a message. The device shows times in its own zone and language.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Notification {
    pub(crate) delivery_id: Uuid,
    pub(crate) reminder_id: Uuid,
    pub(crate) reminder_version: i32,
    pub(crate) task_id: Uuid,
    /// Absent if the user hides titles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    pub(crate) remind_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) due_at: Option<DateTime<Utc>>,
    /// The capabilities of its buttons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actions: Option<Capabilities>,
}

impl Push {
    /// `contact` is an address, to which a push service may complain.
    pub(crate) fn new(
        config: &PushConfig,
        contact: &str,
        secret: &SecretString,
        deadline: Duration,
    ) -> anyhow::Result<Self> {
        let builder = http::builder(deadline)
            .no_proxy()
            .https_only(true)
            .referer(false)
            .dns_resolver(PublicAddresses)
            .tls_certs_merge(config.roots.iter().cloned());
        let pinned =
            config.push_hosts.pinned().fold(builder, |builder, (name, address)| builder.resolve(name, address));
        Ok(Self {
            client: pinned.build().context("the client of the push services cannot be built")?,
            hosts: config.push_hosts.clone(),
            keys: Arc::new(VapidKeys::parse(secret.expose_secret(), contact)?),
            deadline,
        })
    }

    /// Tries once to push a message, which is worthless after `lifetime`. Returns the push service's id of it.
    pub(crate) async fn send(
        &self,
        device: &Device,
        notification: &Notification,
        lifetime: Duration,
    ) -> Result<String, SendError> {
        let endpoint = Endpoint::parse(&device.endpoint, &self.hosts)
            .map_err(|wrong| SendError::permanent(format!("the endpoint {wrong}")))?;
        let service = endpoint.host();
        // Once an operator has put the key back, the message goes out late, which is better than never.
        let authorization = self
            .keys
            .authorization(&device.vapid_key, endpoint.url(), Utc::now())
            .ok_or_else(|| SendError::transient("the secret store lacks the key that the device subscribed with"))?;
        let plaintext = serde_json::to_vec(notification).expect("a notification is plain data");
        let body = DeviceKeys::parse(&device.p256dh, &device.auth)
            .and_then(|keys| encryption::encrypt(&keys, &plaintext))
            .ok_or_else(|| SendError::permanent("the keys of the device are not usable"))?;
        let topic = BASE64_URL_SAFE_NO_PAD.encode(notification.reminder_id.as_bytes());
        let request = self
            .client
            .post(endpoint.url().clone())
            .header("TTL", lifetime.as_secs())
            .header("Topic", &topic)
            .header("Urgency", "high")
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_ENCODING, "aes128gcm")
            .body(body);
        match timeout(self.deadline, request.send()).await {
            Ok(Ok(response)) if response.status().is_success() => {
                let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
                Ok(storable(location.unwrap_or(&topic)))
            }
            Ok(Ok(response)) => Err(refusal(service, &response)),
            Ok(Err(error)) => Err(http::no_answer(service, &error)),
            Err(_) => Err(SendError::unknown(format!("{service} did not answer in time"))),
        }
    }
}

/// Classifies an answer that is not 2xx.
fn refusal(service: &str, response: &Response) -> SendError {
    let reason = || format!("{service} {}", response.status().as_u16());
    match response.status() {
        StatusCode::NOT_FOUND | StatusCode::GONE => SendError::Gone { reason: reason() },
        // It does not take our signature, which concerns our key or clock and not the message.
        StatusCode::FORBIDDEN => SendError::transient(reason()),
        status => http::refusal(service, status, response.headers(), None),
    }
}

/// A title as a notification shows it: one line, cut at a character. `None` if nothing can be seen.
pub(crate) fn title(title: &str) -> Option<String> {
    let title = single_line(title);
    let ends = title.grapheme_indices(true).map(|(start, grapheme)| start + grapheme.len());
    let end = ends.take_while(|end| *end <= TITLE_LIMIT).last()?;
    let cut = if end < title.len() { "…" } else { "" };
    Some(format!("{}{cut}", title[..end].trim_end()))
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use lab::push::{PushService, VapidKey};
    use shared::capability::TEXT_LENGTH;

    use super::*;

    fn push(hosts: &str, service: &PushService, key: &VapidKey) -> Push {
        let roots = vec![Certificate::from_der(&service.certificate).unwrap()];
        let config = PushConfig { push_hosts: hosts.parse().unwrap(), roots };
        Push::new(&config, "reminders@punctual.example", &key.pem.clone().into(), Duration::from_secs(5)).unwrap()
    }

    #[tokio::test]
    async fn a_name_that_points_inside_is_not_called() {
        let service = PushService::start().await;
        let push = push("localhost", &service, &VapidKey::new());
        let called = push.client.get(format!("https://localhost:{}/", service.address.port())).send().await;
        let error = format!("{:#}", anyhow::Error::new(called.unwrap_err()));
        assert!(error.contains("the name points inside a network"), "{error}");
    }

    /// Runs once more in a process of its own, because the environment belongs to all tests.
    #[tokio::test]
    async fn a_message_does_not_go_through_the_proxy_of_the_environment() {
        const NAME: &str = "push::tests::a_message_does_not_go_through_the_proxy_of_the_environment";
        const NOBODY: &str = "http://127.0.0.1:9";
        if env::var("HTTPS_PROXY").as_deref() != Ok(NOBODY) {
            let mut again = Command::new(env::current_exe().unwrap());
            again.args(["--exact", NAME]).env("HTTPS_PROXY", NOBODY);
            for other in ["https_proxy", "NO_PROXY", "no_proxy"] {
                again.env_remove(other);
            }
            let output = again.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            return;
        }
        let (service, key) = (PushService::start().await, VapidKey::new());
        let lab::push::Subscription { endpoint, p256dh, auth } = service.subscribe(&key.public);
        let push = push(&service.host(), &service, &key);
        let device = Device { endpoint, p256dh, auth, vapid_key: key.public };
        let notification = Notification {
            delivery_id: Uuid::nil(),
            reminder_id: Uuid::nil(),
            reminder_version: 1,
            task_id: Uuid::nil(),
            title: None,
            remind_at: DateTime::UNIX_EPOCH,
            due_at: None,
            actions: None,
        };
        push.send(&device, &notification, Duration::from_secs(1)).await.unwrap();
        assert_eq!(service.messages().len(), 1);
    }

    #[test]
    fn the_largest_message_fits_what_every_push_service_takes() {
        for (word, kept) in [("\"", 480), ("\u{1f469}\u{200d}\u{1f680}", 473), ("e\u{301}", 480)] {
            let title = title(&word.repeat(500)).unwrap();
            assert!(title.ends_with('…') && title.len() <= kept + '…'.len_utf8(), "{title}");
            let at = Some(DateTime::UNIX_EPOCH);
            let id = Uuid::from_u128(7);
            let notification = Notification {
                delivery_id: id,
                reminder_id: id,
                reminder_version: i32::MAX,
                task_id: id,
                title: Some(title),
                remind_at: DateTime::UNIX_EPOCH,
                due_at: at,
                actions: Some(Capabilities { complete: "A".repeat(TEXT_LENGTH), snooze: "A".repeat(TEXT_LENGTH) }),
            };
            assert!(serde_json::to_vec(&notification).unwrap().len() < 1_800);
        }
        assert_eq!(title("call\nthe \u{202e}dentist").as_deref(), Some("call the dentist"));
        assert_eq!(title(" \u{200b}\t"), None);
        // One character of more bytes than a title may have.
        assert_eq!(title(&format!("a{}", "\u{301}".repeat(500))), None);
    }
}
