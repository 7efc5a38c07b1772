//! An invalid request is refused with every invalid part named, and has no effect.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sqlx::Connection as _;

use super::*;

/// Bodies that create refuses, with the pointers of their invalid fields.
fn invalid_bodies() -> Vec<(Value, Vec<&'static str>)> {
    let title = |rest: Value| {
        let mut body = rest;
        body["title"] = json!("a");
        body
    };
    let many = |n: usize, item: Value| Value::Array(vec![item; n]);
    vec![
        (json!({}), vec!["#/title"]),
        (json!({"title": null}), vec!["#/title"]),
        (json!({"title": 7}), vec!["#/title"]),
        (json!({"title": ""}), vec!["#/title"]),
        (json!({"title": " \t\n"}), vec!["#/title"]),
        (json!({"title": "x".repeat(501)}), vec!["#/title"]),
        (json!({"title": "a\u{0}b"}), vec!["#/title"]),
        (title(json!({"description": "x".repeat(10_001)})), vec!["#/description"]),
        (title(json!({"description": "\u{0}"})), vec!["#/description"]),
        (title(json!({"priority": "highest"})), vec!["#/priority"]),
        (title(json!({"priority": 1})), vec!["#/priority"]),
        (title(json!({"due_at": "2031-01-31T09:00:00"})), vec!["#/due_at"]),
        (title(json!({"due_at": "2031-02-30T09:00:00Z"})), vec!["#/due_at"]),
        (title(json!({"due_at": "+12031-01-01T00:00:00Z"})), vec!["#/due_at"]),
        (title(json!({"due_at": 1_700_000_000})), vec!["#/due_at"]),
        (title(json!({"remind_at": "soon"})), vec!["#/remind_at"]),
        (title(json!({"time_zone": "Europe/Atlantis"})), vec!["#/time_zone"]),
        (title(json!({"time_zone": "+02:00"})), vec!["#/time_zone"]),
        (title(json!({"tags": "x"})), vec!["#/tags"]),
        (title(json!({"tags": ["x", 7]})), vec!["#/tags"]),
        (title(json!({"tags": [" "]})), vec!["#/tags"]),
        (title(json!({"tags": ["x".repeat(51)]})), vec!["#/tags"]),
        (title(json!({"tags": ["a\u{0}"]})), vec!["#/tags"]),
        (title(json!({"tags": many(21, json!("x"))})), vec!["#/tags"]),
        (title(json!({"reminders": many(21, json!({"remind_at": "2031-01-01T00:00:00Z"}))})), vec!["#/reminders"]),
        (title(json!({"reminders": [7, {}]})), vec!["#/reminders/0", "#/reminders/1/remind_at"]),
        (title(json!({"reminders": [{"before_due": "PT15M"}]})), vec!["#/reminders/0/before_due"]),
        (title(json!({"reminders": [{"before_due": "15 minutes"}]})), vec!["#/reminders/0/before_due"]),
        (
            title(
                json!({"due_at": "2031-01-01T00:00:00Z", "reminders": [{"remind_at": "2031-01-01T00:00:00Z", "before_due": "PT1H"}]}),
            ),
            vec!["#/reminders/0/remind_at"],
        ),
        (
            title(json!({"reminders": [{"remind_at": "2031-01-01T00:00:00Z", "channels": ["pigeon"], "id": "x"}]})),
            vec!["#/reminders/0/channels", "#/reminders/0/id"],
        ),
        (
            title(json!({"reminders": [{"remind_at": "2031-01-01T00:00:00Z", "channels": []}]})),
            vec!["#/reminders/0/channels"],
        ),
        (title(json!({"recurrence": {"type": "daily"}})), vec!["#/due_at"]),
        (title(json!({"due_at": "2031-01-01T00:00:00Z", "recurrence": "daily"})), vec!["#/recurrence"]),
        (title(json!({"due_at": "2031-01-01T00:00:00Z", "recurrence": {}})), vec!["#/recurrence/type"]),
        (
            title(
                json!({"due_at": "2031-01-01T00:00:00Z", "recurrence": {"type": "hourly", "interval": 0, "anchor": "x", "day": 1}}),
            ),
            vec!["#/recurrence/type", "#/recurrence/interval", "#/recurrence/anchor", "#/recurrence/day"],
        ),
        (
            title(json!({"due_at": "2031-01-01T00:00:00Z", "recurrence": {"type": "daily", "interval": 1000}})),
            vec!["#/recurrence/interval"],
        ),
        (title(json!({"due_at": "2031-01-01T00:00:00Z", "recurrence": {"type": "custom"}})), vec!["#/recurrence/rule"]),
        (
            title(json!({"due_at": "2031-01-01T00:00:00Z", "recurrence": {"type": "custom", "rule": "FREQ=OFTEN"}})),
            vec!["#/recurrence/rule"],
        ),
        (
            title(json!({"user_id": Uuid::nil(), "id": Uuid::nil(), "version": 9})),
            vec!["#/id", "#/user_id", "#/version"],
        ),
        (title(json!({"completed": true, "completed_at": null})), vec!["#/completed", "#/completed_at"]),
        (title(json!({"a/b~c": 1})), vec!["#/a~1b~0c"]),
        (
            json!({"title": "", "priority": 1, "due_at": "x", "time_zone": "x", "tags": 1, "reminders": 1, "recurrence": 1, "x": 1}),
            vec!["#/title", "#/priority", "#/due_at", "#/time_zone", "#/tags", "#/reminders", "#/recurrence", "#/x"],
        ),
    ]
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn create_lists_every_invalid_field_and_has_no_effect(db: PgPool) {
    let ada = Client::new(&db);
    let before = ada.footprint().await;
    for (body, mut invalid) in invalid_bodies() {
        let mut found = ada.with("idempotency-key", "k").post("/v1/tasks", body.clone()).await.invalid_fields();
        found.sort();
        invalid.sort_unstable();
        assert_eq!(found, invalid, "{body}");
    }
    assert_eq!(ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn put_and_patch_refuse_the_same_bodies_and_have_no_effect(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a"})).await;
    let before = ada.footprint().await;
    for (mut body, invalid) in invalid_bodies() {
        if invalid.contains(&"#/remind_at") {
            continue; // only create has this field
        }
        let mut found = ada.put(&path(&task), body.clone()).await.invalid_fields();
        found.sort();
        let mut invalid: Vec<_> = invalid.iter().map(ToString::to_string).collect();
        invalid.sort();
        assert_eq!(found, invalid, "{body}");
        if body.as_object_mut().unwrap().remove("reminders").is_none() && body.get("title").is_some() {
            let mut found = ada.patch(&path(&task), body.clone()).await.invalid_fields();
            found.sort();
            assert_eq!(found, invalid, "{body}");
        }
    }
    let invalid = ada.patch(&path(&task), json!({"reminders": []})).await.invalid_fields();
    assert_eq!(invalid, ["#/reminders"]);
    assert_eq!(
        ada.put(&path(&task), json!({"title": "a", "remind_at": ahead(1)})).await.invalid_fields(),
        ["#/remind_at"]
    );
    assert_eq!(ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_body_that_is_not_json_is_refused(db: PgPool) {
    let ada = Client::new(&db);
    let deep = format!("{{\"title\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for body in ["{", "", "{\"title\": \"a\",}", "\u{feff}{}", &*deep] {
        ada.send(Method::POST, "/v1/tasks", body.to_owned()).await.expect(400);
    }
    ada.send(Method::POST, "/v1/tasks", vec![b'{', b'"', 0xff, b'"', b'}']).await.expect(400);
    for body in ["[]", "7", "null", "\"title\""] {
        assert_eq!(ada.send(Method::POST, "/v1/tasks", body).await.invalid_fields(), ["#"]);
    }
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/json; charset=iso-8859-1",
        "application/json;charset=\"UTF-16\"",
        "",
    ] {
        ada.with("content-type", kind).post("/v1/tasks", json!({"title": "a"})).await.expect(415);
    }
    assert_eq!(ada.footprint().await["tasks"], Value::Null);
    for kind in ["application/json; charset=UTF-8", "Application/JSON;charset=\"utf-8\"", "application/json; version=1"]
    {
        ada.with("content-type", kind).post("/v1/tasks", json!({"title": "a"})).await.expect(201);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_body_over_256_kilobytes_is_refused(db: PgPool) {
    let ada = Client::new(&db);
    let body = json!({"title": "a", "description": "x".repeat(10 << 20)}).to_string();
    ada.send(Method::POST, "/v1/tasks", body).await.expect(413);
    ada.with("content-length", "262145").send(Method::POST, "/v1/tasks", "{}").await.expect(413);
    let just = json!({"title": "a", "description": "x".repeat(10_000), "x": "y".repeat((256 << 10) - 20_000)});
    assert_eq!(ada.post("/v1/tasks", just).await.invalid_fields(), ["#/x"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_query_that_is_not_utf_8_is_refused(db: PgPool) {
    let ada = Client::new(&db);
    for query in ["q=%ff", "tag=caf%e9", "%c3=1", "q=%ed%a0%80"] {
        ada.get(&format!("/v1/tasks?{query}")).await.expect(400);
    }
    ada.get("/v1/tags?cursor=%ff").await.expect(400);
    // U+FFFD itself, and a percent sign that begins no octet, which is taken literally (WHATWG URL, 1.3).
    ada.get("/v1/tasks?q=%ef%bf%bd").await.expect(200);
    ada.get("/v1/tasks?q=100%").await.expect(200);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn unknown_routes_and_methods_are_problems(db: PgPool) {
    let ada = Client::new(&db);
    for path in ["/", "/v1", "/v1/", "/v1/tasks/", "/v1/nothing", "/v2/tasks", "/v1/tasks/x/y/z"] {
        ada.get(path).await.expect(404);
    }
    ada.patch("/v1/tasks", json!({})).await.expect(405);
    ada.post("/v1/me", json!({})).await.expect(405);
    ada.post("/v1/tasks/x", json!({})).await.expect(405);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_command_without_fields_refuses_a_body_with_fields(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a"})).await;
    let complete = format!("{}/complete", path(&task));
    assert_eq!(ada.post(&complete, json!({"completed_at": ahead(-1)})).await.invalid_fields(), ["#/completed_at"]);
    ada.with("content-type", "text/plain").post(&complete, json!({})).await.expect(415);
    ada.send(Method::POST, &complete, "{").await.expect(400);
    assert_eq!(ada.get(&path(&task)).await.expect(200), task);
    ada.with("content-type", "text/plain").post(&complete, json!(null)).await.expect(200);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_list_names_every_invalid_parameter(db: PgPool) {
    let ada = Client::new(&db);
    for (query, invalid) in [
        ("limit=0", vec!["limit"]),
        ("limit=101", vec!["limit"]),
        ("limit=1000000000", vec!["limit"]),
        ("limit=-1", vec!["limit"]),
        ("limit=5&limit=6", vec!["limit"]),
        ("cursor=AAAA", vec!["cursor"]),
        ("cursor=%00", vec!["cursor"]),
        ("cursor=Y3JlYXRlZF9hdCA5OTk5OTk5OTk5OTk5OTk5OTk5IDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw", vec!["cursor"]),
        (
            "status=done&priority=x&due_before=x&due_after=2031&sort=title&q=%20&nothing=1",
            vec!["status", "sort", "priority", "due_before", "due_after", "q", "nothing"],
        ),
        ("q=a%00b", vec!["q"]),
    ] {
        assert_eq!(ada.get(&format!("/v1/tasks?{query}")).await.invalid_fields(), invalid, "{query}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn text_with_special_characters_is_stored_and_found_as_it_is(db: PgPool) {
    let ada = Client::new(&db);
    for text in ["'; drop table tasks; --", "%s%n{}", "\u{202e}\u{1f4a9}", "a & b | !c:* <-> d", "(((", "\\"] {
        let task = ada.task(json!({"title": text, "tags": [text]})).await;
        assert_eq!(task["title"], text);
        let query: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        ada.get(&format!("/v1/tasks?q={query}&tag={query}")).await.expect(200);
    }
}

#[tokio::test]
async fn a_database_outage_is_a_503_without_details() {
    let nowhere = "postgres://secret:secret@127.0.0.1:1/secret".parse().unwrap();
    let pool = sqlx::postgres::PgPoolOptions::new().acquire_timeout(std::time::Duration::from_millis(200));
    let ada = Client::new(&pool.connect_lazy_with(nowhere));
    for reply in [ada.get("/v1/tasks").await, ada.post("/v1/tasks", json!({"title": "a"})).await] {
        assert_eq!(reply.headers["retry-after"], "2");
        assert!(!reply.expect(503).to_string().contains("secret"));
    }
}

/// Administers the database of a test from another database, as a restore does.
async fn administer(db: &PgPool, statements: &[&str]) {
    let options = db.connect_options();
    let name = options.get_database().unwrap();
    let mut admin = sqlx::PgConnection::connect_with(&(*options).clone().database("postgres")).await.unwrap();
    for statement in statements {
        let statement = sqlx::AssertSqlSafe(statement.replace("THIS", name));
        sqlx::query(statement).execute(&mut admin).await.unwrap();
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_database_that_is_being_restored_is_an_outage(db: PgPool) {
    let ada = Client::new(&db);
    ada.task(json!({"title": "before"})).await;
    let close = [
        "alter database \"THIS\" allow_connections false",
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'THIS'",
    ];
    administer(&db, &close).await;
    let check_outage = async || {
        for reply in [ada.get("/v1/tasks").await, ada.post("/v1/tasks", json!({"title": "meanwhile"})).await] {
            assert_eq!(reply.headers.get("retry-after").unwrap(), "2", "{reply:?}");
            reply.expect(503);
        }
    };
    check_outage().await; // 55000
    administer(&db, &["alter database \"THIS\" rename to \"aside THIS\""]).await;
    check_outage().await; // 3D000
    let open = ["alter database \"aside THIS\" rename to \"THIS\"", "alter database \"THIS\" allow_connections true"];
    administer(&db, &open).await;
    assert_eq!(ada.get("/v1/tasks").await.expect(200)["items"].as_array().unwrap().len(), 1);
}

/// Every text of JSONTestSuite as a body, and as a value in one. A text with half a surrogate pair is refused for that before its end is read.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn bodies_are_parsed_as_rfc_8259_specifies(db: PgPool) {
    const HALF_A_PAIR: [&str; 2] = ["n_string_1_surrogate_then_escape", "n_string_incomplete_surrogate_escape_invalid"];
    let ada = Client::new(&db);
    let mut unexpected = Vec::new();
    let files: Vec<_> =
        include_str!("json.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(files.len(), 316);
    for file in files {
        let (name, text) = file.split_once(' ').unwrap_or((file, ""));
        let text = BASE64_STANDARD.decode(text).unwrap();
        let inside = [&br#"{"title": "a", "tags": "#[..], &text, b"}"].concat();
        for body in [text, inside] {
            let status = ada.send(Method::POST, "/v1/tasks", body).await.status.as_u16();
            let is_expected = match name.as_bytes()[0] {
                b'y' => [201, 422].contains(&status),
                b'n' => status == 400 || status == 422 && HALF_A_PAIR.contains(&name),
                _ => [201, 400, 422].contains(&status),
            };
            if !is_expected {
                unexpected.push((name, status));
            }
        }
    }
    assert_eq!(unexpected, []);
}
