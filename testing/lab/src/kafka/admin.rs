//! The two requests of the Kafka protocol that make and delete a topic. Kafka's own tool needs a JVM per topic, about a
//! second each; this works with every broker that speaks the protocol.
//!
//! Versions are the newest before the compact encodings: CreateTopics 4 and DeleteTopics 3
//! (<https://kafka.apache.org/protocol>).

use std::{
    io::{Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::http;

const TIMEOUT_MS: i32 = 10_000;
const TOPIC_ALREADY_EXISTS: i16 = 36;

pub(super) fn create_topic(port: u16, name: &str, partitions: i32, config: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut request = Request::new(19, 4);
    request.i32(1).string(name).i32(partitions).i16(1).i32(0).i32(config.len() as i32);
    for (key, value) in config {
        request.string(key).string(value);
    }
    request.i32(TIMEOUT_MS).i8(0);
    // A broker that just began to listen may not have registered with its controller yet.
    let started = Instant::now();
    loop {
        match request.send(port)? {
            0 | TOPIC_ALREADY_EXISTS => return Ok(()),
            code if started.elapsed() > Duration::from_secs(20) => {
                bail!("Kafka does not create topic {name}: error {code}")
            }
            _ => thread::sleep(Duration::from_millis(100)),
        }
    }
}

pub(super) fn delete_topic(port: u16, name: &str) -> anyhow::Result<()> {
    let mut request = Request::new(20, 3);
    request.i32(1).string(name).i32(TIMEOUT_MS);
    match request.send(port)? {
        0 => Ok(()),
        code => bail!("Kafka does not delete topic {name}: error {code}"),
    }
}

struct Request(Vec<u8>);

impl Request {
    fn new(api_key: i16, version: i16) -> Self {
        let mut request = Self(Vec::new());
        request.i16(api_key).i16(version).i32(1).string("xtask");
        request
    }

    fn i8(&mut self, value: i8) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i16(&mut self, value: i16) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i32(&mut self, value: i32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn string(&mut self, value: &str) -> &mut Self {
        self.i16(value.len() as i16);
        self.0.extend(value.as_bytes());
        self
    }

    /// The error code of the one topic in the answer.
    fn send(&self, port: u16) -> anyhow::Result<i16> {
        let mut stream = http::connect(port).context("Kafka does not answer")?;
        stream.set_read_timeout(Some(Duration::from_secs(15)))?;
        stream.write_all(&(self.0.len() as i32).to_be_bytes())?;
        stream.write_all(&self.0)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; i32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer)?;
        error_code(&answer).context("Kafka's answer makes no sense")
    }
}

/// Correlation id, throttle time and the number of topics (4 bytes each), then a name and its error code.
fn error_code(answer: &[u8]) -> Option<i16> {
    let name = i16::from_be_bytes(answer.get(12..14)?.try_into().ok()?) as usize;
    Some(i16::from_be_bytes(answer.get(14 + name..16 + name)?.try_into().ok()?))
}
