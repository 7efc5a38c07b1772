//! A push service with its devices (RFC 8030), over HTTPS. It refuses a request that breaks a rule of RFC 8030, 8188, 8291 or 8292, and
//! decrypts each message as the device would.
//!
//! The decryption shares no code with the product: HKDF is written out in HMAC.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    future, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree},
    rand,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::HeaderMap,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

/// The name of the push service.
pub const NAME: &str = "push.test";

/// A signing key of the application.
#[derive(Debug)]
pub struct VapidKey {
    /// The private key, PKCS #8 as PEM.
    pub pem: String,
    /// The public key in base64url.
    pub public: String,
}

impl VapidKey {
    /// A new key.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    #[must_use]
    pub fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let pem = pem("PRIVATE KEY", pair.to_pkcs8v1().expect("a key in PKCS #8").as_ref());
        Self { pem, public: BASE64_URL_SAFE_NO_PAD.encode(pair.public_key()) }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
}

/// The subscription of a device, as its browser tells the page.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Where to send messages.
    pub endpoint: String,
    /// The public key of the device, in base64url.
    pub p256dh: String,
    /// A secret of the device, in base64url.
    pub auth: String,
}

/// How the service answers a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 201, and the device gets the message.
    Accept,
    /// This status, with this `Retry-After`.
    Refuse(u16, Option<String>),
    /// 307, to this place.
    Redirect(String),
    /// The device gets the message, and no answer comes.
    AcceptSilently,
    /// The device gets the message, and the connection is closed without an answer.
    AcceptAndClose,
    /// No answer comes.
    Hang,
    /// The connection is closed without an answer.
    Close,
}

/// A message that a device got.
#[derive(Clone, Debug)]
pub struct Message {
    /// The endpoint.
    pub endpoint: String,
    /// `Topic`. It replaces an older one of the topic.
    pub topic: String,
    /// `TTL`, in seconds.
    pub ttl: u64,
    /// What the device decrypted.
    pub text: Value,
}

struct Device {
    private: PrivateKey,
    auth: [u8; 16],
    /// The signing key that it subscribed with.
    vapid: String,
}

#[derive(Default)]
struct State {
    devices: HashMap<String, Device>,
    answers: VecDeque<Answer>,
    messages: Vec<Message>,
    wrong: Vec<String>,
    requests: usize,
}

/// A running push service. It ends with its runtime.
#[derive(Clone)]
pub struct PushService {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate that a client must trust.
    pub certificate: Vec<u8>,
    state: Arc<Mutex<State>>,
}

impl PushService {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).expect("a certificate");
        let certificate: CertificateDer<'static> = cert.der().clone();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("a configuration of TLS");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let service = Self { address, certificate: certificate.to_vec(), state: Arc::default() };
        tokio::spawn(service.clone().serve(listener, TlsAcceptor::from(Arc::new(tls))));
        service
    }

    /// An entry of `PUSH_HOSTS` for it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{NAME}={}", self.address)
    }

    /// The certificate as PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// A new device, whose browser subscribes with this public key of the application.
    pub fn subscribe(&self, vapid: &str) -> Subscription {
        let private = PrivateKey::generate(&ECDH_P256).expect("a key");
        let p256dh = BASE64_URL_SAFE_NO_PAD.encode(private.compute_public_key().expect("a public key"));
        let mut auth = [0; 16];
        rand::fill(&mut auth).expect("random bytes");
        let path = format!("/push/{}", Uuid::new_v4());
        self.state().devices.insert(path.clone(), Device { private, auth, vapid: vapid.to_owned() });
        Subscription { endpoint: format!("https://{NAME}{path}"), p256dh, auth: BASE64_URL_SAFE_NO_PAD.encode(auth) }
    }

    /// Answers the next requests so, one each. Later ones are accepted.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state().answers.extend(answers);
    }

    /// The messages that devices got, in order.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.state().messages.clone()
    }

    /// How many requests came.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.state().requests
    }

    /// Fails if a request broke a rule.
    #[track_caller]
    pub fn check(&self) {
        let wrong = self.state().wrong.clone();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self, listener: TcpListener, tls: TlsAcceptor) {
        loop {
            let Ok((connection, _)) = listener.accept().await else { continue };
            let (service, tls) = (self.clone(), tls.clone());
            tokio::spawn(async move {
                // A process that is killed leaves a connection that fails.
                let Ok(connection) = tls.accept(connection).await else { return };
                let answers = service_fn(|request| service.handle(request));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), answers).await;
            });
        }
    }

    async fn handle(&self, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (parts, body) = request.into_parts();
        // A process may be killed while it sends.
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let answer = {
            let mut state = self.state();
            state.requests += 1;
            match state.devices.get(parts.uri.path()) {
                None => Answer::Refuse(404, None),
                Some(device) => match device.receive(&parts, &body) {
                    Err(error) => {
                        let wrong = format!("{error:#}: {:?}", parts.headers);
                        state.wrong.push(wrong);
                        Answer::Refuse(400, None)
                    }
                    Ok(message) => {
                        let answer = state.answers.pop_front().unwrap_or(Answer::Accept);
                        if matches!(answer, Answer::Accept | Answer::AcceptSilently | Answer::AcceptAndClose) {
                            state.messages.push(message);
                        }
                        answer
                    }
                },
            }
        };
        let response = Response::builder();
        let response = match answer {
            Answer::Accept => {
                response.status(StatusCode::CREATED).header("location", format!("https://{NAME}/message/1"))
            }
            Answer::Refuse(status, None) => response.status(status),
            Answer::Refuse(status, Some(after)) => response.status(status).header("retry-after", after),
            Answer::Redirect(to) => response.status(StatusCode::TEMPORARY_REDIRECT).header("location", to),
            Answer::AcceptSilently | Answer::Hang => {
                future::pending::<Result<_, Infallible>>().await.unwrap_or_else(|never| match never {})
            }
            Answer::AcceptAndClose | Answer::Close => return Err(io::ErrorKind::ConnectionReset.into()),
        };
        Ok(response.body(Full::default()).expect("a response"))
    }
}

