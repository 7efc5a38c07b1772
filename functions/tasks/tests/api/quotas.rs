//! Quotas of a user: a command that would exceed one is refused and changes nothing, and a user above one can use everything as before.

use shared::{
    serve,
    testing::{call_job, count, execute},
};

use super::{erasure::later, *};

/// Ada at a process with these quotas.
fn limited(db: &PgPool, quotas: &[&str]) -> Client {
    let rates =
        ["--user-requests-per-second", "1000", "--user-requests-at-a-time", "8", "--user-requests-waiting", "100"];
    Client { router: router_with(app(db), &[&rates, quotas].concat()), ..Client::new(db) }
}

/// Checks that a command is refused for a quota, and that nothing has changed. Returns the detail.
async fn refused(ada: &Client, method: Method, path: &str, body: Value) -> String {
    let before = ada.footprint().await;
    let keyed = ada.with("idempotency-key", Uuid::new_v4());
    let reply = keyed.send(method.clone(), path, body.to_string()).await.expect(422);
    assert_eq!(reply["type"], "urn:punctual:problem:quota-exceeded", "{reply}");
    let again = ada.send(method, path, body.to_string()).await.expect(422);
    assert_eq!(again, reply);
    assert_eq!(ada.footprint().await, before);
    reply["detail"].as_str().unwrap().to_owned()
}

