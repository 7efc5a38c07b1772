//! The load: requests over HTTP at a steady rate, whatever the answers take.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, bail, ensure};

use lab::http;

/// Requests in flight at most. More would be needed only where an answer takes longer than this many intervals.
const WORKERS: usize = 16;

/// What was answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) sent: SystemTime,
    /// When its first line was there.
    pub(super) received: SystemTime,
    pub(super) status: u16,
    /// Whether it says when to come again.
    pub(super) has_retry_after: bool,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Posts JSON to a port of this machine, on a connection of its own; another answer than 2xx is an error.
pub(super) fn post(port: u16, path: &str, token: Option<&str>, body: &str) -> anyhow::Result<Answer> {
    let answer = send(port, "POST", path, token, body)?;
    ensure!(answer.is_success(), "POST {path} was answered {}: {}", answer.status, answer.body);
    Ok(answer)
}

/// Sends JSON to a port of this machine, on a connection of its own.
pub(super) fn send(port: u16, method: &str, path: &str, token: Option<&str>, body: &str) -> anyhow::Result<Answer> {
    let mut stream = http::connect(port)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n{authorization}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let sent = SystemTime::now();
    stream.write_all(request.as_bytes())?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let received = SystemTime::now();
    let mut rest = String::new();
    answer.read_to_string(&mut rest)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).context("not an HTTP answer")?;
    let (head, body) = rest.split_once("\r\n\r\n").unwrap_or((&rest, ""));
    let has_retry_after = head.lines().any(|line| line.to_ascii_lowercase().starts_with("retry-after: "));
    Ok(Answer { sent, received, status, has_retry_after, body: body.trim_end().to_owned() })
}

/// Sends `count` requests, one each `every`, and gives back their results in order. A slow answer delays no other request;
/// a rate that could not be kept is an error, because what was measured would be something else.
pub(super) fn steadily<T: Send>(
    count: usize,
    every: Duration,
    send: impl Fn(usize) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(done);
            }
            let slot = every * u32::try_from(index)?;
            thread::sleep(slot.saturating_sub(began.elapsed()));
            done.push((index, send(index)?));
        }
    };
    let results = in_order(work)?;
    let planned = every * u32::try_from(count)?;
    ensure!(
        began.elapsed() < planned.mul_f64(1.1) + Duration::from_secs(1),
        "{count} requests took {:.1} s and not {:.1} s: this machine does not keep that rate",
        began.elapsed().as_secs_f32(),
        planned.as_secs_f32()
    );
    Ok(results)
}

/// Sends `count` requests as fast as they are answered.
pub(super) fn at_will<T: Send>(
    count: usize,
    send: impl Fn(usize) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(done);
            }
            done.push((index, send(index)?));
        }
    };
    in_order(work)
}

/// The results of all workers, in the order of their requests.
fn in_order<T: Send>(work: impl Fn() -> anyhow::Result<Vec<(usize, T)>> + Sync) -> anyhow::Result<Vec<T>> {
    let results: Vec<anyhow::Result<Vec<(usize, T)>>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(&work)).collect();
        let join =
            |worker: thread::ScopedJoinHandle<'_, _>| worker.join().unwrap_or_else(|_| bail!("a sender panicked"));
        workers.into_iter().map(join).collect()
    });
    let mut all: Vec<(usize, T)> =
        results.into_iter().collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect();
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_delays_no_other_request() {
        let began = Instant::now();
        let sent = steadily(20, Duration::from_millis(10), |index| {
            let at = began.elapsed();
            thread::sleep(Duration::from_millis(if index == 0 { 150 } else { 0 }));
            Ok((index, at))
        });
        let sent = sent.unwrap();
        assert_eq!(sent.iter().map(|(index, _)| *index).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        assert!(sent.iter().all(|(index, at)| *at >= Duration::from_millis(10) * *index as u32));
        assert!(sent[5].1 < Duration::from_millis(150), "request 5 waited for request 0: {:?}", sent[5].1);
    }

    #[test]
    fn a_rate_that_was_not_kept_is_an_error() {
        let slow = |_| {
            thread::sleep(Duration::from_millis(100));
            Ok(())
        };
        let error = steadily(16 * 15, Duration::from_micros(100), slow).unwrap_err().to_string();
        assert!(error.contains("does not keep that rate"), "{error}");
    }
}
