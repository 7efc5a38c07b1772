//! Clients that create tasks, until told to stop: by a rate, or as fast as so many can.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::user::{User, id};

/// What the clients do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) clients: usize,
    /// Each waits this long after an answer.
    pub(crate) pause: Duration,
    /// Tasks at most.
    pub(crate) tasks: usize,
    /// A client asks again until it is told 201, with the same Idempotency-Key; otherwise every answer has to be 201.
    pub(crate) stubborn: bool,
}

/// Running clients.
pub(crate) struct Load {
    name: String,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
    answers: Arc<Mutex<Answers>>,
}

/// What they were told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    pub(crate) tasks: Vec<Uuid>,
    /// Answers but 201, with how often each came.
    pub(crate) others: BTreeMap<String, usize>,
    pub(crate) slowest: Duration,
}

impl Load {
    /// Starts them, each a user of its own: one alone is told to ask for less.
    pub(crate) fn start(user: &User, plan: &Plan) -> Self {
        // No title is used twice, whatever ran before.
        let name = format!("{} {}", plan.name, &Uuid::now_v7().simple().to_string()[20..]);
        let stop = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicUsize::new(0));
        let answers = Arc::new(Mutex::new(Answers::default()));
        let clients = (0..plan.clients)
            .map(|_| {
                let (user, plan, name) = (user.another(), plan.clone(), name.clone());
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

    /// Whether some have not finished.
    pub(crate) fn is_going(&self) -> bool {
        self.clients.iter().any(|client| !client.is_finished())
    }

    /// Waits for all that `tasks` allows.
    pub(crate) async fn finish(self, db: &sqlx::PgPool) -> anyhow::Result<Answers> {
        for client in self.clients {
            client.await?;
        }
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let there: i64 = sqlx::query_scalar("select count(*) from tasks where starts_with(title, $1)")
            .bind(format!("{} ", self.name))
            .fetch_one(db)
            .await?;
        ensure!(there == answers.tasks.len() as i64, "{there} tasks where {} were acknowledged", answers.tasks.len());
        Ok(answers)
    }

    /// Ends it.
    pub(crate) async fn stop(self, db: &sqlx::PgPool) -> anyhow::Result<Answers> {
        self.stop.store(true, Ordering::Relaxed);
        self.finish(db).await
    }
}

async fn create(user: &User, title: &str, stubborn: bool, answers: &Mutex<Answers>) {
    let key = stubborn.then(|| Uuid::new_v4().to_string());
    let body = json!({ "title": title });
    loop {
        let began = Instant::now();
        let (status, answer) = user.call("tasks", Method::POST, "/v1/tasks", Some(&body), key.as_deref()).await;
        let done = {
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.slowest = answers.slowest.max(began.elapsed());
            if status == 201 {
                answers.tasks.extend(id(&answer));
            } else {
                *answers.others.entry(format!("{status} {answer}").chars().take(100).collect()).or_default() += 1;
            }
            status == 201
        };
        if done || !stubborn {
            return;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