/// The number of ada's tasks as the database counts them.
async fn counted(db: &PgPool, user: Uuid) -> (i64, i64) {
    let counts = "select lock_user_usage($1), (select count(*) from tasks where user_id = $1)";
    sqlx::query_as(counts).bind(user).fetch_one(db).await.unwrap()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn tasks_of_a_user_are_limited(db: PgPool) {
    let ada = limited(&db, &["--user-tasks", "3"]);
    let keyed = ada.with("idempotency-key", "third");
    let first = ada.task(json!({"title": "a"})).await;
    ada.task(json!({"title": "b"})).await;
    let third = keyed.task(json!({"title": "c"})).await;
    let full = json!({"title": "d", "tags": ["x"], "remind_at": ahead(1), "due_at": ahead(2), "recurrence": {"type": "daily"}});
    let detail = refused(&ada, Method::POST, "/v1/tasks", full.clone()).await;
    assert_eq!(detail, "you have 3 tasks or more, the maximum: delete some first");
    // A repetition is no new task, other commands are none either, and other users have quotas of their own.
    assert_eq!(keyed.task(json!({"title": "c"})).await, third);
    ada.put(&path(&third), json!({"title": "c", "tags": ["x"], "reminders": [{"remind_at": ahead(1)}]}))
        .await
        .expect(200);
    Client { user: User { id: Uuid::new_v4(), ..ada.user.clone() }, ..Client::new(&db) }.task(full.clone()).await;
    // A deletion makes room for one.
    ada.delete(&path(&first)).await.expect(204);
    ada.task(full.clone()).await;
    refused(&ada, Method::POST, "/v1/tasks", full).await;
    assert_eq!(counted(&db, ada.user.id).await, (3, 3));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn tags_of_a_user_are_limited_and_unused_ones_are_deleted_first(db: PgPool) {
    let ada = limited(&db, &["--user-tags", "2"]);
    let task = ada.task(json!({"title": "a", "tags": ["x", "y"]})).await;
    let detail = refused(&ada, Method::POST, "/v1/tasks", json!({"title": "b", "tags": ["z"]})).await;
    assert_eq!(detail, "you would have more than 2 tags, the maximum: use others, or take a tag off its tasks");
    refused(&ada, Method::PATCH, &path(&task), json!({"tags": ["x", "z"]})).await;
    refused(&ada, Method::PUT, &path(&task), json!({"title": "a", "tags": ["x", "y", "z"]})).await;
    ada.task(json!({"title": "b", "tags": ["y", "x"]})).await;
    ada.patch(&path(&task), json!({"title": "c"})).await.expect(200);
    let other = &ada.get("/v1/tasks?q=b").await.expect(200)["items"][0];
    ada.patch(&path(other), json!({"tags": []})).await.expect(200);
    ada.patch(&path(&task), json!({"tags": ["x"]})).await.expect(200);
    let task = ada.patch(&path(&task), json!({"tags": ["x", "z"]})).await.expect(200);
    assert_eq!(task["tags"], json!(["x", "z"]));
    let tags: Vec<String> = sqlx::query_scalar("select name from task_tags order by 1").fetch_all(&db).await.unwrap();
    assert_eq!(tags, ["x", "z"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn live_reminders_of_a_user_are_limited(db: PgPool) {
    let ada = limited(&db, &["--user-reminders", "2"]);
    let at = |hours: i64| json!({"remind_at": ahead(hours)});
    let task = ada.task(json!({"title": "a", "reminders": [at(1), at(3)]})).await;
    let add = format!("{}/reminders", path(&task));
    let detail = refused(&ada, Method::POST, &add, at(5)).await;
    assert_eq!(
        detail,
        "you would have more than 2 reminders that are still to be sent, the maximum: cancel some first"
    );
    refused(&ada, Method::POST, "/v1/tasks", json!({"title": "b", "remind_at": ahead(5)})).await;
    refused(&ada, Method::PUT, &path(&task), json!({"title": "a", "reminders": [at(1), at(3), at(5)]})).await;
    // Moving and replacing them adds none.
    let reminder = |task: &Value, n: usize| format!("/v1/reminders/{}", id(&task["reminders"][n]));
    ada.post(&format!("{}/snooze", reminder(&task, 0)), json!({"minutes": 300})).await.expect(200);
    let task = ada.put(&path(&task), json!({"title": "a", "reminders": [at(7), at(9)]})).await.expect(200);
    // A completed task has none. It gets them back only where they have room.
    ada.post(&format!("{}/complete", path(&task)), json!(null)).await.expect(200);
    let other = ada.task(json!({"title": "b", "remind_at": ahead(5)})).await;
    refused(&ada, Method::POST, &format!("{}/reopen", path(&task)), json!({})).await;
    ada.post(&add, at(11)).await.expect(409);
    // A sent one does not count, and sending it again makes it count.
    sqlx::query("update task_reminders set state = 'sent', fired_version = version where task_id = $1")
        .bind(id(&other))
        .execute(&db)
        .await
        .unwrap();
    ada.post(&format!("{}/reopen", path(&task)), json!(null)).await.expect(200);
    refused(&ada, Method::POST, &format!("{}/snooze", reminder(&other, 0)), json!({"minutes": 5})).await;
    refused(&ada, Method::POST, &format!("{}/send-now", reminder(&other, 0)), json!({})).await;
    ada.delete(&reminder(&task, 0)).await.expect(200);
    ada.post(&format!("{}/snooze", reminder(&other, 0)), json!({"minutes": 5})).await.expect(200);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn live_reminders_of_a_user_in_a_clock_hour_are_limited(db: PgPool) {
    let ada = limited(&db, &["--user-reminders-per-hour", "2"]);
    let at = |time: &str| json!({"remind_at": format!("2031-05-04T{time}:00Z")});
    let task = ada
        .task(json!({"title": "a", "due_at": "2031-05-04T10:30:00Z",
                     "reminders": [at("09:00"), at("09:59"), {"before_due": "PT30M"}]}))
        .await;
    let add = format!("{}/reminders", path(&task));
    let detail = refused(&ada, Method::POST, &add, at("09:30")).await;
    assert_eq!(
        detail,
        "you would have more than 2 reminders in the hour from 2031-05-04T09:00Z, the maximum: choose another hour"
    );
    // A relative one follows its task into the full hour, or moves within an hour.
    refused(&ada, Method::PATCH, &path(&task), json!({"due_at": "2031-05-04T10:29:00Z"})).await;
    ada.patch(&path(&task), json!({"due_at": "2031-05-04T11:29:00Z"})).await.expect(200);
    let until = json!({"until": "2031-05-04T09:58:00Z"});
    let second = format!("/v1/reminders/{}/snooze", id(&task["reminders"][1]));
    let third = format!("/v1/reminders/{}/snooze", id(&task["reminders"][2]));
    ada.post(&second, until.clone()).await.expect(200);
    refused(&ada, Method::POST, &third, until.clone()).await;
    ada.post(&second, json!({"until": "2031-05-04T08:00:00Z"})).await.expect(200);
    ada.post(&third, until).await.expect(200);
}

/// Waits for the next clock hour if this one ends soon.
async fn not_at_the_end_of_an_hour() {
    let left = 3_600 - Utc::now().timestamp().rem_euclid(3_600);
    if left < 20 {
        tokio::time::sleep(std::time::Duration::from_secs(left.unsigned_abs())).await;
    }
}

/// Fires the reminders whose time has passed, as the scheduler does.
async fn fire(db: &PgPool) {
    let routes = serve::complete(alarm::router(app(db)), app(db));
    let due = "select id, version from task_reminders
               where remind_at <= now() and reminder_is_live(state, version, fired_version)";
    let due: Vec<(Uuid, i32)> = sqlx::query_as(due).fetch_all(db).await.unwrap();
    for (id, version) in due {
        assert_eq!(call_job(&routes, id, version).await, StatusCode::OK);
    }
}

const FIRED: &str = "select count(*) from task_events where type = 'reminder.due'";

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn reminders_whose_time_has_passed_and_fired_ones_count_in_the_current_hour(db: PgPool) {
    not_at_the_end_of_an_hour().await;
    let ada = limited(&db, &["--user-reminders-per-hour", "3"]);
    let past = |hours: i64| json!({"remind_at": ahead(-hours)});
    let task = ada.task(json!({"title": "a", "reminders": [past(1), past(30)]})).await;
    let add = format!("{}/reminders", path(&task));
    let four = json!({"title": "a", "reminders": [past(1), past(30), past(2), past(3)]});
    let detail = refused(&ada, Method::PUT, &path(&task), four).await;
    let hour = Utc::now().format("%Y-%m-%dT%H:00Z");
    assert_eq!(
        detail,
        format!("you would have more than 3 reminders in the hour from {hour}, the maximum: choose another hour")
    );
    fire(&db).await;
    // Moving a fired one, replacing it and cancelling it make no room.
    let others = json!({"title": "a", "reminders": [past(2), past(3)]});
    refused(&ada, Method::PUT, &path(&task), others.clone()).await;
    let third = ada.put(&path(&task), json!({"title": "a", "reminders": [past(4)]})).await.expect(200);
    refused(&ada, Method::POST, &add, past(5)).await;
    fire(&db).await;
    let third = format!("/v1/reminders/{}", id(&third["reminders"][0]));
    ada.post(&format!("{third}/snooze"), json!({"minutes": 600})).await.expect(200);
    refused(&ada, Method::POST, &format!("{third}/send-now"), json!({})).await;
    ada.delete(&third).await.expect(200);
    refused(&ada, Method::POST, "/v1/tasks", json!({"title": "b", "remind_at": ahead(-6)})).await;
    assert_eq!(count(&db, FIRED).await, 3);
    // Other hours have room.
    ada.post(&add, json!({"remind_at": ahead(7)})).await.expect(201);
    // The next hour has room again.
    execute(
        &db,
        "update task_events set id = (left(uuid_v7_floor(now() - interval '1 hour')::text, 24) || right(id::text, 12))::uuid
         where type = 'reminder.due'",
    )
    .await;
    ada.put(&path(&task), others).await.expect(200);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_user_above_the_quota_of_an_hour_can_move_reminders_within_it(db: PgPool) {
    not_at_the_end_of_an_hour().await;
    let ada = Client::new(&db);
    let past = |hours: i64| json!({"remind_at": ahead(-hours)});
    let reminders = json!([past(1), past(2), {"before_due": "PT1H"}]);
    let task = ada.task(json!({"title": "a", "due_at": ahead(-3), "reminders": reminders})).await;
    let ada = Client { router: limited(&db, &["--user-reminders-per-hour", "1"]).router, ..ada };
    let task = ada.patch(&path(&task), json!({"due_at": ahead(-6)})).await.expect(200);
    ada.delete(&format!("/v1/reminders/{}", id(&task["reminders"][0]))).await.expect(200);
    refused(&ada, Method::POST, &format!("{}/reminders", path(&task)), past(1)).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_erased_user_who_returns_keeps_the_count_of_fired_reminders(db: PgPool) {
    not_at_the_end_of_an_hour().await;
    let ada = limited(&db, &["--user-reminders-per-hour", "2"]);
    let past = json!({"title": "a", "reminders": [{"remind_at": ahead(-1)}, {"remind_at": ahead(-2)}]});
    ada.task(past.clone()).await;
    fire(&db).await;
    ada.delete("/v1/me").await.expect(204);
    let again = Client { router: ada.router.clone(), ..later(&ada) };
    again.task(json!({"title": "a"})).await;
    refused(&again, Method::POST, "/v1/tasks", past).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn concurrent_commands_fire_exactly_as_many_reminders_as_the_quota(db: PgPool) {
    not_at_the_end_of_an_hour().await;
    let ada = limited(&db, &["--user-reminders-per-hour", "5"]);
    let task = path(&ada.task(json!({"title": "a"})).await);
    let mut commands = tokio::task::JoinSet::new();
    for n in 1..=20 {
        let (ada, db, task) = (ada.clone(), db.clone(), task.clone());
        commands.spawn(async move {
            let past = json!({"remind_at": ahead(-n)});
            let reply = if n % 2 == 0 {
                ada.post(&format!("{task}/reminders"), past).await
            } else {
                ada.post("/v1/tasks", json!({"title": "b", "reminders": [past]})).await
            };
            fire(&db).await;
            reply.status.as_u16()
        });
    }
    let statuses = commands.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 5, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 201 | 422)), "{statuses:?}");
    assert_eq!(count(&db, FIRED).await, 5);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn send_now_commands_of_a_user_in_a_clock_hour_are_limited(db: PgPool) {
    let ada = limited(&db, &["--user-sends-now-per-hour", "1"]);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    let send = format!("/v1/reminders/{}/send-now", id(&task["reminders"][0]));
    ada.post(&send, json!(null)).await.expect(200);
    let detail = refused(&ada, Method::POST, &send, json!({})).await;
    assert!(detail.starts_with("you had 1 reminders sent at once within this clock hour"), "{detail}");
    let earlier = "update user_usage set sent_now_hour = sent_now_hour - interval '1 hour'";
    sqlx::query(earlier).execute(&db).await.unwrap();
    ada.post(&send, json!(null)).await.expect(200);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_user_above_every_quota_can_still_change_existing_tasks(db: PgPool) {
    let ada = Client::new(&db);
    let body =
        json!({"title": "a", "tags": ["x", "y"], "reminders": [{"remind_at": ahead(1)}, {"remind_at": ahead(30)}]});
    let task = ada.task(body.clone()).await;
    ada.task(body.clone()).await;
    let lowered = ["--user-tasks", "1", "--user-tags", "1", "--user-reminders", "1", "--user-reminders-per-hour", "1"];
    let ada = Client { router: limited(&db, &lowered).router, ..ada };
    let task = ada.patch(&path(&task), json!({"title": "b", "tags": ["y"], "due_at": ahead(5)})).await.expect(200);
    ada.patch(&path(&task), json!({"tags": ["y", "x"]})).await.expect(200);
    let snooze = format!("/v1/reminders/{}/snooze", id(&task["reminders"][0]));
    ada.post(&snooze, json!({"minutes": 1200})).await.expect(200);
    ada.post(&format!("{}/complete", path(&task)), json!(null)).await.expect(200);
    ada.delete(&path(&task)).await.expect(204);
    refused(&ada, Method::POST, "/v1/tasks", body).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn idempotency_keys_of_a_user_in_a_day_are_limited(db: PgPool) {
    let ada = limited(&db, &["--user-keys-per-day", "2"]);
    // The first command makes the user, and does not count.
    ada.task(json!({"title": "a"})).await;
    let keyed = |key: &str| ada.with("idempotency-key", key);
    let task = keyed("a").task(json!({"title": "a"})).await;
    keyed("b").patch("/v1/me", json!({"time_zone": "Asia/Tokyo"})).await.expect(200);
    let before = ada.footprint().await;
    for (method, path, body) in [
        (Method::POST, "/v1/tasks".to_owned(), json!({"title": "b"})),
        (Method::PATCH, path(&task), json!({"title": "b"})),
        (Method::PATCH, "/v1/me".to_owned(), json!({"time_zone": "Asia/Tokyo"})),
    ] {
        let refused = keyed("c").send(method, &path, body.to_string()).await.expect(422);
        assert_eq!(
            refused["detail"],
            "you used 2 idempotency keys today (UTC), the maximum: use no new key before tomorrow"
        );
    }
    assert_eq!(ada.footprint().await, before);
    assert_eq!(keyed("a").task(json!({"title": "a"})).await, task, "a repetition needs no new key");
    ada.task(json!({"title": "b"})).await;
    sqlx::query("update user_usage set keys_day = keys_day - 1").execute(&db).await.unwrap();
    keyed("c").task(json!({"title": "b"})).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_erased_user_who_returns_keeps_the_counts_of_sends_and_keys(db: PgPool) {
    not_at_the_end_of_an_hour().await;
    let ada = limited(&db, &["--user-sends-now-per-hour", "1", "--user-keys-per-day", "2"]);
    let body = json!({"title": "a", "remind_at": ahead(1)});
    let send_now = |task: &Value| format!("/v1/reminders/{}/send-now", id(&task["reminders"][0]));
    let task = ada.task(body.clone()).await;
    ada.with("idempotency-key", "a").post(&send_now(&task), json!(null)).await.expect(200);
    ada.delete("/v1/me").await.expect(204);
    let again = Client { router: ada.router.clone(), ..later(&ada) };
    let task = again.task(body).await;
    again.with("idempotency-key", "b").patch("/v1/me", json!({"time_zone": "Asia/Tokyo"})).await.expect(200);
    for (path, key, expected) in [
        (send_now(&task), None, "you had 1 reminders sent at once within this clock hour"),
        (format!("{}/complete", path(&task)), Some("c"), "you used 2 idempotency keys today (UTC)"),
    ] {
        let again = key.map_or(again.clone(), |key| again.with("idempotency-key", key));
        let refused = again.post(&path, json!(null)).await.expect(422);
        assert!(refused["detail"].as_str().unwrap().starts_with(expected), "{refused}");
    }
}

/// A small generator, so that a failure can be repeated.
struct Choice(u64);

impl Choice {
    fn of(&mut self, number: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % number
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn tasks_are_counted_exactly_under_concurrent_writes_of_old_and_new_code(db: PgPool) {
    let users = [Client::new(&db), Client::new(&db)];
    for ada in &users {
        ada.task(json!({"title": "first"})).await;
        let old = "insert into tasks (user_id, title) select $1, 'old' from generate_series(1, 20)";
        sqlx::query(old).bind(ada.user.id).execute(&db).await.unwrap();
    }
    // As if all of them were older than the counters.
    sqlx::raw_sql("truncate user_usage").execute(&db).await.unwrap();
    let mut workers = tokio::task::JoinSet::new();
    for seed in 0..10 {
        let (ada, other, db) = (limited(&db, &[]), users[1].user.id, db.clone());
        let ada = Client { user: users[0].user.clone(), token: users[0].token.clone(), ..ada };
        workers.spawn(async move {
            let mut choice = Choice(seed);
            for _ in 0..15 {
                let tasks = ada.get("/v1/tasks?limit=100").await.expect(200)["items"].clone();
                let some = choice.of(tasks.as_array().unwrap().len().max(1) as u64);
                let task = path(&tasks[usize::try_from(some).unwrap()]);
                let raw = async |statement: &'static str| {
                    let done = sqlx::query(statement).bind(ada.user.id).bind(other).execute(&db).await;
                    // A deadlock of a statement with a command ends one of them without an effect: the command with 409.
                    assert!(done.is_ok() || done.unwrap_err().to_string().contains("deadlock"));
                };
                match choice.of(8) {
                    0 | 1 => {
                        let made = ada.post("/v1/tasks", json!({"title": "new", "tags": ["x"]})).await;
                        assert!(matches!(made.status.as_u16(), 201 | 409));
                    }
                    2 => assert!(matches!(ada.delete(&task).await.status.as_u16(), 204 | 404 | 409)),
                    3 => assert!(matches!(ada.patch(&task, json!({"tags": ["y"]})).await.status.as_u16(), 200 | 404 | 409)),
                    4 => raw("insert into tasks (user_id, title) select id, 'two' from users, generate_series(1, 2) where id in ($1, $2)").await,
                    5 => raw("delete from tasks where id in (select id from tasks where user_id in ($1, $2) order by random() limit 2)").await,
                    6 => raw("update user_usage set counted = false where user_id in ($1, $2)").await,
                    _ => {
                        let mut tx = db.begin().await.unwrap();
                        let add = "insert into tasks (user_id, title) values ($1, 'gone')";
                        let done = sqlx::query(add).bind(ada.user.id).execute(&mut *tx).await;
                        assert!(done.is_ok() || done.unwrap_err().to_string().contains("deadlock"));
                        tx.rollback().await.unwrap();
                    }
                }
            }
        });
    }
    workers.join_all().await;
    for ada in &users {
        let (counted, there) = counted(&db, ada.user.id).await;
        assert_eq!(counted, there);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn concurrent_creates_stop_exactly_at_the_quota(db: PgPool) {
    let ada = limited(&db, &["--user-tasks", "5", "--user-reminders", "3"]);
    ada.task(json!({"title": "a"})).await;
    let mut creates = tokio::task::JoinSet::new();
    for n in 0..12 {
        let ada = if n % 2 == 0 { ada.clone() } else { ada.with("idempotency-key", n) };
        let body = if n % 3 == 0 { json!({"title": "a", "remind_at": ahead(1)}) } else { json!({"title": "a"}) };
        creates.spawn(async move { ada.post("/v1/tasks", body).await.status.as_u16() });
    }
    let statuses = creates.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 4, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 201 | 422)), "{statuses:?}");
    assert_eq!(counted(&db, ada.user.id).await, (5, 5));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_deleted_user_leaves_no_count(db: PgPool) {
    let ada = Client::new(&db);
    ada.task(json!({"title": "a"})).await;
    sqlx::query("delete from users").execute(&db).await.unwrap();
    let rows: i64 = sqlx::query_scalar("select count(*) from user_usage").fetch_one(&db).await.unwrap();
    assert_eq!(rows, 0);
    ada.task(json!({"title": "a"})).await;
    assert_eq!(counted(&db, ada.user.id).await, (1, 1));
}
