//! The limits per user and per process.

use std::time::{Duration, Instant};

use super::*;

/// Clients of one process with these limits.
fn clients<const N: usize>(db: &PgPool, limits: &[&str]) -> [Client; N] {
    let router = router_with(app(db), limits);
    std::array::from_fn(|_| Client { router: router.clone(), ..Client::new(db) })
}

fn retry_after(reply: &Reply) -> u64 {
    reply.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

/// Locks a task, so that commands on it wait until the transaction ends.
async fn lock(db: &PgPool, task: &Value) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut tx = db.begin().await.unwrap();
    sqlx::query("select from tasks where id = $1::uuid for update").bind(id(task)).execute(&mut *tx).await.unwrap();
    tx
}

/// Starts `count` changes of a locked task, and waits until they run or queue.
async fn crowd(client: &Client, task: &Value, count: usize) -> tokio::task::JoinSet<Reply> {
    let mut crowd = tokio::task::JoinSet::new();
    let path = path(task);
    for index in 0..count {
        let (client, path) = (client.clone(), path.clone());
        crowd.spawn(async move { client.patch(&path, json!({"title": format!("title {index}")})).await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    crowd
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_user_over_the_rate_gets_a_429_and_others_are_served(db: PgPool) {
    let [ada, ben] = clients(&db, &["--user-requests-per-second", "2"]);
    let mut refused = None;
    for _ in 0..60 {
        let reply = ada.post("/v1/tasks", json!({"title": "a"})).await;
        if reply.status != StatusCode::CREATED {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("a user over the rate is refused");
    assert_eq!(
        (refused.status, refused.body["type"].as_str()),
        (StatusCode::TOO_MANY_REQUESTS, Some("urn:punctual:problem:too-many-requests"))
    );
    let wait = retry_after(&refused);
    assert!((1..=2).contains(&wait), "{wait}");
    let made: i64 = sqlx::query_scalar("select count(*) from tasks").fetch_one(&db).await.unwrap();
    assert!((10..40).contains(&made), "a burst is five times the rate: {made}");
    ben.post("/v1/tasks", json!({"title": "b"})).await.expect(201);
    tokio::time::sleep(Duration::from_secs(wait)).await;
    ada.get("/v1/tasks").await.expect(200);
    // A request without a token is not counted.
    let nobody = Client { token: None, ..ada };
    for _ in 0..30 {
        nobody.get("/v1/tasks").await.expect(401);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_users_queue_leaves_connections_to_others(db: PgPool) {
    let [ada, ben] = clients(&db, &["--user-requests-at-a-time", "2", "--user-requests-waiting", "4"]);
    let task = ada.task(json!({"title": "hot"})).await;
    let hold = lock(&db, &task).await;
    let mut crowd = crowd(&ada, &task, 10).await;
    let began = Instant::now();
    ben.post("/v1/tasks", json!({"title": "b"})).await.expect(201);
    assert!(began.elapsed() < Duration::from_secs(1), "took {:?}", began.elapsed());
    // Of the ten requests, two run and four queue. The others are refused at once.
    for _ in 0..4 {
        let refused = crowd.join_next().await.unwrap().unwrap();
        assert_eq!((refused.status, retry_after(&refused)), (StatusCode::TOO_MANY_REQUESTS, 2));
    }
    hold.rollback().await.unwrap();
    for reply in crowd.join_all().await {
        reply.expect(200);
    }
    assert_eq!(ada.get(&path(&task)).await.expect(200)["version"], 7);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_process_at_its_limit_gets_a_503_and_recovers(db: PgPool) {
    let [ada, ben] = clients(&db, &["--requests-in-flight", "2"]);
    let task = ada.task(json!({"title": "hot"})).await;
    let hold = lock(&db, &task).await;
    let crowd = crowd(&ada, &task, 2).await;
    let refused = ben.post("/v1/tasks", json!({"title": "b"})).await;
    assert_eq!((refused.status, retry_after(&refused)), (StatusCode::SERVICE_UNAVAILABLE, 1));
    assert_eq!(refused.body["type"], "urn:punctual:problem:overloaded");
    hold.rollback().await.unwrap();
    assert_eq!(crowd.join_all().await.len(), 2);
    ben.post("/v1/tasks", json!({"title": "b"})).await.expect(201);
}
