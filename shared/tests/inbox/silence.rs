//! Peers that fall silent: their connections stay open and carry nothing. Each wait ends, and frees what it held.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode},
    routing::get,
};
use lab::forwarder::Forwarder;
use shared::{
    db::{Db, is_outage},
    deadlines::Deadlines,
    inbox,
    testing::{self, Dapr, app, app_with, at_port, deliver},
};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::{claims, effect, effects, event, routes, serve};

const LONG: Duration = Duration::from_secs(30);

/// So short that tests are quick.
const SHORT: Deadlines = Deadlines {
    ping: Duration::from_millis(150),
    acquire: Duration::from_millis(600),
    answer: Duration::from_millis(700),
    request: Duration::from_millis(700),
    relay: Duration::from_millis(700),
    handler: Duration::from_millis(700),
    call: LONG,
    keep_alive: Duration::from_millis(100),
    keep_alive_answer: Duration::from_millis(150),
    useless: Duration::from_millis(200),
};

/// A pool of three connections through a forwarder.
fn through(db: &PgPool) -> (Db, Forwarder) {
    let options = db.connect_options();
    let forwarder = Forwarder::to(options.get_host(), options.get_port()).unwrap();
    (at_port(db, forwarder.port, SHORT), forwarder)
}

/// All three places of the pool are free: as many statements run at the same time.
async fn three_at_a_time(db: &Db) {
    let mut running = JoinSet::new();
    for _ in 0..3 {
        let db = db.clone();
        running.spawn(async move { sqlx::query("select pg_sleep(0.1)").execute(&db).await });
    }
    for ended in running.join_all().await {
        ended.unwrap();
    }
}

