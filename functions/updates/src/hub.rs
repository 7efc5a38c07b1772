//! The users who listen at this process: their streams, and where their feeds end.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, MonotonicClock},
    middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};
use shared::{
    db::Db,
    problem::{Problem, Result},
};
use sqlx::postgres::PgConnectOptions;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use uuid::Uuid;

use crate::{
    Settings,
    feed::{self, Tail},
    listener,
};

/// When a user with the maximum number of streams may try again. One of them ends by itself within minutes.
const FULL: Duration = Duration::from_secs(59);

/// The users who listen. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) db: Db,
    /// How the listener connects.
    pub(crate) listen: PgConnectOptions,
    pub(crate) settings: Settings,
    opened: RateLimiter<Uuid, HashMapStateStore<Uuid>, MonotonicClock, NoOpMiddleware<Instant>>,
    state: Mutex<State>,
    /// Wakes the listener for [`State::stale`].
    marked: Notify,
}

#[derive(Default)]
struct State {
    users: HashMap<Uuid, Listening>,
    streams: usize,
    /// The users whose feed may have moved since it was read.
    stale: HashSet<Uuid>,
    /// Runs while there are streams.
    listener: Option<JoinHandle<()>>,
}

/// A user with at least one stream.
struct Listening {
    tail: watch::Sender<Tail>,
    streams: usize,
}

/// The place of a stream. Dropping it frees the place.
pub(crate) struct Place {
    pub(crate) user: Uuid,
    pub(crate) tail: watch::Receiver<Tail>,
    pub(crate) hub: Hub,
}

impl std::ops::Deref for Hub {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Hub {
    pub(crate) fn new(db: Db, listen: PgConnectOptions, settings: Settings) -> Self {
        let quota = Quota::per_second(NonZeroU32::MIN).allow_burst(settings.burst);
        let opened = RateLimiter::new(quota, HashMapStateStore::default(), MonotonicClock);
        Self(Arc::new(Inner { db, listen, settings, opened, state: Mutex::default(), marked: Notify::new() }))
    }

    /// Takes a place for a stream of the user, or refuses. The first stream of the process starts the listener.
    pub(crate) fn join(&self, user: Uuid) -> Result<Place> {
        self.opened.check_key(&user).map_err(|early| Problem::TooMany(early.wait_time_from(MonotonicClock.now())))?;
        let mut state = self.state();
        if state.streams >= self.settings.streams {
            return Err(Problem::Overloaded);
        }
        let listening = state
            .users
            .entry(user)
            .or_insert_with(|| Listening { tail: watch::Sender::new(Tail::default()), streams: 0 });
        if listening.streams >= self.settings.user_streams {
            return Err(Problem::TooMany(FULL));
        }
        listening.streams += 1;
        let tail = listening.tail.subscribe();
        state.streams += 1;
        if state.listener.as_ref().is_none_or(JoinHandle::is_finished) {
            state.listener = Some(tokio::spawn(listener::run(self.clone())));
        }
        Ok(Place { user, tail, hub: self.clone() })
    }

    /// Says that the feeds of those users may have moved.
    pub(crate) fn mark(&self, users: impl Iterator<Item = Uuid>) {
        let mut state = self.state();
        let State { users: listening, stale, .. } = &mut *state;
        stale.extend(users.filter(|user| listening.contains_key(user)));
        if !stale.is_empty() {
            self.marked.notify_one();
        }
    }

    /// Says that every feed may have moved.
    pub(crate) fn mark_all(&self) {
        self.opened.retain_recent();
        let mut state = self.state();
        let State { users: listening, stale, .. } = &mut *state;
        stale.extend(listening.keys());
        self.marked.notify_one();
    }

    /// Waits until a feed is marked.
    pub(crate) async fn marked(&self) {
        self.marked.notified().await;
    }

    /// Reads how the feeds that are marked have moved, and tells their streams.
    pub(crate) async fn refresh(&self) -> sqlx::Result<()> {
        let known: HashMap<Uuid, i64> = {
            let State { users, stale, .. } = &mut *self.state();
            let known = |user| Some((user, users.get(&user)?.tail.borrow().seq));
            stale.drain().filter_map(known).collect()
        };
        let moved = feed::moved(&self.db, &known).await?;
        let state = self.state();
        for (user, tail) in moved {
            if let Some(listening) = state.users.get(&user) {
                listening.advance(tail, known[&user]);
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listening {
    /// Tells the streams of the feed's new end. A read that began at `known` and found less found that the database was restored, or that the user
    /// was erased. One that found less than another one meanwhile is only late.
    fn advance(&self, tail: Tail, known: i64) {
        self.tail.send_if_modified(|current| {
            let is_news = tail.seq > current.seq || tail.seq < known;
            if is_news {
                *current = tail;
            }
            is_news
        });
    }
}

impl Place {
    /// Says where the stream has found the end of the feed.
    pub(crate) fn found(&self, seq: i64) {
        if let Some(listening) = self.hub.state().users.get(&self.user) {
            listening.advance(Tail { seq, ..Tail::default() }, 0);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        let State { users, streams, stale, listener } = &mut *state;
        *streams -= 1;
        if let Some(listening) = users.get_mut(&self.user) {
            listening.streams -= 1;
            if listening.streams == 0 {
                users.remove(&self.user);
                stale.remove(&self.user);
            }
        }
        if let Some(listener) = listener.take_if(|_| *streams == 0) {
            listener.abort();
        }
    }
}
