//! The stream of one client.

use std::{convert::Infallible, ops::Range, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use chrono::Utc;
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use shared::{auth::Session, problem::Result};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    Updates,
    feed::{self, Change},
    hub::{Hub, Place},
};

/// A client comes back after a random part of this, so that the streams of a process that ends do not arrive together at the next one.
const RETRY: Range<u64> = 1_000..5_000;

/// `GET /v1/updates`.
pub(crate) async fn open(State(updates): State<Updates>, session: Session, headers: HeaderMap) -> Result<Response> {
    let Updates { hub, stop, .. } = updates;
    let comment = KeepAlive::new().interval(hub.settings.comment);
    let ends_at = Instant::now() + life(&hub, &session);
    // First the place, then the position: whatever is committed after the position was read is told to the place.
    let place = hub.join(session.user.id)?;
    let last = feed::last(&hub.db, &session.user).await?;
    place.found(last);
    let retry = Event::default().retry(Duration::from_millis(fastrand::u64(RETRY)));
    let begin = match last_event_id(&headers) {
        None => vec![retry.event("ready").id(last.to_string()).data(json!({"seq": last}).to_string())],
        Some(seen) => {
            let missed = feed::between(&hub.db, session.user.id, seen, last).await?;
            let missed = missed.map_or_else(|| vec![reset(last)], |changes| changes.iter().map(changed).collect());
            std::iter::once(retry).chain(missed).collect()
        }
    };
    let later = Stream { place, stop, ends_at, seen: last };
    let events = stream::iter([begin]).chain(stream::unfold(later, Stream::next)).flat_map(stream::iter);
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(comment)).into_response())
}

/// How long the stream may be: until its token ends, at most.
fn life(hub: &Hub, session: &Session) -> Duration {
    let life = &hub.settings.life;
    let life = life.start + (life.end - life.start).mul_f64(fastrand::f64());
    (session.expires_at - Utc::now()).to_std().unwrap_or_default().min(life)
}

/// The number of the last change that the client has seen. What is no number is one that the feed never had.
fn last_event_id(headers: &HeaderMap) -> Option<i64> {
    let id = headers.get("last-event-id").filter(|id| !id.is_empty())?;
    let number = id.to_str().ok().and_then(|id| id.parse::<i64>().ok()).filter(|number| *number >= 0);
    Some(number.unwrap_or(i64::MAX))
}

fn changed(change: &Change) -> Event {
    let Change { seq, task_id, version } = change;
    Event::default()
        .event("changed")
        .id(seq.to_string())
        .data(json!({"task_id": task_id, "version": version}).to_string())
}

/// Tells the client to read everything, because changes are missing.
fn reset(last: i64) -> Event {
    Event::default().event("reset").id(last.to_string()).data(json!({"seq": last}).to_string())
}

/// What follows the beginning of a stream.
struct Stream {
    place: Place,
    stop: CancellationToken,
    ends_at: Instant,
    /// The number of the last change in the stream.
    seen: i64,
}

impl Stream {
    /// Waits for events. None at the end of the stream.
    async fn next(mut self) -> Option<(Vec<Event>, Self)> {
        let (stop, ends_at) = (self.stop.clone(), self.ends_at);
        let events = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = sleep_until(ends_at) => None,
            events = self.changes() => events,
        };
        Some((events?, self))
    }

    /// Waits for changes. None if the stream cannot go on: the client comes back, and gets what is missing or a reset.
    async fn changes(&mut self) -> Option<Vec<Event>> {
        loop {
            self.place.tail.changed().await.ok()?;
            let (last, recent) = {
                let tail = self.place.tail.borrow_and_update();
                (tail.seq, tail.after(self.seen).map(<[Change]>::to_vec))
            };
            let changes = match recent {
                Some(changes) => changes,
                // It lags behind what the process keeps, or the feed ends before what the client has seen.
                None => feed::between(&self.place.hub.db, self.place.user, self.seen, last).await.ok()??,
            };
            self.seen = last;
            if !changes.is_empty() {
                return Some(changes.iter().map(changed).collect());
            }
        }
    }
}
