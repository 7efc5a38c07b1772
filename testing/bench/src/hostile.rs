//! Hostile users, each within the limits of one user. At the same time each sends bodies of many unknown fields and endless bodies, bodies and
//! heads that trickle, long texts to store and to list, and reads answers late or never.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use lab::api::{self, Method, User};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// The largest body that is received.
const LARGEST: usize = 256 << 10;
/// The longest description. In JSON each of its characters takes six bytes.
const DESCRIPTION: usize = 10_000;
/// Tasks of a user, which fill several pages.
const TASKS: usize = 60;
/// A connection without an answer is given up after this, which is longer than the product waits.
const PATIENCE: Duration = Duration::from_secs(45);
/// The pause between two requests of a client. With it a user sends about as many as one user may.
const PAUSE: Duration = Duration::from_millis(800);
/// The pause between two tasks that are stored before the measurement: about as many as one user may.
const SETUP: Duration = Duration::from_millis(100);
/// The pause between two bytes of what trickles.
const TRICKLE: Duration = Duration::from_millis(500);

/// The behaviour of a client on each of its connections.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Sends a body of as many unknown fields as fit.
    Fields,
    /// The same in the recurrence of a recurring task.
    FieldsInside,
    /// Sends a chunked body without an end.
    Endless,
    /// Stores another long description.
    Patch,
    /// Lists long descriptions.
    List,
    /// Lists them and reads nothing.
    Unread,
    /// Sends a body byte by byte.
    SlowBody,
    /// Sends a head line by line.
    SlowHead,
}

/// The clients of a user.
const CLIENTS: [(Kind, usize); 8] = [
    (Kind::Fields, 3),
    (Kind::FieldsInside, 2),
    (Kind::Endless, 1),
    (Kind::Patch, 2),
    (Kind::List, 2),
    (Kind::Unread, 4),
    (Kind::SlowBody, 6),
    (Kind::SlowHead, 100),
];

/// The answers to hostile requests by status; 0 is a connection that was closed without one.
pub(super) type Answers = BTreeMap<u16, usize>;

/// The switches of the hostile users.
#[derive(Debug, Default)]
pub(super) struct Switch {
    /// Whether they act.
    pub(super) on: AtomicBool,
    /// Whether they are to return.
    pub(super) ended: AtomicBool,
}

impl Switch {
    fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }
}

/// A hostile user, with the requests that it sends.
#[derive(Debug)]
pub(super) struct Hostile {
    address: String,
    token: String,
    /// The path of a recurring task.
    task: String,
    fields: String,
    fields_inside: String,
    patch: String,
}

impl Hostile {
    /// Stores the tasks of a new user.
    pub(super) async fn new(user: &User, address: &str) -> anyhow::Result<Arc<Self>> {
        let description = "\u{1}".repeat(DESCRIPTION);
        let mut task = json!({"title": "bench hostile", "description": description});
        for _ in 1..TASKS {
            user.command(Method::POST, "/v1/tasks", Some(&task)).await?;
            sleep(SETUP).await;
        }
        task["due_at"] = json!("2100-01-01T00:00:00Z");
        task["recurrence"] = json!({"type": "daily"});
        let recurring = user.command(Method::POST, "/v1/tasks", Some(&task)).await?;
        Ok(Arc::new(Self {
            address: address.to_owned(),
            token: user.token.clone(),
            task: format!("/v1/tasks/{}", api::id(&recurring.body["id"])),
            fields: fields(LARGEST),
            fields_inside: format!("{{\"recurrence\":{}}}", fields(LARGEST - 20)),
            patch: json!({"description": "\u{2}".repeat(DESCRIPTION)}).to_string(),
        }))
    }

    /// Acts while the switch is on, and returns the answers when it has ended.
    pub(super) async fn act(self: Arc<Self>, switch: Arc<Switch>) -> anyhow::Result<Answers> {
        let mut clients = JoinSet::new();
        for (kind, count) in CLIENTS {
            for _ in 0..count {
                let (hostile, switch) = (Arc::clone(&self), Arc::clone(&switch));
                clients.spawn(async move { hostile.client(kind, &switch).await });
            }
        }
        let mut all = Answers::new();
        while let Some(answers) = clients.join_next().await {
            for (status, count) in answers? {
                *all.entry(status).or_default() += count;
            }
        }
        Ok(all)
    }

