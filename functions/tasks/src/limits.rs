//! How much of this process one user, and all of them together, may take. What is over it is refused at once and has no effect:
//! 429 to the user who asks too much, 503 where the process has all it can take, each with `Retry-After`.
//!
//! - Of one user: a rate; so many requests at a time, the next ones in a queue of their own. Without the second, the clients that
//!   wait for one another at a single task would hold every connection to the database while they wait.
//! - Of all: so many in flight, since each takes memory, also where the database has stopped answering.
//!
//! Each process counts for itself: n processes let a user do n times as much. Nobody is counted who shows no valid token; the handler
//! refuses them without looking at anything.

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
    extract::{FromRequestParts as _, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use clap::Parser;
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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::Api;

/// How long a request waits for earlier ones of its user.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a user has not used of the rate is kept for so many seconds.
const KEPT: u32 = 5;
/// Users who have asked for nothing lately are forgotten each time so many requests were counted.
const FORGET_EVERY: usize = 1000;

/// What a process takes.
#[derive(Parser, Clone, Copy, Debug)]
#[command(about, long_about = None)]
pub struct LimitsConfig {
    /// Requests of one user a second; five seconds' worth at once.
    #[arg(long, env, default_value = "20")]
    pub user_requests_per_second: NonZeroU32,
    /// Requests of one user at a time. Leave most of `DATABASE_CONNECTIONS` to others.
    #[arg(long, env, default_value = "3")]
    pub user_requests_at_a_time: NonZeroU32,
    /// Requests of one user that wait for those before them.
    #[arg(long, env, default_value_t = 100)]
    pub user_requests_waiting: u32,
    /// Requests in flight, of all users.
    #[arg(long, env, default_value = "128")]
    pub requests_in_flight: NonZeroU32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self::parse_from(["limits"])
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
    queues: Mutex<HashMap<Uuid, Queue>>,
}

impl Limits {
    pub(crate) fn new(config: LimitsConfig) -> Self {
        let per_second = config.user_requests_per_second;
        let quota = Quota::per_second(per_second)
            .allow_burst(per_second.saturating_mul(NonZeroU32::MIN.saturating_add(KEPT - 1)));
        Self(Arc::new(Inner {
            config,
            rate: RateLimiter::new(quota, HashMapStateStore::default(), MonotonicClock),
            counted: AtomicUsize::new(0),
            in_flight: Arc::new(Semaphore::new(config.requests_in_flight.get() as usize)),
            queues: Mutex::default(),
        }))
    }

    /// Counts a request against its user's rate.
    fn count(&self, user: Uuid) -> Result<()> {
        if self.0.counted.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.0.rate.retain_recent();
        }
        self.0.rate.check_key(&user).map_err(|early| Problem::TooMany(early.wait_time_from(MonotonicClock.now())))
    }

    /// Waits for a user's turn, which ends when what this gives back is dropped.
    async fn turn(&self, user: Uuid) -> Result<Turn> {
        let LimitsConfig { user_requests_at_a_time: at_a_time, user_requests_waiting: waiting, .. } = self.0.config;
        let (mut turn, turns) = {
            let mut queues = self.queues();
            let queue = queues.entry(user).or_insert_with(|| Queue::new(at_a_time));
            if queue.present >= at_a_time.get() + waiting {
                return Err(Problem::TooMany(Duration::from_secs(1)));
            }
            queue.present += 1;
            (Turn { limits: self.clone(), user, permit: None }, Arc::clone(&queue.turns))
        };
        let permit = tokio::time::timeout(PATIENCE, turns.acquire_owned()).await;
        turn.permit = Some(permit.map_err(|_| Problem::TooMany(Duration::from_secs(1)))?.expect("it is never closed"));
        Ok(turn)
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Uuid, Queue>> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The requests of one user.
struct Queue {
    turns: Arc<Semaphore>,
    /// Those that have their turn and those that wait.
    present: u32,
}

impl Queue {
    fn new(at_a_time: NonZeroU32) -> Self {
        Self { turns: Arc::new(Semaphore::new(at_a_time.get() as usize)), present: 0 }
    }
}

/// A request that is in its user's queue.
struct Turn {
    limits: Limits,
    user: Uuid,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queues = self.limits.queues();
        if let Some(queue) = queues.get_mut(&self.user) {
            queue.present -= 1;
            // Only users who have a request here take memory.
            if queue.present == 0 {
                queues.remove(&self.user);
            }
        }
        self.permit.take();
    }
}

/// Before every route that a token opens.
pub(crate) async fn limit(State(api): State<Api>, request: Request, next: Next) -> Response {
    let limits = &api.limits;
    let Ok(_in_flight) = Arc::clone(&limits.0.in_flight).try_acquire_owned() else {
        return Problem::Overloaded.into_response();
    };
    let (mut parts, body) = request.into_parts();
    let user = User::from_request_parts(&mut parts, &api).await;
    let request = Request::from_parts(parts, body);
    let Ok(user) = user else { return next.run(request).await };
    let turn = match limits.count(user.id) {
        Ok(()) => limits.turn(user.id).await,
        Err(problem) => Err(problem),
    };
    match turn {
        Ok(_turn) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
