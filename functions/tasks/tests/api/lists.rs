//! Lists: filters, order, pages.

use super::*;

fn titles(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|task| task["title"].as_str().unwrap()).collect()
}

async fn list(client: &Client, query: &str) -> Vec<String> {
    let page = client.get(&format!("/v1/tasks?{query}")).await.expect(200);
    titles(&page).into_iter().map(str::to_owned).collect()
}

async fn some_tasks(ada: &Client) {
    let mut done = Vec::new();
    for body in [
        json!({"title": "buy milk", "priority": "low", "due_at": "2031-01-01T00:00:00Z", "tags": ["shop"]}),
        json!({"title": "call Bob", "description": "about the milk", "priority": "urgent", "tags": ["phone", "shop"]}),
        json!({"title": "rent", "due_at": "2031-02-01T00:00:00Z"}),
        json!({"title": "taxes", "priority": "high", "due_at": "2030-05-01T00:00:00Z"}),
    ] {
        done.push(ada.task(body).await);
    }
    ada.post(&format!("{}/complete", path(&done[2])), json!(null)).await.expect(200);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn filters_combine(db: PgPool) {
    let ada = Client::new(&db);
    some_tasks(&ada).await;
    for (query, titles) in [
        ("", vec!["buy milk", "call Bob", "rent", "taxes"]),
        ("status=all", vec!["buy milk", "call Bob", "rent", "taxes"]),
        ("status=open", vec!["buy milk", "call Bob", "taxes"]),
        ("status=completed", vec!["rent"]),
        ("priority=medium", vec!["rent"]),
        ("tag=shop", vec!["buy milk", "call Bob"]),
        ("tag=Shop", vec![]),
        ("due_before=2031-01-01T00:00:00Z", vec!["taxes"]),
        ("due_after=2031-01-01T00:00:00%2B01:00", vec!["buy milk", "rent"]),
        ("q=MILK", vec!["buy milk", "call Bob"]),
        ("q=milk+bob", vec!["call Bob"]),
        ("q=milk+rent", vec![]),
        ("q=%21%21", vec![]),
        ("tag=shop&priority=urgent&q=call&status=open", vec!["call Bob"]),
    ] {
        assert_eq!(list(&ada, query).await, titles, "{query}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn lists_sort_both_ways_with_undated_tasks_last(db: PgPool) {
    let ada = Client::new(&db);
    some_tasks(&ada).await;
    for (sort, titles) in [
        ("created_at", vec!["buy milk", "call Bob", "rent", "taxes"]),
        ("-created_at", vec!["taxes", "rent", "call Bob", "buy milk"]),
        ("due_at", vec!["taxes", "buy milk", "rent", "call Bob"]),
        ("-due_at", vec!["rent", "buy milk", "taxes", "call Bob"]),
        ("priority", vec!["buy milk", "rent", "taxes", "call Bob"]),
        ("-priority", vec!["call Bob", "taxes", "rent", "buy milk"]),
    ] {
        assert_eq!(list(&ada, &format!("sort={sort}")).await, titles, "{sort}");
        let mut paged = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = ada.get(&format!("/v1/tasks?sort={sort}&limit=1{cursor}")).await.expect(200);
            paged.extend(super::lists::titles(&page).into_iter().map(str::to_owned));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(paged, titles, "{sort} page by page");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn every_task_is_on_one_page_while_others_are_created(db: PgPool) {
    let ada = Client::new(&db);
    // Many tasks have the same sort key, or none.
    for n in 0..23 {
        let due = (n % 3 > 0).then(|| format!("2031-01-0{}T00:00:00Z", n % 3));
        ada.task(
            json!({"title": format!("old {n}"), "due_at": due, "priority": if n % 2 == 0 { "low" } else { "high" }}),
        )
        .await;
    }
    for sort in ["created_at", "-created_at", "due_at", "-due_at", "priority", "-priority"] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = ada.get(&format!("/v1/tasks?sort={sort}&limit=4{cursor}")).await.expect(200);
            assert!(page["items"].as_array().unwrap().len() <= 4);
            seen.extend(titles(&page).into_iter().filter(|title| title.starts_with("old")).map(str::to_owned));
            ada.task(json!({"title": "new", "due_at": "2031-01-01T00:00:00Z"})).await;
            ada.task(json!({"title": "new"})).await;
            match page["next_cursor"].as_str() {
                Some(next) if seen.len() < 60 => cursor = format!("&cursor={next}"),
                _ => break,
            }
        }
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!((count, seen.len()), (23, 23), "{sort}");
        sqlx::query("delete from tasks where title = 'new'").execute(&db).await.unwrap();
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_cursor_is_refused_for_another_sort(db: PgPool) {
    let ada = Client::new(&db);
    some_tasks(&ada).await;
    let page = ada.get("/v1/tasks?limit=4").await.expect(200);
    assert_eq!(page["next_cursor"], Value::Null, "the page is full and the last");
    let page = ada.get("/v1/tasks?limit=3").await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(ada.get(&format!("/v1/tasks?sort=due_at&cursor={cursor}")).await.invalid_fields(), ["cursor"]);
    assert_eq!(ada.get(&format!("/v1/tasks?cursor={cursor}x")).await.invalid_fields(), ["cursor"]);
    assert_eq!(list(&ada, &format!("cursor={cursor}")).await, ["taxes"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_page_item_is_the_whole_task(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada
        .task(json!({"title": "a", "tags": ["y", "x"], "due_at": ahead(3), "reminders": [{"before_due": "PT1H"}],
                     "recurrence": {"type": "yearly", "interval": 2, "anchor": "completion"}}))
        .await;
    assert_eq!(ada.get("/v1/tasks").await.expect(200), json!({"items": [task], "next_cursor": null}));
}

/// Prints the times of whole requests, each the median of 15. As the role that they run as:
/// `cargo test --release -p tasks --test api -- --ignored --nocapture request_times_of_a_user_with_100_000_tasks`
#[ignore = "measures for a minute, and asserts nothing about the machine"]
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn request_times_of_a_user_with_100_000_tasks(db: PgPool) {
    let ada = Client::new(&db);
    ada.task(json!({"title": "a needle", "tags": ["rare"], "priority": "urgent"})).await;
    ada.task(json!({"title": "first", "tags": ["all"]})).await;
    sqlx::query(
        "insert into tasks (user_id, title, description, search_text, completed, priority, due_at, created_at)
         select $1, title, description, lower(title) || e'\\n' || lower(description), n % 3 = 0,
                (array['low', 'medium', 'medium', 'high'])[1 + n % 4], case when n % 5 > 0 then now() + random() * interval '300 days' end,
                now() - random() * interval '300 days'
         from generate_series(1, 100000) n,
              lateral (select 'Task ' || n || ' of ' || md5(n::text) as title, 'Words about ' || md5((-n)::text) as description) text",
    )
    .bind(ada.user.id)
    .execute(&db)
    .await
    .unwrap();
    sqlx::raw_sql(
        "insert into task_tag_associations select tasks.id, task_tags.id from tasks, task_tags where name = 'all' on conflict do nothing",
    )
    .execute(&db)
    .await
    .unwrap();
    sqlx::raw_sql(
        "with tag as (insert into task_tags (id, user_id, name) select gen_random_uuid(), user_id, 'late' from task_tags where name = 'all' returning id)
         insert into task_tag_associations select tasks.id, tag.id from tasks, tag order by created_at desc limit 2001",
    )
    .execute(&db)
    .await
    .unwrap();
    sqlx::raw_sql("vacuum analyze").execute(&db).await.unwrap();
    for query in [
        "",
        "sort=-created_at",
        "sort=due_at",
        "sort=-due_at",
        "sort=priority",
        "sort=-priority",
        "sort=-due_at&status=open",
        "sort=priority&status=completed",
        "priority=urgent",
        "tag=rare",
        "tag=all&sort=-due_at",
        "tag=late",
        "tag=late&sort=priority&status=open",
        "q=needle",
        "q=nothing",
        "q=task+words",
        "q=needle&status=open&sort=-due_at",
    ]
    .map(|query| format!("/v1/tasks?{query}"))
    .into_iter()
    .chain(["/v1/tags".to_owned()])
    {
        let mut times = Vec::new();
        for _ in 0..15 {
            let began = std::time::Instant::now();
            ada.get(&query).await.expect(200);
            times.push(began.elapsed());
        }
        times.sort();
        println!("{:>6.1} ms  {query}", times[7].as_secs_f64() * 1_000.0);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn tasks_are_read_by_their_ids_in_the_order_asked_for(db: PgPool) {
    let (ada, bob) = (Client::new(&db), Client::new(&db));
    let mut tasks = Vec::new();
    for n in 0..3 {
        tasks.push(ada.task(json!({"title": format!("task {n}")})).await);
    }
    let [a, b, c] = [0, 1, 2].map(|n| id(&tasks[n]));
    let of_bob = id(&bob.task(json!({"title": "bob's"})).await);
    let missing = Uuid::new_v4();
    let page = ada.get(&format!("/v1/tasks?id={c},{missing},{a},{of_bob},{c}")).await.expect(200);
    assert_eq!(page, json!({"items": [tasks[2], tasks[0]], "next_cursor": null}));
    assert_eq!(
        ada.get(&format!("/v1/tasks?id={missing}")).await.expect(200),
        json!({"items": [], "next_cursor": null})
    );

    let many = |count: usize| (0..count).map(|_| Uuid::new_v4().to_string()).collect::<Vec<_>>().join(",");
    ada.get(&format!("/v1/tasks?id={}", many(50))).await.expect(200);
    for query in [format!("id={}", many(51)), "id=".to_owned(), "id=x".to_owned(), format!("id={a},")] {
        assert_eq!(ada.get(&format!("/v1/tasks?{query}")).await.invalid_fields(), ["id"], "{query}");
    }
    assert_eq!(ada.get(&format!("/v1/tasks?id={a}&status=open")).await.invalid_fields(), ["status"]);
    assert_eq!(ada.get(&format!("/v1/tasks?id={a}&cursor={b}")).await.invalid_fields(), ["cursor"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn tasks_by_their_ids_that_are_too_large_for_one_page_follow_on_the_next(db: PgPool) {
    let ada = Client::new(&db);
    let mut ids = Vec::new();
    for _ in 0..40 {
        // 40 KB each.
        ids.push(id(&ada.task(json!({"title": "a", "description": "\u{1f600}".repeat(10_000)})).await).to_string());
    }
    let list = ids.join(",");
    let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let page = ada.get(&format!("/v1/tasks?id={list}{cursor}")).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|task| id(task).to_string()));
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((seen, pages), (ids, 7));
}

/// The answer to a read, as it is sent.
async fn raw(client: &Client, path: &str, accepted: &str) -> (HeaderMap, axum::body::Bytes) {
    let request = Request::get(path).header("accept-encoding", accepted);
    let request = request.header("authorization", format!("Bearer {}", client.token.as_deref().unwrap()));
    let answer = client.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let (head, body) = answer.into_parts();
    (head.headers, axum::body::to_bytes(body, usize::MAX).await.unwrap())
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_long_answer_is_compressed_for_whom_accepts_it_unless_it_has_an_etag(db: PgPool) {
    use std::io::Read as _;
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a".repeat(500), "description": "b".repeat(2_000)})).await;
    let (plain, page) = raw(&ada, "/v1/tasks", "identity, gzip;q=0").await;
    assert_eq!(plain.get("content-encoding"), None);
    for accepted in ["gzip", "br, GZip;q=0.5"] {
        let (headers, compressed) = raw(&ada, "/v1/tasks", accepted).await;
        assert_eq!((&headers["content-encoding"], &headers["vary"]), (&"gzip".parse().unwrap(), &plain["vary"]));
        assert!(compressed.len() < page.len() / 4, "{} of {}", compressed.len(), page.len());
        let mut decoded = Vec::new();
        flate2::read::GzDecoder::new(&compressed[..]).read_to_end(&mut decoded).unwrap();
        assert_eq!(decoded, page);
    }
    for path in [path(&task).as_str(), "/v1/tags"] {
        assert_eq!(raw(&ada, path, "gzip").await.0.get("content-encoding"), None, "{path}");
    }
}
