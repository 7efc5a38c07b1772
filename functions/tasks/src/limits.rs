//! Limits for one user, and for all users of this process together. A request over a limit is refused at once and has no effect: 429
//! for a limit of the user, 503 for one of the process, each with `Retry-After`.
//!
//! - Per user: a request rate, a number of places in the process, and a smaller number of turns at the database. Without turns, clients
//!   that wait for each other at one task would hold every database connection while they wait. Without places, one user's slow and
//!   waiting requests would use up the whole process.
//! - Of the turns of a user, one at a time is a scan: a read that looks at all tasks of the user. It occupies a processor of the database.
//! - A user has one export at a time. It has a place, and no turn while it is sent.
//! - Per process: a number of requests in flight, because each takes memory, even while the database does not answer.
//!
//! A request takes a place, sends its body, waits for a turn and is handled. A body that arrives slowly holds no turn, and
//! neither does an answer that is read slowly; both hold a place.
//!
//! Each process counts for itself, so n processes allow a user n times as much. A request without a valid token is not counted; the
//! handler refuses it before it reads anything else. A request with a capability is counted once its body has proved whose it is.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    extract::{FromRequestParts as _, MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use clap::Args;
use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, MonotonicClock},
    middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};
use shared::{
    auth::User,
    problem::{Problem, Result},
};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use uuid::Uuid;

use crate::{Api, Quotas, actions, body, unread};

/// How long a request waits for a turn of its user. A scan waits as long for the one before.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest burst of a user, in seconds of the rate.
const BURST_SECONDS: u32 = 5;
/// Idle users are removed from the rate limiter each time this many requests were counted.
const REMOVE_IDLE_EVERY: usize = 1000;

/// Limits of a process, and of what a user may have.
#[derive(Args, Clone, Copy, Debug)]
#[group(skip)]
pub struct LimitsConfig {
    /// Maximum requests per second and user. A burst may be five times as large
    #[arg(long, env, default_value = "10")]
    pub user_requests_per_second: NonZeroU32,
    /// Maximum concurrent requests per user. Keep it far below `DATABASE_CONNECTIONS`, which all users share
    #[arg(long, env, default_value = "3")]
    pub user_requests_at_a_time: NonZeroU32,
    /// Maximum requests per user that wait or send their body, beyond the concurrent ones. Together they are at most a quarter of
    /// `REQUESTS_IN_FLIGHT`
    #[arg(long, env, default_value_t = 5)]
    pub user_requests_waiting: u32,
    /// Maximum requests in flight, of all users
    #[arg(long, env, default_value = "128")]
    pub requests_in_flight: NonZeroU32,
    /// The quotas of a user.
    #[command(flatten)]
    pub quotas: Quotas,
}

impl LimitsConfig {
    /// The places of a user. They leave most places of the process to others, whatever is configured for the queue.
    fn places(&self) -> u32 {
        let at_a_time = self.user_requests_at_a_time.get();
        let share = self.requests_in_flight.get() / 4;
        at_a_time.saturating_add(self.user_requests_waiting).min(share.max(at_a_time))
    }
}

type Rate = RateLimiter<Uuid, HashMapStateStore<Uuid>, MonotonicClock, NoOpMiddleware<Instant>>;

/// Counts requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Limits(Arc<Inner>);

struct Inner {
    config: LimitsConfig,
    rate: Rate,
    counted: AtomicUsize,
    in_flight: Arc<Semaphore>,
    /// The requests that send a body before anybody knows whose it is.
    without_token: Semaphore,
    queues: Mutex<HashMap<Uuid, Queue>>,
}