async fn ask(routes: &Router, path: &str) -> Response<Body> {
    routes.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn statements_on_silent_connections_fail_and_free_their_places(db: PgPool) {
    let (db, forwarder) = through(&db);
    let mut asked = JoinSet::new();
    for _ in 0..3 {
        let db = db.clone();
        asked.spawn(async move { sqlx::query("select pg_sleep(0.3)").execute(&db).await });
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    forwarder.silence();
    let began = Instant::now();
    for ended in asked.join_all().await {
        assert!(is_outage(&ended.unwrap_err()));
    }
    three_at_a_time(&db).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn transactions_on_silent_connections_end_and_free_their_places(db: PgPool) {
    let (db, forwarder) = through(&db);
    three_at_a_time(&db).await;
    let (dropped, committed) = (db.begin().await.unwrap(), db.begin().await.unwrap());
    let mut in_flight = db.begin().await.unwrap();
    forwarder.silence();
    drop(dropped);
    let statement = sqlx::query("select 1").execute(&mut *in_flight);
    assert!(tokio::time::timeout(Duration::from_millis(50), statement).await.is_err());
    drop(in_flight);
    assert!(is_outage(&committed.commit().await.unwrap_err()));
    three_at_a_time(&db).await;
    assert_eq!(forwarder.accepted(), 6);
}

/// sqlx returns it to the pool within a transaction of which it does not know.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_connection_whose_begin_was_not_awaited_is_closed(direct: PgPool) {
    let (db, _forwarder) = through(&direct);
    three_at_a_time(&db).await;
    for polls in 1..4 {
        let mut begun = pin!(db.begin());
        for _ in 0..polls {
            if poll_fn(|context| Poll::Ready(begun.as_mut().poll(context).is_ready())).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    three_at_a_time(&db).await;
    let within = "select count(*) from pg_stat_activity
                  where datname = current_database() and state = 'idle in transaction'";
    assert_eq!(testing::count(&direct, within).await, 0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn idle_connections_that_fell_silent_fail_no_statement(db: PgPool) {
    let (db, forwarder) = through(&db);
    three_at_a_time(&db).await;
    forwarder.silence();
    three_at_a_time(&db).await;
    assert_eq!(forwarder.accepted(), 6);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_handler_on_a_silent_connection_ends_and_its_event_is_handled_later(db: PgPool) {
    let (silenced, forwarder) = through(&db);
    let forwarder = Arc::new(forwarder);
    let app = app(silenced.clone());
    let silent = {
        let forwarder = Arc::clone(&forwarder);
        routes(&app, move |app, event| {
            let forwarder = Arc::clone(&forwarder);
            async move {
                let Some(mut tx) = inbox::claim(&app, &event).await? else { return Ok(()) };
                forwarder.silence();
                tx.audit(&event, serde_json::json!({})).await?;
                tx.commit(&app).await
            }
        })
    };
    let event = event(&db).await;
    let began = Instant::now();
    assert_eq!(deliver(&silent, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    // PostgreSQL keeps the claim until it notices that we have gone.
    testing::execute(&db, "select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction'")
        .await;
    assert_eq!(deliver(&routes(&app, effect), &event).await, StatusCode::OK);
    assert_eq!((effects(&db).await, claims(&db).await), (1, 1));
    three_at_a_time(&silenced).await;
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_request_that_takes_too_long_is_a_503_and_frees_what_it_holds(db: PgPool) {
    let (_, forwarder) = through(&db);
    let forwarder = Arc::new(forwarder);
    for (path, deadlines) in [
        ("/v1/slow", Deadlines { call: LONG, ..SHORT }),
        ("/job/slow", Deadlines { call: SHORT.request, request: LONG, ..SHORT }),
    ] {
        let app = app(at_port(&db, forwarder.port, deadlines));
        let held = Arc::new(());
        let handler = {
            let (app, held, forwarder) = (app.clone(), Arc::clone(&held), Arc::clone(&forwarder));
            get(move || {
                let (app, held, forwarder) = (app.clone(), Arc::clone(&held), Arc::clone(&forwarder));
                async move {
                    let _held = held;
                    let mut tx = app.db.begin().await.unwrap();
                    forwarder.silence();
                    sqlx::query("select 1").execute(&mut *tx).await.unwrap();
                    StatusCode::OK
                }
            })
        };
        let routes = serve::complete(Router::new().route(path, handler), app.clone());
        let began = Instant::now();
        let answer = ask(&routes, path).await;
        assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(Arc::strong_count(&held), 2, "the route's own");
        three_at_a_time(&app.db).await;
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_process_whose_pool_is_useless_is_not_healthy(db: PgPool) {
    let (silenced, _forwarder) = through(&db);
    let routes = serve::complete(Router::new(), app(silenced.clone()));
    let mut lost = Vec::new();
    for _ in 0..3 {
        lost.push(silenced.begin().await.unwrap());
    }
    assert!(silenced.begin().await.is_err());
    // Another router, because an answer is kept for a second.
    let at_first = serve::complete(Router::new(), app(silenced.clone()));
    assert_eq!(ask(&at_first, "/healthz").await.status(), StatusCode::OK);
    tokio::time::sleep(SHORT.useless).await;
    assert_eq!(ask(&routes, "/healthz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&routes, "/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

/// Anybody may ask, and each question costs a connection of a pool that requests need.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_hundred_callers_of_readyz_at_once_cost_one_connection_and_one_wait(db: PgPool) {
    let (db, forwarder) = through(&db);
    let routes = || serve::complete(Router::new(), app(db.clone()));
    let a_hundred = async |routes: Router| {
        let mut asked = JoinSet::new();
        for _ in 0..100 {
            let routes = routes.clone();
            asked.spawn(async move { ask(&routes, "/readyz").await.status() });
        }
        asked.join_all().await
    };
    assert_eq!(a_hundred(routes()).await, [StatusCode::OK; 100]);
    assert_eq!(forwarder.accepted(), 1);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(db.begin().await.unwrap());
    }
    let began = Instant::now();
    // Another router, because an answer is kept for a second.
    assert_eq!(a_hundred(routes()).await, [StatusCode::SERVICE_UNAVAILABLE; 100]);
    assert!(began.elapsed() < SHORT.acquire * 2, "{:?}", began.elapsed());
}

/// Otherwise Kubernetes would restart every process again and again while the database is away.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_process_without_its_database_is_healthy(db: PgPool) {
    let away = at_port(&db, 9, SHORT);
    let routes = serve::complete(Router::new(), app(away.clone()));
    assert!(away.begin().await.is_err());
    tokio::time::sleep(SHORT.useless).await;
    assert_eq!(ask(&routes, "/healthz").await.status(), StatusCode::OK);
    assert_eq!(ask(&routes, "/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_daprd_that_fell_silent_is_called_on_another_connection(db: PgPool) {
    let (mut db, mut dapr) = (Db::from(&db), Dapr::start().await);
    let port = dapr.endpoint.rsplit(':').next().unwrap().parse().unwrap();
    let forwarder = Forwarder::to("127.0.0.1", port).unwrap();
    dapr.endpoint = format!("http://127.0.0.1:{}", forwarder.port);
    db.deadlines = SHORT;
    let jobs = app_with(db, &dapr, &dapr, &dapr).sidecar.own_jobs;
    jobs.disarm("before").await.unwrap();
    forwarder.silence();
    let began = Instant::now();
    while jobs.disarm("after").await.is_err() {}
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_relay_on_a_silent_connection_goes_on_with_another(db: PgPool) {
    let (silenced, forwarder) = through(&db);
    event(&db).await;
    let mut lock = db.begin().await.unwrap();
    sqlx::query("lock table task_events").execute(&mut *lock).await.unwrap();
    let app = app(silenced);
    let relay = tokio::spawn(app.outbox.clone().relay());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(forwarder.accepted(), 1);
    forwarder.silence();
    lock.rollback().await.unwrap();
    tokio::time::timeout(Duration::from_secs(3), async {
        while forwarder.accepted() == 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the relay stands still");
    relay.abort();
}
