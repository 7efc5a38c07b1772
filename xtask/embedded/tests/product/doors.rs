//! Every event and job route, collected from the sources and the subscriptions: only daprd is authorized, and a refused call has no
//! effect. A new route is covered without a change here.

use std::{collections::BTreeSet, fs, path::Path};

use shared::{catalogue::EventType, schema::TaskUpdated};

use super::*;

/// The routes for Dapr: those in `.route("…")` of the sources, and the targets in `dapr/subscriptions`.
fn routes() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut routes = BTreeSet::new();
    let mut sources: Vec<_> = fs::read_dir(root.join("functions")).unwrap().map(|dir| dir.unwrap().path()).collect();
    while let Some(path) = sources.pop() {
        if path.is_dir() {
            sources.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(path).unwrap();
            routes.extend(text.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    for file in fs::read_dir(root.join("dapr/subscriptions")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let path = |line: &str| line.trim().trim_start_matches("- ").strip_prefix("path: ").map(str::to_owned);
        let default = |line: &str| line.trim().strip_prefix("default: ").map(str::to_owned);
        routes.extend(text.lines().filter_map(|line| path(line).or_else(|| default(line))));
    }
    // The routes of clients are not Dapr's, and the route for ignored types has no effect.
    let is_others = |route: &str| {
        ["/v1/", "/openapi.json", "/a/", "/docs", "/events/_ignore"].iter().any(|others| route.starts_with(others))
    };
    routes.retain(|route| route.starts_with('/') && !is_others(route));
    routes
}

async fn call(product: &Router, path: &str, token: Option<&str>, kind: &str, body: &str) -> StatusCode {
    let mut request = Request::post(path);
    if let Some(token) = token {
        request = request.header("dapr-api-token", token);
    }
    if !kind.is_empty() {
        request = request.header("content-type", kind);
    }
    product.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap().status()
}

/// Every row of every table.
async fn rows(db: &PgPool) -> Value {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'",
    )
    .fetch_all(db)
    .await
    .unwrap();
    let mut all = json!({});
    for table in tables {
        let statement = format!("select coalesce(jsonb_agg(t order by t::text), '[]') from {table} t");
        all[table] = sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_one(db).await.unwrap();
    }
    all
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn only_daprd_is_authorized_on_event_and_job_routes(db: PgPool) {
    let app = testing::app(&db);
    let product = product(&app);
    let user = testing::user(&db).await;
    let task = testing::task(&db, user).await;
    let reminder = testing::reminder(&db, &task, chrono::Utc::now() - chrono::TimeDelta::hours(1)).await;
    let event = testing::emitted(&db, &TaskUpdated { task }).await.to_string();
    let job = json!({"reminder_id": reminder, "version": 1, "due_at": chrono::Utc::now()}).to_string();

    let routes = routes();
    let known = EventType::ALL.into_iter().map(|kind| format!("/events/{}", kind.consumer()));
    let known = known.chain(
        ["/job/reminder-{key}", "/job/delivery-{key}", "/job/retention", "/job/arming", "/send-now"].map(str::to_owned),
    );
    for route in known.chain(["/events/dead-letters/{function}".to_owned()]) {
        assert!(routes.contains(&route), "{route} was not found among {routes:?}");
    }
    let before = rows(&db).await;
    let near = [&testing::TOKEN[1..], &testing::TOKEN[..testing::TOKEN.len() - 1], &testing::TOKEN.to_uppercase()];
    let near = near.map(str::to_owned);
    let longer = format!("{}x", testing::TOKEN);
    let wrong = [None, Some(""), Some("x"), Some(longer.as_str())];
    let large = "x".repeat(40 << 20);
    for route in &routes {
        let path = route.replace("{key}", &format!("{reminder}-1")).replace("{function}", "task-updated");
        for token in wrong.into_iter().chain(near.iter().map(|near| Some(near.as_str()))) {
            // Authorization comes before the body is read, whatever it is.
            for (kind, body) in [
                ("application/cloudevents+json", event.as_str()),
                ("application/json", &job),
                ("application/json", "{"),
                ("", ""),
                ("text/plain", "x"),
                ("application/json", if token.is_none() { large.as_str() } else { "" }),
            ] {
                let status = call(&product, &path, token, kind, body).await;
                assert_eq!(status, 503, "{path} with {token:?} and {} bytes", body.len());
            }
        }
    }
    assert!(rows(&db).await == before, "a refused call had an effect");

    // With the token, each route exists and has an effect.
    for route in &routes {
        let path = route.replace("{key}", &format!("{reminder}-1")).replace("{function}", "task-updated");
        let body = if route.starts_with("/events") { &event } else { &job };
        let status = call(&product, &path, Some(testing::TOKEN), "application/json", body).await;
        // Two routes need a daprd first, which does not run here.
        let needs_daprd = ["/events/task-updated", "/job/arming"].contains(&route.as_str());
        assert!(status == 200 || status == 503 && needs_daprd, "{path} answered {status}");
    }
    assert!(rows(&db).await != before);
}