impl Limits {
    pub(crate) fn new(config: LimitsConfig) -> Self {
        let per_second = config.user_requests_per_second;
        let quota = Quota::per_second(per_second)
            .allow_burst(per_second.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_SECONDS - 1)));
        Self(Arc::new(Inner {
            config,
            rate: RateLimiter::new(quota, HashMapStateStore::default(), MonotonicClock),
            counted: AtomicUsize::new(0),
            in_flight: Arc::new(Semaphore::new(config.requests_in_flight.get() as usize)),
            without_token: Semaphore::new(config.requests_in_flight.get().div_ceil(8) as usize),
            queues: Mutex::default(),
        }))
    }

    /// Counts a request against its user's rate.
    pub(crate) fn count(&self, user: Uuid) -> Result<()> {
        if self.0.counted.fetch_add(1, Ordering::Relaxed) % REMOVE_IDLE_EVERY == REMOVE_IDLE_EVERY - 1 {
            self.0.rate.retain_recent();
        }
        self.0.rate.check_key(&user).map_err(|early| Problem::TooMany(early.wait_time_from(MonotonicClock.now())))
    }

    /// Takes one of the user's places, or refuses. Dropping it frees the place.
    pub(crate) fn place(&self, user: Uuid) -> Result<Place> {
        let mut queues = self.queues();
        let queue = self.queue(&mut queues, user);
        if queue.present >= self.0.config.places() {
            return Err(Problem::TooMany(Duration::from_secs(1)));
        }
        queue.present += 1;
        Ok(Place { limits: self.clone(), user, turns: Arc::clone(&queue.turns) })
    }

    /// Waits until the user has no other scan in this process. Dropping the permit lets the next one begin.
    pub(crate) async fn scan(&self, user: Uuid) -> Result<OwnedSemaphorePermit> {
        let scans = Arc::clone(&self.queue(&mut self.queues(), user).scans);
        wait(scans.acquire_owned()).await
    }

    /// Lets the user begin an export, or refuses because another goes on in this process. Dropping the permit lets the next one begin.
    pub(crate) fn export(&self, user: Uuid) -> Result<OwnedSemaphorePermit> {
        let exports = Arc::clone(&self.queue(&mut self.queues(), user).exports);
        exports.try_acquire_owned().map_err(|_| Problem::TooMany(Duration::from_secs(5)))
    }

    /// Receives the body of a request that has no token. Anybody may send one, so few at a time may, and the others are refused.
    pub(crate) async fn receive_without_token(&self, request: Request) -> Result<Request> {
        let _place = self.0.without_token.try_acquire().map_err(|_| Problem::Overloaded)?;
        body::receive(request).await
    }

    fn queue<'a>(&self, queues: &'a mut HashMap<Uuid, Queue>, user: Uuid) -> &'a mut Queue {
        queues.entry(user).or_insert_with(|| Queue::new(self.0.config.user_requests_at_a_time))
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Uuid, Queue>> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The requests of one user.
struct Queue {
    turns: Arc<Semaphore>,
    scans: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    /// The requests that have a place.
    present: u32,
}

impl Queue {
    fn new(at_a_time: NonZeroU32) -> Self {
        let turns = Arc::new(Semaphore::new(at_a_time.get() as usize));
        Self { turns, scans: Arc::new(Semaphore::new(1)), exports: Arc::new(Semaphore::new(1)), present: 0 }
    }
}

/// The place of a request among those of its user.
pub(crate) struct Place {
    limits: Limits,
    user: Uuid,
    turns: Arc<Semaphore>,
}

impl Place {
    /// Waits for one of the user's turns.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        wait(self.turns.acquire()).await
    }
}

/// Waits for a permit, or refuses the request.
async fn wait<Permit>(permit: impl Future<Output = Result<Permit, AcquireError>>) -> Result<Permit> {
    let permit = tokio::time::timeout(QUEUE_TIMEOUT, permit).await;
    let permit = permit.map_err(|_| Problem::TooMany(Duration::from_secs(1)))?;
    Ok(permit.expect("the semaphore is never closed"))
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.limits.queues();
        if let Some(queue) = queues.get_mut(&self.user) {
            queue.present -= 1;
            // Only users with a request in this process take memory.
            if queue.present == 0 {
                queues.remove(&self.user);
            }
        }
    }
}

/// Middleware of every operation.
pub(crate) async fn limit(State(api): State<Api>, request: Request, next: Next) -> Response {
    let limits = &api.limits;
    let Ok(in_flight) = Arc::clone(&limits.0.in_flight).try_acquire_owned() else {
        return Problem::Overloaded.into_response();
    };
    if request.extensions().get::<MatchedPath>().is_some_and(|path| path.as_str() == actions::PATH) {
        // It has a capability in its body, and counts for the user of that.
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let user = User::from_request_parts(&mut parts, &api).await;
    let request = Request::from_parts(parts, body);
    match user {
        Ok(user) => limited(limits, user.id, in_flight, request, next).await.unwrap_or_else(Problem::into_response),
        Err(_) => next.run(request).await,
    }
}

/// Handles a request of a user within the user's limits.
async fn limited(
    limits: &Limits,
    user: Uuid,
    in_flight: OwnedSemaphorePermit,
    request: Request,
    next: Next,
) -> Result<Response> {
    limits.count(user)?;
    let place = limits.place(user)?;
    let request = body::receive(request).await?;
    let turn = place.turn().await?;
    let response = next.run(request).await;
    drop(turn);
    Ok(unread::keep((in_flight, place), response).await)
}
