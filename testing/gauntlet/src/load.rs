//! The users' load, determined by the seed. They create, change, complete, reopen, delete and restore tasks, and set and move
//! reminders. Some requests race with their own duplicate, some are invalid, and some ask for another user's task.
//!
//! One client works on a task, sequentially, so the answers determine the expected state. Only the hot user's changes of titles race, which
//! touch no reminder.

mod hot;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use lab::api::{Method, text};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    clock,
    history::{Command, History, Kind, Shown},
    user::Users,
};

pub(crate) use hot::HOT;

/// The number of tasks a user works on at a time.
const HELD: usize = 12;

/// State that all workers share.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) users: Users,
    pub(crate) history: Arc<History>,
    /// The owner of each task.
    tasks: Mutex<Vec<(usize, Uuid)>>,
}

#[derive(Clone, Debug)]
struct Held {
    id: Uuid,
    marker: String,
    due: bool,
    completed: bool,
    /// The last version that an answer showed.
    version: i64,
    reminders: Vec<Shown>,
}

/// One user's client.
struct Worker {
    load: Arc<Load>,
    user: usize,
    rng: Rng,
    made: u32,
    held: Vec<Held>,
}

impl Load {
    pub(crate) fn new(users: Users, history: Arc<History>) -> Arc<Self> {
        Arc::new(Self { users, history, tasks: Mutex::default() })
    }