    async fn client(&self, kind: Kind, switch: &Switch) -> Answers {
        let mut answers = Answers::new();
        while !switch.ended.load(Ordering::Relaxed) {
            if switch.is_on() {
                // A connection that is refused or broken is an answer too.
                if let Some(status) = self.connection(kind, switch).await.unwrap_or(Some(0)) {
                    *answers.entry(status).or_default() += 1;
                }
            }
            sleep(PAUSE).await;
        }
        answers
    }

    /// Makes one request on a connection of its own. Returns the status of the answer; `None` if the switch was turned off before.
    async fn connection(&self, kind: Kind, switch: &Switch) -> anyhow::Result<Option<u16>> {
        let mut stream = TcpStream::connect(&self.address).await?;
        match kind {
            Kind::Fields => self.send(&mut stream, "POST /v1/tasks", &self.fields).await?,
            Kind::FieldsInside => self.send(&mut stream, &format!("PATCH {}", self.task), &self.fields_inside).await?,
            Kind::Patch => self.send(&mut stream, &format!("PATCH {}", self.task), &self.patch).await?,
            Kind::List | Kind::Unread => {
                stream.write_all(self.head("GET /v1/tasks?limit=100", "\r\n").as_bytes()).await?;
            }
            Kind::Endless => {
                let head = self.head("POST /v1/tasks", "transfer-encoding: chunked\r\n\r\n");
                let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
                // Until the product closes the connection, or for a body that is larger than any process may be.
                let mut sent = stream.write_all(head.as_bytes()).await;
                for _ in 0..4096 {
                    if sent.is_err() || !switch.is_on() {
                        break;
                    }
                    sent = stream.write_all(chunk.as_bytes()).await;
                }
            }
            Kind::SlowBody => {
                let head = self.head("POST /v1/tasks", "content-length: 1000\r\n\r\n{");
                trickle(&mut stream, &head, " ", switch).await;
            }
            Kind::SlowHead => trickle(&mut stream, "GET /v1/tasks HTTP/1.1\r\nhost: x\r\n", "x: y\r\n", switch).await,
        }
        if let Kind::Unread = kind {
            let until = Instant::now() + PATIENCE;
            while switch.is_on() && Instant::now() < until {
                sleep(PAUSE).await;
            }
        }
        if !switch.is_on() {
            return Ok(None);
        }
        let mut answer = Vec::new();
        // A connection that is reset has often answered first.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.context("no answer")?;
        let status = answer.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        Ok(Some(status.unwrap_or_default()))
    }

    async fn send(&self, stream: &mut TcpStream, line: &str, body: &str) -> std::io::Result<()> {
        let head = self.head(line, &format!("content-length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).await?;
        // A refused body is answered before it is sent.
        let _ = stream.write_all(body.as_bytes()).await;
        Ok(())
    }

    fn head(&self, line: &str, end: &str) -> String {
        format!(
            "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n{end}",
            self.token
        )
    }
}

/// Sends `first`, and then `next` again and again until the connection is closed.
async fn trickle(stream: &mut TcpStream, first: &str, next: &str, switch: &Switch) {
    let mut sent = stream.write_all(first.as_bytes()).await;
    while sent.is_ok() && switch.is_on() {
        sleep(TRICKLE).await;
        sent = stream.write_all(next.as_bytes()).await;
    }
}

/// An object of short unknown fields, of almost `size` bytes.
fn fields(size: usize) -> String {
    let mut object = String::with_capacity(size);
    for number in 0.. {
        let before = object.len();
        let _ = write!(object, "{}\"{number:x}\":1", if number == 0 { '{' } else { ',' });
        if object.len() >= size {
            object.truncate(before);
            break;
        }
    }
    object.push('}');
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_many_fields_fills_its_size() {
        let object = fields(LARGEST);
        assert!((LARGEST - 20..=LARGEST).contains(&object.len()), "{}", object.len());
        let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&object).unwrap();
        assert!(parsed.len() > 20_000, "{}", parsed.len());
    }
}
