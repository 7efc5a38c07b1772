//! A transaction pooler between the functions and PostgreSQL: PgBouncer gives each transaction another of its three sessions.

use std::{
    fs,
    sync::atomic::{AtomicU16, Ordering},
};

use axum::body::to_bytes;
use chrono::{TimeDelta, Utc};
use lab::{pgbouncer::PgBouncer, process::Run};
use shared::{
    address::Address,
    auth::User,
    catalogue::EventType,
    db::Db,
    deadlines::Deadlines,
    testing::{
        Dapr, app_with, at_port, audit_steps, call_job, count, deliver, deliver_at_once, due, execute, handed_over,
        post,
    },
};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    smtp_server::{SmtpServer, WILLING},
    *,
};

/// A pooler before the server of `db`.
fn pooler(db: &PgPool, ignored: &str) -> PgBouncer {
    static NUMBER: AtomicU16 = AtomicU16::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = lab::dev().join(format!("test-pooler-{}-{number}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let options = db.connect_options();
    let run = Run { dir: dir.clone(), detached: false };
    let pooler =
        PgBouncer::launch(&run, options.get_host(), options.get_port(), options.get_username(), ignored).unwrap();
    fs::remove_dir_all(dir).unwrap();
    pooler
}

/// One user of the API.
#[derive(Clone)]
struct Client {
    product: Router,
    token: String,
}

impl Client {
    async fn send(&self, method: &str, path: &str, key: Option<&str>, body: Value) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        request = request
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let answer = self.product.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_product_works_through_a_transaction_pooler(db: PgPool) {
    demand_settings(&db).await;
    let pooler = pooler(&db, "");
    let dapr = Dapr::start().await;
    let app = app_with(at_port(&db, pooler.port, Deadlines::default()), &dapr, &dapr, &dapr);
    let server = SmtpServer::start(WILLING).await;
    let product = product_with(&app, &["--email-provider", "smtp", "--smtp-url", &server.url]);
    let ada = User {
        id: Uuid::new_v4(),
        email: Address::parse("ada@example.org").unwrap(),
        issued_at: None,
        operator: false,
    };
    let token = auth::sign(&SECRET.into(), &ada, Utc::now() + TimeDelta::hours(1)).unwrap();
    let ada = Client { product: product.clone(), token };

    // Commands and queries, as many at a time as one user may have.
    let mut created = JoinSet::new();
    for n in 0..8 {
        let ada = ada.clone();
        created.spawn(async move {
            let task =
                json!({"title": format!("task {n}"), "tags": ["a"], "remind_at": Utc::now() + TimeDelta::seconds(1)});
            ada.send("POST", "/v1/tasks", (n % 2 == 0).then(|| format!("key {n}")).as_deref(), task).await
        });
    }
    let created = created.join_all().await;
    for (status, task) in &created {
        assert_eq!(*status, StatusCode::CREATED, "{task}");
    }
    let path = |n: usize| format!("/v1/tasks/{}", created[n].1["id"].as_str().unwrap());
    assert_eq!(ada.send("PATCH", &path(0), None, json!({"title": "changed"})).await.0, 200);
    assert_eq!(ada.send("POST", &format!("{}/complete", path(1)), None, Value::Null).await.0, 200);
    assert_eq!(ada.send("DELETE", &path(2), None, Value::Null).await.0, 204);
    let (status, found) = ada.send("GET", "/v1/tasks?tag=a&limit=100", None, Value::Null).await;
    assert_eq!((status, found["items"].as_array().map(Vec::len)), (StatusCode::OK, Some(7)), "{found}");

    // The relay.
    app.outbox.flush(std::time::Duration::from_secs(10)).await.unwrap();
    assert_eq!(count(&db, "select count(*) from task_events where published_at is null").await, 0);

    // The inbox, each event several times at once.
    let events: Vec<(Uuid, String)> =
        sqlx::query_as("select id, type from task_events order by id").fetch_all(&db).await.unwrap();
    assert_eq!(events.len(), 11);
    for (id, _) in &events {
        assert_eq!(deliver_at_once(&product, &handed_over(&db, *id).await, 3).await, 3);
    }
    assert_eq!(count(&db, "select count(*) from processed_events").await, 11);

    // Firing.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let live: Vec<(Uuid, i32)> = sqlx::query_as("select id, version from task_reminders where state = 'scheduled'")
        .fetch_all(&db)
        .await
        .unwrap();
    let mut fired = JoinSet::new();
    for (id, version) in live.clone() {
        let product = product.clone();
        fired.spawn(async move { call_job(&product, id, version).await });
    }
    assert!(fired.join_all().await.into_iter().all(|status| status == StatusCode::OK));
    let due = format!("select count(*) from task_events where type = '{}'", EventType::ReminderDue.as_str());
    assert_eq!((live.len(), count(&db, due.leak()).await), (6, 6));

    // Sending, and marking as sent.
    for (kind, state) in [(EventType::ReminderDue, "scheduled"), (EventType::ReminderSent, "sent")] {
        let events: Vec<Uuid> = sqlx::query_scalar("select id from task_events where type = $1")
            .bind(kind.as_str())
            .fetch_all(&db)
            .await
            .unwrap();
        let mut handled = JoinSet::new();
        for id in events {
            let (product, event) = (product.clone(), handed_over(&db, id).await);
            handled.spawn(async move { deliver(&product, &event).await });
        }
        assert_eq!(handled.join_all().await, [StatusCode::OK; 6], "{kind:?}");
        let in_state = format!("select count(*) from task_reminders where state = '{state}'");
        assert_eq!((server.bodies().len(), count(&db, in_state.leak()).await), (6, 6));
    }
}

/// Makes every write of a delivery or of the audit log fail that lacks the settings, but the one that fires.
async fn demand_settings(db: &PgPool) {
    let demand = "create function demand_settings() returns trigger language plpgsql as $$ begin
            if current_setting('lock_timeout') <> '10s' or current_setting('idle_in_transaction_session_timeout') <> '15s' then
                raise 'the settings are missing';
            end if;
            return new;
        end $$;
        create trigger demand_settings before insert or update on notification_deliveries
            for each row execute function demand_settings();
        create trigger demand_settings before insert on audit_logs
            for each row when (new.action <> 'reminder.fired') execute function demand_settings()";
    execute(db, demand).await;
}

/// A process that vanishes within a transaction holds its locks until the server ends it, which is one of the settings.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn attempts_and_callbacks_run_with_the_session_settings(db: PgPool) {
    demand_settings(&db).await;
    let (pooler, dapr) = (pooler(&db, ""), Dapr::start().await);
    let app = app_with(at_port(&db, pooler.port, Deadlines::default()), &dapr, &dapr, &dapr);
    let product = product_with(&app, &["--email-provider", "smtp", "--smtp-url", "smtp://127.0.0.1:9"]);
    let (id, _) = due(&db, Utc::now()).await;
    assert_eq!(call_job(&product, id, 1).await, StatusCode::OK);
    let event: Uuid = sqlx::query_scalar("select id from task_events").fetch_one(&db).await.unwrap();
    assert_eq!(deliver(&product, &handed_over(&db, event).await).await, StatusCode::OK);
    assert_eq!(count(&db, "select count(*) from notification_deliveries where state = 'retrying'").await, 1);

    execute(&db, "update tasks set completed = true").await;
    execute(
        &db,
        "begin; set local lock_timeout = '10s'; set local idle_in_transaction_session_timeout = '15s';
         update notification_deliveries set next_attempt_at = now(); commit",
    )
    .await;
    let (job, _) = dapr.jobs().into_iter().find(|(name, _)| name.starts_with("delivery-")).unwrap();
    assert_eq!(post(&product, &format!("/job/{job}"), "{}").await, StatusCode::OK);

    let (other, _) = due(&db, Utc::now()).await;
    execute(&db, "update tasks set completed = true").await;
    assert_eq!(call_job(&product, other, 1).await, StatusCode::OK);
    let steps = audit_steps(&db).await.into_iter().map(|(action, _)| action).collect::<Vec<_>>();
    assert_eq!(
        steps,
        [
            "reminder.fired",
            "reminder.sending",
            "reminder.retrying",
            "reminder.due",
            "reminder.sending",
            "reminder.skipped",
            "reminder.skipped"
        ]
    );
}

/// A start-up option that is refused or ignored is set in each transaction instead.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_session_settings_hold_on_direct_connections_and_through_poolers(db: PgPool) {
    let (refuses, ignores) = (pooler(&db, ""), pooler(&db, "options"));
    let all = "select array_agg(current_setting(name) order by name) from unnest(array[
                   'lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout', 'plan_cache_mode', 'jit']) name";
    for port in [db.connect_options().get_port(), refuses.port, ignores.port] {
        let db: Db = at_port(&db, port, Deadlines::default());
        let wanted = ["15s", "off", "10s", "force_generic_plan", "30s"];
        let settings: Vec<String> = sqlx::query_scalar(all).fetch_one(&db).await.unwrap();
        assert_eq!(settings, wanted, "a statement, port {port}");
        let mut tx = db.begin().await.unwrap();
        let settings: Vec<String> = sqlx::query_scalar(all).fetch_one(&mut *tx).await.unwrap();
        assert_eq!(settings, wanted, "a transaction, port {port}");
        let mut tx = tx.commit_and_keep().await.unwrap().begin_single().await.unwrap();
        let settings: Vec<String> = sqlx::query_scalar(all).fetch_one(&mut *tx).await.unwrap();
        assert_eq!(settings, wanted, "a statement on a kept connection, port {port}");
        tx.commit().await.unwrap();
    }
}

#[sqlx::test]
async fn migrate_says_that_it_needs_a_direct_address(db: PgPool) {
    for ignored in ["", "options"] {
        let pooler = pooler(&db, ignored);
        let url = db.connect_options().as_ref().clone().host("127.0.0.1").port(pooler.port);
        let error = migrations::connect(url).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "DATABASE_URL is a pooler's address: migrations need a direct one, because their lock belongs to a session"
        );
    }
    migrations::connect(db.connect_options().as_ref().clone()).await.unwrap();
}