    /// Works as one user until a deadline.
    pub(crate) async fn work(self: Arc<Self>, user: usize, seed: u64, until: Instant) {
        if user == HOT {
            return self.work_hot(seed, until).await;
        }
        let mut worker = Worker::new(self, user, seed, 0);
        while Instant::now() < until {
            worker.act().await;
            let pause = worker.rng.u64(200..1_000);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

impl Worker {
    /// `made` is the number of tasks that other workers of the user may have made: their titles differ by a number.
    fn new(load: Arc<Load>, user: usize, seed: u64, made: u32) -> Self {
        let rng = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(user as u64));
        Self { load, user, rng, made, held: Vec::new() }
    }

    async fn act(&mut self) {
        let choice = self.rng.u32(..100);
        if self.held.is_empty() {
            return self.create().await;
        }
        let at = self.rng.usize(..self.held.len());
        match choice {
            0..34 => self.create().await,
            34..44 => self.change(at, "title").await,
            44..52 => self.change(at, "due").await,
            52..64 => self.snooze(at).await,
            64..69 => self.add_reminder(at).await,
            69..72 => self.cancel_reminder(at).await,
            72..74 => self.cancel_and_add_again(at).await,
            74..80 => self.complete(at).await,
            80..84 => self.reopen(at).await,
            84..89 => self.delete(at).await,
            89..91 => self.undo(at).await,
            91..93 => self.refused(at).await,
            93..94 => self.replace_reminders(at).await,
            94..97 => self.read(at).await,
            _ => self.foreign_task().await,
        }
    }

    /// An instant for a reminder: usually soon, sometimes past, sometimes at the end of the calendar.
    fn instant(&mut self) -> String {
        match self.rng.u32(..100) {
            0..4 => text(in_ms(-60_000)),
            4..6 => "9999-12-31T23:59:59Z".to_owned(),
            _ => text(in_ms(self.rng.i64(500..25_000))),
        }
    }

    async fn create(&mut self) {
        self.made += 1;
        let marker = format!("{}n{:05}", self.load.users.canaries[self.user], self.made);
        let mut body = json!({"title": format!("{marker} first")});
        let due = self.rng.u32(..100) < 40;
        if due {
            let ahead = self.rng.i64(3_000..30_000);
            body["due_at"] = text(in_ms(ahead + 60_000)).into();
            body["time_zone"] =
                ["Europe/Berlin", "America/New_York", "UTC", "Pacific/Apia"][self.rng.usize(..4)].into();
            if self.rng.bool() {
                let kind = ["daily", "weekly", "monthly", "yearly"][self.rng.usize(..4)];
                body["recurrence"] = json!({"type": kind});
            }
        }
        let mut reminders: Vec<Value> =
            (0..self.rng.usize(..3)).map(|_| json!({"remind_at": self.instant()})).collect();
        if due && self.rng.bool() {
            reminders.push(json!({"before_due": "PT1M"}));
        }
        body["reminders"] = reminders.into();
        let racers = if self.rng.u32(..100) < 12 { self.rng.usize(2..5) } else { 1 };
        let done = self.command(Kind::Create, &marker, Method::POST, "/v1/tasks", Some(body), racers).await;
        if let Some(id) = done.tasks.first() {
            let version = done.version.unwrap_or_default();
            self.held.push(Held { id: *id, marker, due, completed: false, version, reminders: done.reminders });
            self.load.tasks.lock().unwrap_or_else(PoisonError::into_inner).push((self.user, *id));
            if self.held.len() > HELD {
                self.held.remove(0);
            }
        }
    }

    async fn change(&mut self, at: usize, what: &str) {
        let Held { id, marker, due, .. } = self.held[at].clone();
        let body = match what {
            "due" if due => json!({"due_at": text(in_ms(60_000 + self.rng.i64(1_000..25_000)))}),
            _ => json!({"title": format!("{marker} {}", self.rng.u32(..))}),
        };
        self.on(at, Kind::Change, Method::PATCH, &format!("/v1/tasks/{id}"), Some(body)).await;
    }

    async fn snooze(&mut self, at: usize) {
        let until = text(in_ms(self.rng.i64(1_000..25_000)));
        let Some(reminder) = self.a_reminder(at) else { return };
        let path = format!("/v1/reminders/{reminder}/snooze");
        self.on(at, Kind::Change, Method::POST, &path, Some(json!({"until": until}))).await;
    }

    async fn add_reminder(&mut self, at: usize) {
        let path = format!("/v1/tasks/{}/reminders", self.held[at].id);
        let body = json!({"remind_at": self.instant()});
        self.on(at, Kind::Change, Method::POST, &path, Some(body)).await;
    }

    async fn cancel_reminder(&mut self, at: usize) {
        let Some(reminder) = self.a_reminder(at) else { return };
        self.on(at, Kind::Change, Method::DELETE, &format!("/v1/reminders/{reminder}"), None).await;
    }

    /// Replaces all reminders of a task by twenty others, a few times in a row, and at the end by one.
    async fn replace_reminders(&mut self, at: usize) {
        for left in (0..=self.rng.usize(2..6)).rev() {
            self.replace_once(at, left).await;
        }
    }

    /// Cancels a reminder and adds it again for the same time, a few times in a row. The last one stays.
    async fn cancel_and_add_again(&mut self, at: usize) {
        let task = self.held[at].id;
        let body = json!({"remind_at": text(in_ms(self.rng.i64(5_000..25_000)))});
        for left in (0..self.rng.usize(2..5)).rev() {
            let before: Vec<Uuid> = self.held[at].reminders.iter().map(|shown| shown.id).collect();
            self.on(at, Kind::Change, Method::POST, &format!("/v1/tasks/{task}/reminders"), Some(body.clone())).await;
            let added = self.held[at].reminders.iter().find(|shown| !before.contains(&shown.id));
            let Some(added) = added.filter(|_| left > 0).map(|shown| shown.id) else { continue };
            self.on(at, Kind::Change, Method::DELETE, &format!("/v1/reminders/{added}"), None).await;
        }
    }

    fn a_reminder(&mut self, at: usize) -> Option<Uuid> {
        let reminders = &self.held[at].reminders;
        (!reminders.is_empty()).then(|| reminders[self.rng.usize(..reminders.len())].id)
    }

    async fn complete(&mut self, at: usize) {
        let path = format!("/v1/tasks/{}/complete", self.held[at].id);
        self.on(at, Kind::Complete, Method::POST, &path, Some(json!({}))).await;
        self.held[at].completed = true;
    }

    async fn reopen(&mut self, at: usize) {
        let path = format!("/v1/tasks/{}/reopen", self.held[at].id);
        self.on(at, Kind::Reopen, Method::POST, &path, Some(json!({}))).await;
        self.held[at].completed = false;
    }

    /// Deletes a task. Every second one is restored at once: its deletion is handled later.
    async fn delete(&mut self, at: usize) {
        let path = format!("/v1/tasks/{}", self.held[at].id);
        self.on(at, Kind::Delete, Method::DELETE, &path, None).await;
        if self.rng.bool() {
            self.restore(at, self.held[at].version).await;
        } else {
            self.held.remove(at);
        }
    }

    /// Restores the version before the last command.
    async fn undo(&mut self, at: usize) {
        self.restore(at, self.held[at].version - 1).await;
    }

    /// Version 0, which no task has, is refused.
    async fn restore(&mut self, at: usize, version: i64) {
        let path = format!("/v1/tasks/{}/restore", self.held[at].id);
        self.on(at, Kind::Restore, Method::POST, &path, Some(json!({"version": version}))).await;
    }

    async fn on(&mut self, at: usize, kind: Kind, method: Method, path: &str, body: Option<Value>) {
        let marker = self.held[at].marker.clone();
        let done = self.command(kind, &marker, method, path, body, 1).await;
        if !done.tasks.is_empty() {
            self.held[at].reminders = done.reminders;
            self.held[at].version = done.version.unwrap_or_default();
        }
    }

    /// An invalid command: a title that is too long, a malformed instant, a field that cannot be set, or more tags than the user may have.
    async fn refused(&mut self, at: usize) {
        let marker = format!("{}n{:05}", self.load.users.canaries[self.user], 90_000 + self.made);
        let path = format!("/v1/tasks/{}", self.held[at].id);
        let bodies = [
            (Method::POST, "/v1/tasks".to_owned(), json!({"title": format!("{marker}{}", "x".repeat(600))})),
            (Method::POST, "/v1/tasks".to_owned(), json!({"title": marker, "remind_at": "tomorrow"})),
            (Method::PATCH, path, json!({"title": marker, "version": 1, "user_id": Uuid::nil()})),
            (Method::POST, "/v1/tasks".to_owned(), json!({"title": marker, "tags": ["one", "two"]})),
        ];
        let (method, path, body) = bodies[self.rng.usize(..bodies.len())].clone();
        self.command(Kind::Refused, &marker, method, &path, Some(body), 1).await;
    }

    /// Sends a read request. [`Users::ask`] searches the answer for other users' data.
    async fn read(&mut self, at: usize) {
        let id = self.held[at].id;
        let paths = ["/v1/tasks?status=all&limit=100", "/v1/tasks?q=first", "/v1/tags"].map(str::to_owned);
        let path = match self.rng.usize(..5) {
            0 => format!("/v1/tasks/{id}"),
            1 => format!("/v1/tasks/{id}/history?limit=100"),
            other => paths[other - 2].clone(),
        };
        self.ask(Method::GET, &path, None).await;
    }

    /// Requests another user's task. The answer must be the same as for a missing task.
    async fn foreign_task(&mut self) {
        let other = {
            let tasks = self.load.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            let others: Vec<_> = tasks.iter().rev().take(200).filter(|(user, _)| *user != self.user).collect();
            (!others.is_empty()).then(|| others[self.rng.usize(..others.len())].1)
        };
        let Some(id) = other else { return };
        let (method, path, body) = match self.rng.u32(..5) {
            0 => (Method::PATCH, format!("/v1/tasks/{id}"), Some(json!({"title": "mine now"}))),
            1 => (Method::POST, format!("/v1/tasks/{id}/complete"), Some(json!({}))),
            2 => (Method::DELETE, format!("/v1/tasks/{id}"), None),
            3 => (Method::GET, format!("/v1/tasks/{id}/history"), None),
            _ => (Method::GET, format!("/v1/tasks/{id}"), None),
        };
        let (status, _) = self.ask(method.clone(), &path, body.as_ref()).await;
        if (200..300).contains(&status) {
            self.load.history.leak(format!("user {} was authorized: {method} {path}", self.user));
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.load.users.ask(self.user, method, path, body, None).await
    }

    /// Sends a command, `racers` times concurrently. Repeats half of the commands that get no clear answer.
    async fn command(
        &mut self,
        kind: Kind,
        marker: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
        racers: usize,
    ) -> Command {
        let mut command = Command {
            user: self.user,
            marker: marker.to_owned(),
            kind,
            request: format!("{method} {path} {}", body.as_ref().map(Value::to_string).unwrap_or_default()),
            started: clock::now(),
            ended: clock::now(),
            statuses: Vec::new(),
            tasks: Vec::new(),
            version: None,
            reminders: Vec::new(),
        };
        let key = format!("key-{:016x}", self.rng.u64(..));
        let patience = if racers > 1 || self.rng.bool() { 5 } else { 1 };
        for attempt in 0..patience {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let mut racing = tokio::task::JoinSet::new();
            for _ in 0..if attempt == 0 { racers } else { 1 } {
                let (load, method, path, body, key) =
                    (self.load.clone(), method.clone(), path.to_owned(), body.clone(), key.clone());
                let user = self.user;
                racing.spawn(async move { load.users.ask(user, method, &path, body.as_ref(), Some(&key)).await });
            }
            while let Some(answer) = racing.join_next().await {
                let (status, body) = answer.unwrap_or((0, Value::Null));
                command.answered(status, &body);
            }
            command.ended = clock::now();
            let clear = command.statuses.iter().any(|status| matches!(status, 200..=299 | 400..=408 | 410..=428));
            if clear {
                break;
            }
        }
        self.load.history.record(command.clone());
        command
    }
}

fn in_ms(milliseconds: i64) -> DateTime<Utc> {
    clock::now() + TimeDelta::milliseconds(milliseconds)
}
