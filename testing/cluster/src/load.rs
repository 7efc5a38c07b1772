//! Concurrent clients that create tasks, at a rate or as fast as possible.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use lab::api::{Answer, Api, Method, User, id};
use serde_json::json;
use tokio::{task::JoinHandle, time::timeout};
use uuid::Uuid;

/// Limit for the answers that a load still waits for. A stubborn client would repeat a request forever.
const LIMIT: Duration = Duration::from_secs(240);

/// How the clients behave.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) clients: usize,
    /// The pause of a client after each answer.
    pub(crate) pause: Duration,
    /// The maximum number of tasks.
    pub(crate) tasks: usize,
    /// Whether a client retries with the same `Idempotency-Key` until the answer is 201.
    pub(crate) stubborn: bool,
}

/// Running clients.
pub(crate) struct Load {
    name: String,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
    answers: Arc<Mutex<Answers>>,
}

/// The answers to all clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    pub(crate) tasks: Vec<Uuid>,
    /// Answers other than 201, with their number.
    pub(crate) others: BTreeMap<String, usize>,
    /// The longest time that a client waited for its answer, retries included.
    pub(crate) slowest: Duration,
}

impl Load {
    /// Starts the clients, each as a user of its own, so that no one reaches the per-user limit.
    pub(crate) fn start(api: &Api, plan: &Plan) -> Self {
        // Titles are unique across loads.
        let name = format!("{} {}", plan.name, &Uuid::now_v7().simple().to_string()[20..]);
        let stop = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicUsize::new(0));
        let answers = Arc::new(Mutex::new(Answers::default()));
        let clients = (0..plan.clients)
            .map(|_| {
                let (user, plan, name) = (api.user(), plan.clone(), name.clone());
                let (stop, next, answers) = (stop.clone(), next.clone(), answers.clone());
                tokio::spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= plan.tasks || stop.load(Ordering::Relaxed) {
                            break;
                        }
                        create(&user, &format!("{name} {number}"), plan.stubborn, &answers).await;
                        tokio::time::sleep(plan.pause).await;
                    }
                })
            })
            .collect();
        Self { name, stop, clients, answers }
    }

    /// Whether some clients are still running.
    pub(crate) fn is_running(&self) -> bool {
        self.clients.iter().any(|client| !client.is_finished())
    }

    /// Waits until the clients have created all tasks.
    pub(crate) async fn finish(self, db: &sqlx::PgPool) -> anyhow::Result<Answers> {
        let clients = async {
            for client in self.clients {
                client.await?;
            }
            anyhow::Ok(())
        };
        let ended = timeout(LIMIT, clients).await;
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ended
            .with_context(|| format!("not every request was answered 201 within {LIMIT:?}: {:?}", answers.others))??;
        let created: i64 = sqlx::query_scalar("select count(*) from tasks where starts_with(title, $1)")
            .bind(format!("{} ", self.name))
            .fetch_one(db)
            .await?;
        ensure!(
            created == answers.tasks.len() as i64,
            "{created} tasks exist, but {} were acknowledged",
            answers.tasks.len()
        );
        Ok(answers)
    }

    /// Stops the clients.
    pub(crate) async fn stop(self, db: &sqlx::PgPool) -> anyhow::Result<Answers> {
        self.stop.store(true, Ordering::Relaxed);
        self.finish(db).await
    }
}

async fn create(user: &User, title: &str, stubborn: bool, answers: &Mutex<Answers>) {
    let key = stubborn.then(|| Uuid::new_v4().to_string());
    let body = json!({ "title": title });
    let began = Instant::now();
    loop {
        let mut request = user.request(Method::POST, "/v1/tasks").json(&body);
        if let Some(key) = &key {
            request = request.header("idempotency-key", key);
        }
        let answer = Answer::to(request).await;
        let done = {
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.slowest = answers.slowest.max(began.elapsed());
            let other = match answer {
                Ok(answer) if answer.status == 201 => {
                    answers.tasks.push(id(&answer.body["id"]));
                    None
                }
                Ok(answer) => Some(format!("{} {}", answer.status, answer.body)),
                Err(error) => Some(error.to_string()),
            };
            if let Some(other) = &other {
                *answers.others.entry(other.chars().take(100).collect()).or_default() += 1;
            }
            other.is_none()
        };
        if done || !stubborn {
            return;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
