//! The smallest application daprd can have: it notes when each call arrived and answers 200.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::bail;
use serde_json::Value;

/// When each job (by its name) and each event (by its data, a string) arrived; again and again, if it did.
type Arrivals = BTreeMap<String, Vec<SystemTime>>;

/// It listens until this process ends.
#[derive(Clone, Debug)]
pub(super) struct Listening {
    pub(super) port: u16,
    arrivals: Arc<Mutex<Arrivals>>,
}

impl Listening {
    pub(super) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let listening = Self { port: listener.local_addr()?.port(), arrivals: Arc::default() };
        let application = listening.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let application = application.clone();
                // daprd closes a connection it no longer wants; that ends the thread, and is no error.
                thread::spawn(move || application.serve(connection));
            }
        });
        Ok(listening)
    }

    /// Waits until everything in `expected` has arrived and gives back when each did for the first time.
    pub(super) fn wait_for(&self, expected: &[String], limit: Duration) -> anyhow::Result<Vec<SystemTime>> {
        let began = Instant::now();
        loop {
            let first: Vec<SystemTime> = {
                let arrivals = self.arrivals();
                expected.iter().filter_map(|name| arrivals.get(name)?.first().copied()).collect()
            };
            if first.len() == expected.len() {
                return Ok(first);
            }
            if began.elapsed() > limit {
                bail!("bare Dapr delivered {} of {} within {} s", first.len(), expected.len(), limit.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn serve(&self, connection: TcpStream) -> io::Result<()> {
        connection.set_nodelay(true)?;
        let mut answer = connection.try_clone()?;
        let mut requests = BufReader::new(connection);
        while let Some(request) = read_request(&mut requests)? {
            if let Some(name) = name(&request.path, &request.body) {
                self.arrivals().entry(name).or_default().push(request.at);
            }
            answer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
            if request.is_last {
                break;
            }
        }
        Ok(())
    }

    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(path: &str, body: &[u8]) -> Option<String> {
    if let Some(job) = path.strip_prefix("/job/") {
        return Some(job.to_owned());
    }
    let event: Value = serde_json::from_slice(body).ok()?;
    event["data"].as_str().map(str::to_owned)
}

#[derive(Debug)]
struct Request {
    path: String,
    /// When its headers had been read.
    at: SystemTime,
    body: Vec<u8>,
    /// Whether the client wants the connection closed.
    is_last: bool,
}

/// The next request; `None` at the end of the connection.
fn read_request(requests: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if requests.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut length, mut chunked, mut is_last) = (0, false, false);
    loop {
        line.clear();
        requests.read_line(&mut line)?;
        let Some((header, value)) = line.trim_end().split_once(':') else { break };
        match header.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().map_err(io::Error::other)?,
            "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
            "connection" => is_last = value.trim().eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let at = SystemTime::now();
    let mut body = Vec::new();
    if !chunked {
        requests.take(length).read_to_end(&mut body)?;
        return Ok(Some(Request { path, at, body, is_last }));
    }
    loop {
        line.clear();
        requests.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        requests.by_ref().take(size).read_to_end(&mut body)?;
        line.clear();
        requests.read_line(&mut line)?; // what ends the chunk
        if size == 0 {
            return Ok(Some(Request { path, at, body, is_last }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client;

    #[test]
    fn a_job_is_known_by_its_name_and_an_event_by_its_data() {
        let application = Listening::start().unwrap();
        client::post(application.port, "/job/one", None, "{}").unwrap();
        client::post(application.port, "/flow", None, r#"{"id": "x", "data": "two"}"#).unwrap();
        client::post(application.port, "/flow", None, "[").unwrap();
        let expected = ["one".to_owned(), "two".to_owned()];
        let arrived = application.wait_for(&expected, Duration::from_secs(5)).unwrap();
        assert!(arrived[0] <= arrived[1]);
        assert!(application.wait_for(&["three".to_owned()], Duration::ZERO).is_err());
    }

    #[test]
    fn the_request_behind_a_chunked_body_is_read_too() {
        let mut connection = io::Cursor::new(
            b"POST /flow HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n\
              POST /job/next HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}",
        );
        let request = read_request(&mut connection).unwrap().unwrap();
        assert_eq!((request.path.as_str(), request.body.as_slice()), ("/flow", b"abc0123456789".as_slice()));
        let request = read_request(&mut connection).unwrap().unwrap();
        assert_eq!((request.path.as_str(), request.body.as_slice()), ("/job/next", b"{}".as_slice()));
        assert!(read_request(&mut connection).unwrap().is_none());
    }
}
