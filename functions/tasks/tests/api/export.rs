//! An export has everything of its user, and says when it is complete.

use super::*;

/// The lines of a kind.
fn of<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter_map(|line| line.get(kind)).collect()
}

async fn lines(client: &Client, path: &str) -> Vec<Value> {
    client.get(path).await.expect(200).as_array().unwrap().clone()
}

/// A user with `tasks` tasks, an entry of history for each, and deliveries.
async fn ada_with(db: &PgPool, tasks: usize) -> Client {
    let ada = Client::new(db);
    for n in 0..tasks {
        ada.task(json!({"title": format!("task {n}"), "tags": ["home"], "remind_at": ahead(2)})).await;
    }
    sqlx::query("insert into audit_logs (user_id, task_id, action) select user_id, id, 'task.created' from tasks")
        .execute(db)
        .await
        .unwrap();
    deliveries::insert(db, ada.user.id, 3).await;
    ada.post("/v1/push-subscriptions", push::device(&format!("https://fcm.googleapis.com/{}", ada.user.id)))
        .await
        .expect(201);
    ada
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_export_has_each_object_of_its_user_once_and_ends_with_their_number(db: PgPool) {
    let ada = ada_with(&db, 3).await;
    let bob = ada_with(&db, 1).await;
    let changed = &ada.get("/v1/tasks?limit=1").await.expect(200)["items"][0];
    ada.patch(&path(changed), json!({"title": "changed"})).await.expect(200);
    let reply = ada.get("/v1/export").await;
    assert_eq!(
        (&reply.headers["content-type"], &reply.headers["cache-control"]),
        (&"application/x-ndjson".parse().unwrap(), &"no-store".parse().unwrap())
    );
    let lines = reply.expect(200).as_array().unwrap().clone();
    assert_eq!(lines[0], json!({"me": ada.get("/v1/me").await.expect(200)}));
    let tasks = ada.get("/v1/tasks").await.expect(200);
    assert_eq!(of(&lines, "task"), tasks["items"].as_array().unwrap().iter().collect::<Vec<_>>());
    let history = of(&lines, "history");
    let of_tasks: std::collections::BTreeSet<_> =
        history.iter().map(|entry| entry["task_id"].as_str().unwrap()).collect();
    // Bob's entry was written for each of Ada's tasks again.
    assert_eq!((history.len(), of_tasks.len()), (6, 3));
    let [version] = of(&lines, "version")[..] else { panic!("{lines:?}") };
    assert_eq!((&version["task_id"], &version["content"]["title"]), (&changed["id"], &changed["title"]));
    assert_eq!(of(&lines, "delivery").len(), 3);
    let devices = ada.get("/v1/push-subscriptions").await.expect(200);
    assert_eq!(of(&lines, "push_subscription"), [&devices["items"][0]]);
    assert_eq!(lines.last(), Some(&json!({"end": true, "count": 1 + 3 + 6 + 1 + 3 + 1})));
    assert!(!json!(lines).to_string().contains(&bob.user.id.to_string()));
    let nobody = self::lines(&Client::new(&db), "/v1/export").await;
    assert_eq!((nobody.len(), &nobody[1]), (2, &json!({"end": true, "count": 1})));
}

/// 250 tasks are three pages.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_export_of_many_pages_has_each_task_once_although_others_are_created_and_deleted(db: PgPool) {
    let ada = Client::new(&db);
    ada.task(json!({"title": "first"})).await;
    sqlx::query(
        "insert into tasks (user_id, title, created_at) select $1, n::text, now() + make_interval(secs => n / 7) from generate_series(1, 250) n",
    )
    .bind(ada.user.id)
    .execute(&db)
    .await
    .unwrap();
    let lines = lines(&ada, "/v1/export").await;
    let mut ids: Vec<_> = of(&lines, "task").into_iter().map(id).collect();
    assert_eq!(ids.len(), 251);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 251);
    assert_eq!(lines.last(), Some(&json!({"end": true, "count": 252})));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn where_answers_are_limited_an_export_is_continued_part_by_part(db: PgPool) {
    let ada = ada_with(&db, 3).await;
    let whole = lines(&ada, "/v1/export").await;
    let mut config = TasksConfig::try_parse_from(["test", "--vapid-public-keys", VAPID_KEY]).unwrap();
    config.export_bytes = Some(1);
    let auth = Auth::new(AuthConfig::try_parse_from(["test", "--jwt-secret", SECRET]).unwrap()).unwrap();
    let limited = Client { router: tasks::configured(app(&db), auth, &config), ..ada.clone() };
    let (mut parts, mut path) = (Vec::new(), "/v1/export".to_owned());
    let last = loop {
        let mut part = lines(&limited, &path).await;
        let last = part.pop().unwrap();
        assert_eq!(last["count"], part.len());
        parts.extend(part);
        if last["end"] == true {
            break last;
        }
        path = format!("/v1/export?cursor={}", last["next_cursor"].as_str().unwrap());
    };
    assert_eq!(parts, whole[..whole.len() - 1]);
    assert_eq!(last["next_cursor"], Value::Null);
    for cursor in ["x", "dGFza3M", "dGFza3MgeCB5"] {
        assert_eq!(ada.get(&format!("/v1/export?cursor={cursor}")).await.invalid_fields(), ["cursor"]);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_user_has_one_export_at_a_time_and_keeps_the_place_until_it_is_read(db: PgPool) {
    let ada = Client { router: router(&db), ..ada_with(&db, 1).await };
    let request = || {
        let token = format!("Bearer {}", ada.token.as_ref().unwrap());
        Request::get("/v1/export").header("authorization", token).body(Body::empty()).unwrap()
    };
    let unread = ada.router.clone().oneshot(request()).await.unwrap();
    assert_eq!(unread.status(), StatusCode::OK);
    assert_eq!(ada.get("/v1/export").await.expect(429)["type"], "urn:punctual:problem:too-many-requests");
    // Other requests go on, and so does another user's export.
    ada.get("/v1/tasks").await.expect(200);
    let bob = Client { router: ada.router.clone(), ..Client::new(&db) };
    bob.get("/v1/export").await.expect(200);
    drop(unread);
    assert_eq!(lines(&ada, "/v1/export").await.last().unwrap()["end"], true);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_export_that_breaks_has_no_last_line(db: PgPool) {
    let ada = ada_with(&db, 1).await;
    let request = Request::get("/v1/export").header("authorization", format!("Bearer {}", ada.token.as_ref().unwrap()));
    let response = ada.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    sqlx::query("alter table notification_deliveries rename column attempts to tries").execute(&db).await.unwrap();
    assert!(to_bytes(response.into_body(), 10 << 20).await.is_err());
}