/// The value of a header that must be there once.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> anyhow::Result<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().with_context(|| format!("no {name}"))?;
    ensure!(values.next().is_none(), "{name} twice");
    Ok(value.to_str()?)
}

impl Device {
    fn receive(&self, parts: &hyper::http::request::Parts, body: &[u8]) -> anyhow::Result<Message> {
        let headers = &parts.headers;
        ensure!(parts.method == "POST", "the method is {}", parts.method);
        ensure!(header(headers, "host")? == NAME, "another host");
        ensure!(header(headers, "content-encoding")? == "aes128gcm", "another encoding");
        ensure!(header(headers, "content-type")? == "application/octet-stream", "another type");
        ensure!(header(headers, "urgency")? == "high", "another urgency");
        ensure!(!headers.contains_key("cookie") && !headers.contains_key("referer"), "a header about us");
        // RFC 8030, sections 5.2 and 5.4.
        let ttl = header(headers, "ttl")?.parse::<u64>().context("the TTL")?;
        ensure!(ttl <= 86_400, "the TTL is {ttl}");
        let topic = header(headers, "topic")?.to_owned();
        let is_base64url = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        ensure!(topic.len() == 22 && topic.chars().all(is_base64url), "the topic is {topic}");
        self.authenticate(header(headers, "authorization")?)?;
        ensure!(body.len() <= 4096, "{} bytes", body.len());
        let text = self.decrypt(body)?;
        let endpoint = format!("https://{NAME}{}", parts.uri.path());
        Ok(Message { endpoint, topic, ttl, text: serde_json::from_slice(&text)? })
    }

    /// RFC 8292, sections 2 to 4.
    fn authenticate(&self, authorization: &str) -> anyhow::Result<()> {
        let (token, key) = authorization
            .strip_prefix("vapid t=")
            .and_then(|parameters| parameters.split_once(", k="))
            .context("not `vapid t=…, k=…`")?;
        ensure!(key == self.vapid, "signed with another key than the device subscribed with");
        let point = BASE64_URL_SAFE_NO_PAD.decode(key)?;
        ensure!(point.len() == 65 && point[0] == 4, "the key is no uncompressed point");
        let [x, y] = [&point[1..33], &point[33..]].map(|half| BASE64_URL_SAFE_NO_PAD.encode(half));
        let mut validation = Validation::new(Algorithm::ES256);
        validation.leeway = 0;
        validation.set_audience(&[format!("https://{NAME}")]);
        validation.set_required_spec_claims(&["aud", "exp", "sub"]);
        let token = jsonwebtoken::decode::<Value>(token, &DecodingKey::from_ec_components(&x, &y)?, &validation)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let expiry = Duration::from_secs(token.claims["exp"].as_u64().context("exp")?);
        ensure!(expiry <= now + Duration::from_secs(24 * 3600), "valid for more than a day");
        let contact = token.claims["sub"].as_str().context("sub")?;
        ensure!(contact.starts_with("mailto:") && contact.contains('@'), "the contact is {contact}");
        Ok(())
    }

    /// RFC 8188, section 2, and RFC 8291, section 3.
    fn decrypt(&self, body: &[u8]) -> anyhow::Result<Vec<u8>> {
        ensure!(body.len() > 86 + 16, "{} bytes", body.len());
        let (salt, rest) = body.split_at(16);
        let (record_size, rest) = rest.split_at(4);
        let record_size = u32::from_be_bytes(record_size.try_into()?) as usize;
        ensure!(rest[0] == 65, "the key id has {} bytes", rest[0]);
        let (sender, record) = rest[1..].split_at(65);
        ensure!((18..=4096).contains(&record_size) && record.len() <= record_size, "records of {record_size} bytes");
        let receiver = self.private.compute_public_key().map_err(|_| anyhow::anyhow!("no public key"))?;
        let no_point = || anyhow::anyhow!("the key id is no point of P-256");
        let combined = agree(&self.private, UnparsedPublicKey::new(&ECDH_P256, sender), no_point(), |secret| {
            Ok(hmac(&self.auth, &[secret]))
        })?;
        let input = hmac(&combined, &[b"WebPush: info\0", receiver.as_ref(), sender, &[1]]);
        let key = hmac(salt, &[&input]);
        let content_key = hmac(&key, &[b"Content-Encoding: aes128gcm\0", &[1]]);
        let nonce = hmac(&key, &[b"Content-Encoding: nonce\0", &[1]]);
        let unopened = |_| anyhow::anyhow!("it does not decrypt");
        let content_key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &content_key[..16]).map_err(unopened)?);
        let nonce = Nonce::try_assume_unique_for_key(&nonce[..12]).map_err(unopened)?;
        let mut record = record.to_vec();
        let text = content_key.open_in_place(nonce, Aad::empty(), &mut record).map_err(unopened)?;
        // The last record ends with a 2 and zeros.
        let end = text.iter().rposition(|byte| *byte != 0).context("only padding")?;
        ensure!(text[end] == 2, "the last record ends with {}", text[end]);
        Ok(text[..end].to_vec())
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}
