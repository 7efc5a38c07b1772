//! Hostile and unusual input at the edge: bounded work and answers, strict formats, text as Unicode defines it.

use shared::testing::Memory;

use super::{operations::Operation, *};

const AT: &str = "2031-01-01T09:00:00Z";

/// An object of almost 256 KB: as many unknown fields as fit.
fn unknown_fields() -> String {
    let fields: Vec<String> = (0..25_000).map(|n| format!("\"{n:05x}\":{}", n % 10)).collect();
    format!("{{{}}}", fields.join(","))
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn three_hostile_bodies_get_small_answers_and_take_little_memory(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "due_at": AT, "recurrence": {"type": "daily"}})).await;
    let list = format!("{{\"title\":\"a\",\"tags\":[{}]}}", vec!["1"; 125_000].join(","));
    let long = format!("{{\"recurrence\":{{\"rule\":\"{}\"}}}}", "x".repeat(250_000));
    for (method, path, body) in [
        (Method::POST, "/v1/tasks".to_owned(), unknown_fields()),
        (Method::PATCH, path(&task), format!("{{\"recurrence\":{}}}", unknown_fields())),
        (Method::PUT, path(&task), list),
        (Method::PATCH, path(&task), long),
    ] {
        let bodies = [body.clone(), body.clone(), body];
        assert!(bodies.iter().all(|body| (200 << 10..256 << 10).contains(&body.len())));
        let memory = Memory::now();
        let requests = bodies.map(|body| {
            let (ada, method, path) = (ada.clone(), method.clone(), path.clone());
            tokio::spawn(async move { ada.send(method, &path, body).await })
        });
        for request in requests {
            let answer = request.await.unwrap().expect(422).to_string();
            assert!(answer.len() <= 16 << 10, "{method} {path}: {} bytes", answer.len());
        }
        let growth = memory.growth() >> 20;
        assert!(growth < 20, "{method} {path}: {growth} MB");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn problems_list_at_most_twenty_errors_and_count_the_others(db: PgPool) {
    let ada = Client::new(&db);
    let name = |n: u32| format!("\u{1}\u{10ffff}{n}{}", "\u{1}".repeat(150));
    let body: serde_json::Map<String, Value> = (0..250).map(|n| (name(n), json!(1))).collect();
    let problem = ada.post("/v1/tasks", Value::Object(body)).await.expect(422);
    assert!(problem.to_string().len() <= 16 << 10, "{} bytes", problem.to_string().len());
    assert_eq!(problem["errors"].as_array().unwrap().len(), 20);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("251 fields") && detail.contains("231 more"), "{detail}");

    for query in [
        format!("{}=1", "y".repeat(8_000)),
        (0..1_000).map(|n| format!("p{n}=1&")).collect(),
        (0..300).map(|n| format!("{n}{}=1&", "%01".repeat(20))).collect(),
        format!("sort={0}&status={0}&cursor={0}&q={0}&due_after={0}&priority={0}", "z".repeat(1_300)),
    ] {
        for list in ["/v1/tasks", "/v1/tags"] {
            let problem = ada.get(&format!("{list}?{query}")).await.expect(422);
            assert!(problem.to_string().len() <= 16 << 10, "{} bytes", problem.to_string().len());
        }
    }
    for path in [format!("/v1/tasks/{}", "y".repeat(8_000)), format!("/{}", "y".repeat(8_000))] {
        assert!(ada.get(&path).await.expect(404).to_string().len() < 1_000);
    }
    let long = ada.with("if-match", "y".repeat(8_000)).with("idempotency-key", "y".repeat(8_000));
    assert!(long.post("/v1/tasks", json!({"title": "a"})).await.expect(422).to_string().len() < 1_000);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_field_that_is_given_twice_is_refused_at_any_depth(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a"})).await;
    let before = ada.footprint().await;
    for (body, pointer) in [
        (r#"{"title":"first","title":"second"}"#, "#/title"),
        (r#"{"title":"a","t\u0069tle":"a"}"#, "#/title"),
        (r#"{"title":"a","due_at":null,"due_at":null}"#, "#/due_at"),
        (r#"{"title":"a","nothing":1,"nothing":1}"#, "#/nothing"),
        (r#"{"title":"a","recurrence":{"type":"daily","type":"daily"}}"#, "#/recurrence/type"),
        (
            r#"{"title":"a","reminders":[{"remind_at":"2031-01-01T09:00:00Z"},{"channels":[],"channels":[]}]}"#,
            "#/reminders/1/channels",
        ),
        (r#"{"title":"a","x":[[{"a/b":{"~":1,"~":2}}]]}"#, "#/x/0/0/a~1b/~0"),
    ] {
        assert_eq!(ada.send(Method::POST, "/v1/tasks", body).await.invalid_fields(), [pointer], "{body}");
        assert_eq!(ada.send(Method::PUT, &path(&task), body).await.invalid_fields(), [pointer], "{body}");
        assert_eq!(ada.send(Method::PATCH, &path(&task), body).await.invalid_fields(), [pointer], "{body}");
    }
    let complete = format!("{}/complete", path(&task));
    assert_eq!(ada.send(Method::POST, &complete, r#"{"x":1,"x":1}"#).await.invalid_fields(), ["#/x"]);
    assert_eq!(ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn json_values_that_cannot_be_stored_are_refused_with_their_pointer(db: PgPool) {
    let ada = Client::new(&db);
    for (body, pointer) in [
        (r#"{"title":"\ud800"}"#, "#/title"),
        (r#"{"title":"a\udc00b"}"#, "#/title"),
        (r#"{"title":"\ud800x"}"#, "#/title"),
        (r#"{"title":"\ud800\n"}"#, "#/title"),
        (r#"{"title":"\ud800\ud800"}"#, "#/title"),
        (r#"{"title":"a","tags":["x","\udfff"]}"#, "#/tags/1"),
        (r#"{"title":"a","reminders":[{"remind_at":"\ud800"}]}"#, "#/reminders/0/remind_at"),
        (r#"{"title":"a","\ud800":1}"#, "#"),
        (r#"{"title":1e400}"#, "#/title"),
        (r#"{"title":"a","recurrence":{"interval":-1e999}}"#, "#/recurrence/interval"),
        (r#"{"title":"a\u0000"}"#, "#/title"),
        ("{\"title\":\"a\u{ffff}\"}", "#/title"),
        (r#"{"title":"a","description":"\ufdd0"}"#, "#/description"),
        (r#"{"title":"a","tags":["\udbff\udffe"]}"#, "#/tags"),
    ] {
        assert_eq!(ada.send(Method::POST, "/v1/tasks", body).await.invalid_fields(), [pointer], "{body}");
    }
    // Broken escapes are no JSON.
    for body in [r#"{"title":"\ud8"#, r#"{"title":"\ud8zz"}"#, r#"{"title":"\x"}"#, r#"{"title":1e}"#] {
        ada.send(Method::POST, "/v1/tasks", body).await.expect(400);
    }
    assert_eq!(ada.task(json!({"title": "\u{1f600}\u{fffd}"})).await["title"], "\u{1f600}\u{fffd}");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_whole_number_may_be_written_with_a_fraction_or_an_exponent(db: PgPool) {
    let ada = Client::new(&db);
    for (written, interval) in [("2", 2), ("2.0", 2), ("2e0", 2), ("0.2E1", 2), ("200e-2", 2), ("99.9e1", 999)] {
        let body = format!(r#"{{"title":"a","due_at":"{AT}","recurrence":{{"type":"daily","interval":{written}}}}}"#);
        let task = ada.send(Method::POST, "/v1/tasks", body).await.expect(201);
        assert_eq!(task["recurrence"]["interval"], interval, "{written}");
    }
    for written in
        ["2.5", "0.0", "-0.0", "-1", "1e3", "999.5", "1e300", "4294967297", "18446744073709551617", "\"2\"", "true"]
    {
        let body = format!(r#"{{"title":"a","due_at":"{AT}","recurrence":{{"type":"daily","interval":{written}}}}}"#);
        let problem = ada.send(Method::POST, "/v1/tasks", body).await;
        assert_eq!(problem.body["errors"][0]["detail"], "must be a whole number from 1 to 999", "{written}");
        assert_eq!(problem.invalid_fields(), ["#/recurrence/interval"]);
    }
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    let snooze = format!("/v1/reminders/{}/snooze", id(&task["reminders"][0]));
    ada.send(Method::POST, &snooze, r#"{"minutes":5.0}"#).await.expect(200);
    assert_eq!(ada.send(Method::POST, &snooze, r#"{"minutes":5.5}"#).await.invalid_fields(), ["#/minutes"]);
}

/// RFC 3339, section 5.6, and the date-times of JSON-Schema-Test-Suite.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn every_time_is_parsed_as_rfc_3339_specifies(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    let snooze = format!("/v1/reminders/{}/snooze", id(&task["reminders"][0]));
    for (written, at) in [
        ("2031-06-19T08:30:06.283185Z", "2031-06-19T08:30:06.283185Z"),
        ("2031-06-19t08:30:06.283185z", "2031-06-19T08:30:06.283185Z"),
        ("2031-06-19T08:30:06.5+00:20", "2031-06-19T08:10:06.500Z"),
        ("2031-12-31T15:59:50.123-08:00", "2031-12-31T23:59:50.123Z"),
        ("2031-01-01T00:00:00-00:00", "2031-01-01T00:00:00Z"),
        ("2031-01-01T00:00:00+23:59", "2030-12-31T00:01:00Z"),
        ("2032-02-29T00:00:00Z", "2032-02-29T00:00:00Z"),
        ("2031-01-01T00:00:00.123456789012345678901234567890Z", "2031-01-01T00:00:00.123456Z"),
        // A leap second, as POSIX counts it.
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("1998-12-31T15:59:60.5-08:00", "1999-01-01T00:00:00.500Z"),
    ] {
        let body = json!({"title": "a", "due_at": written, "remind_at": written});
        let task = ada.task(body).await;
        assert_eq!((&task["due_at"], &task["reminders"][0]["remind_at"]), (&json!(at), &json!(at)), "{written}");
        let escaped = written.replace('+', "%2B");
        ada.get(&format!("/v1/tasks?due_before={escaped}&due_after={escaped}")).await.expect(200);
    }
    for written in [
        "2030-06-15T12:30:60Z",
        "2030-06-15T23:59:60Z",
        "2030-12-31T23:59:61Z",
        "2030-12-31T23:58:60Z",
        "2030-12-31T22:59:60Z",
        "2030-12-31T23:59:60+01:00",
        "9999-12-31T23:59:60Z",
        "1969-12-31T23:59:60Z",
        "2031-01-01 09:00:00Z",
        "2031-01-01_09:00:00Z",
        "2031-01-01T09:00:00\u{2212}02:00",
        "2031-01-01T09:00:00 +02:00",
        "2031-01-01T09:00:00+24:00",
        "2031-01-01T09:00:00-02:60",
        "2031-01-01T09:00:00+0200",
        "2031-01-01T09:00:00+02",
        "2031-01-01T09:00:00+02:00Z",
        "2031-01-01T09:00:00",
        "2031-01-01T09:00Z",
        "2031-01-01T24:00:00Z",
        "2031-01-01T09:60:00Z",
        "2031-01-01T09:00:00.Z",
        "2031-01-01T09:00:00,5Z",
        "2031-1-01T09:00:00Z",
        "31-01-01T09:00:00Z",
        "+2031-01-01T09:00:00Z",
        "-0001-01-01T09:00:00Z",
        "12031-01-01T09:00:00Z",
        "0000-01-01T09:00:00Z",
        "2031-00-01T09:00:00Z",
        "2031-02-29T09:00:00Z",
        "2031-001T09:00:00Z",
        "20310101T090000Z",
        "2031-W01-1T09:00:00Z",
        "2031-01-01",
        " 2031-01-01T09:00:00Z",
        "2031-01-01T09:00:00Z ",
        "2031-01-01T09:00:00Z\n",
        "2031-01-01T09:00:0\u{09ea}Z",
        "２031-01-01T09:00:00Z",
        "2031-01-01T09:00:00UTC",
    ] {
        let body = json!({"title": "a", "due_at": written, "reminders": [{"remind_at": written}]});
        let invalid = ada.post("/v1/tasks", body).await.invalid_fields();
        assert_eq!(invalid, ["#/due_at", "#/reminders/0/remind_at"], "{written}");
        assert_eq!(ada.post(&snooze, json!({"until": written})).await.invalid_fields(), ["#/until"], "{written}");
        let escaped: String = written.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let query = format!("/v1/tasks?due_before={escaped}&due_after={escaped}");
        assert_eq!(ada.get(&query).await.invalid_fields(), ["due_before", "due_after"], "{written}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_duration_is_parsed_as_iso_8601_specifies(db: PgPool) {
    let ada = Client::new(&db);
    let body = |before: &str| json!({"title": "a", "due_at": AT, "reminders": [{"before_due": before}]});
    for text in ["PT15M", "P1D", "P1W", "P1DT30M", "PT1.5H", "PT0,5S", "PT0S", "P366D"] {
        assert_eq!(ada.task(body(text)).await["reminders"][0]["before_due"], text);
    }
    for text in [
        "pt15m",
        "PT15m",
        "P1d",
        "-PT15M",
        "+PT15M",
        "PT+15M",
        "PT-15M",
        "P1DT",
        "P 1D",
        "PT15M ",
        " PT15M",
        "P1DT2",
        "15M",
        "PT15 minutes",
        "PT1\u{ff15}M",
        "P367D",
        "P1M",
        "P1Y",
        "P",
        "PT",
        "",
    ] {
        let invalid = ada.post("/v1/tasks", body(text)).await.invalid_fields();
        assert_eq!(invalid, ["#/reminders/0/before_due"], "{text}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn invisible_text_counts_as_empty(db: PgPool) {
    let ada = Client::new(&db);
    for blank in [
        "\u{200b}",
        "\u{200c}",
        "\u{200d}",
        "\u{2060}",
        "\u{feff}",
        "\u{ad}",
        "\u{34f}",
        "\u{61c}",
        "\u{180e}",
        "\u{2800}",
        "\u{3164}",
        "\u{ffa0}",
        "\u{115f}\u{1160}",
        "\u{17b4}",
        "\u{202e}",
        "\u{2066}",
        "\u{fe0f}",
        "\u{e0020}",
        "\u{e0100}",
        "\u{1d173}",
        "\u{1d159}",
        "\u{13441}",
        "\u{1}",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{3000}",
        "\u{2028}",
        "\u{fffa}",
        " \u{200b} \u{2800} ",
    ] {
        let body = json!({"title": blank, "tags": [blank]});
        assert_eq!(ada.post("/v1/tasks", body).await.invalid_fields(), ["#/title", "#/tags"], "{blank:?}");
        let escaped: String = blank.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(ada.get(&format!("/v1/tasks?q={escaped}")).await.invalid_fields(), ["q"], "{blank:?}");
    }
    let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
    for text in
        [".", "\u{1f1e9}\u{1f1ea}", family, "\u{301}", "\u{6dd}", "\u{ac00}", "\u{e000}", "\u{fffc}", "\u{200b}a"]
    {
        let task = ada.task(json!({"title": text, "tags": [text]})).await;
        assert_eq!((&task["title"], &task["tags"][0]), (&json!(text), &json!(text)));
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn text_is_stored_and_searched_in_nfc(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada
        .task(json!({"title": "Cafe\u{301}", "description": "\u{212b}", "tags": ["caf\u{e9}", "cafe\u{301}", "Caf\u{e9}"]}))
        .await;
    assert_eq!(task["title"], "Caf\u{e9}");
    assert_eq!(task["description"], "\u{c5}");
    assert_eq!(task["tags"], json!(["Caf\u{e9}", "caf\u{e9}"]), "one tag for each case");
    for query in ["tag=cafe%CC%81", "tag=caf%C3%A9", "q=cafe%CC%81", "q=caf%C3%A9", "q=%E2%84%AB"] {
        let found = ada.get(&format!("/v1/tasks?{query}")).await.expect(200);
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{query}");
    }
    let again = json!({"title": "Caf\u{e9}", "description": "A\u{30a}", "tags": ["cafe\u{301}", "Caf\u{e9}"]});
    assert_eq!(ada.put(&path(&task), again).await.expect(200), task, "the same text changes nothing");
    let patched =
        ada.patch(&path(&task), json!({"title": "Cafe\u{301}", "tags": ["Cafe\u{301}", "cafe\u{301}"]})).await;
    assert_eq!(patched.expect(200), task);
    // A length is counted after that: 1,000 characters become 500, and 251 become 502.
    assert_eq!(ada.task(json!({"title": "e\u{301}".repeat(500)})).await["title"], "\u{e9}".repeat(500));
    ada.task(json!({"title": "\u{958}".repeat(250)})).await;
    assert_eq!(ada.post("/v1/tasks", json!({"title": "\u{958}".repeat(251)})).await.invalid_fields(), ["#/title"]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_body_with_an_unsupported_content_encoding_is_refused(db: PgPool) {
    let ada = Client::new(&db);
    let body = json!({"title": "a"});
    for coding in
        ["gzip", "GZip", "br", "zstd", "deflate", "x-gzip", "identity, gzip", "nonsense", "gzip;q=1", "aws-chunked"]
    {
        let reply = ada.with("content-encoding", coding).post("/v1/tasks", body.clone()).await;
        assert_eq!(
            reply.headers.get("accept-encoding").map(|value| value.to_str().unwrap()),
            Some("identity"),
            "{coding}"
        );
        reply.expect(415);
        // It is not read as JSON before it is refused.
        ada.with("content-encoding", coding).send(Method::POST, "/v1/tasks", vec![0x1f, 0x8b, 8, 0]).await.expect(415);
    }
    let twice = ada.with("content-encoding", "identity").with("content-encoding", "gzip");
    twice.post("/v1/tasks", body.clone()).await.expect(415);
    assert_eq!(ada.footprint().await["tasks"], Value::Null);
    for coding in ["identity", "Identity", "identity, identity", ""] {
        ada.with("content-encoding", coding).post("/v1/tasks", body.clone()).await.expect(201);
    }
    let task = ada.task(body.clone()).await;
    let part = ada.with("content-range", "bytes 0-13/100");
    part.put(&path(&task), body.clone()).await.expect(400);
    part.patch(&path(&task), json!({"title": "b"})).await.expect(400);
    assert_eq!(ada.get(&path(&task)).await.expect(200), task);
    let twice = ada.with("content-type", "application/json").with("content-type", "text/plain");
    twice.post("/v1/tasks", body).await.expect(415);
}

/// RFC 9110, sections 13.1 and 13.2.2.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn preconditions_are_evaluated_in_their_order(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    let (path, reminder) = (path(&task), format!("/v1/reminders/{}", id(&task["reminders"][0])));
    let before = ada.footprint().await;
    for matching in ["*", "\"1\"", "W/\"1\"", "\"9\", \"1\"", "W/\"9\",W/\"1\"", " \"1\" "] {
        let ada = ada.with("if-none-match", matching);
        for (method, path, body) in [
            (Method::PUT, path.clone(), json!({"title": "c"})),
            (Method::PATCH, path.clone(), json!({"title": "c"})),
            (Method::POST, format!("{path}/complete"), json!({})),
            (Method::POST, format!("{path}/reopen"), json!({})),
            (Method::POST, format!("{path}/restore"), json!({"version": 1})),
            (Method::POST, format!("{path}/reminders"), json!({"remind_at": ahead(2)})),
            (Method::POST, format!("{reminder}/snooze"), json!({"minutes": 5})),
            (Method::POST, format!("{reminder}/send-now"), json!({})),
            (Method::DELETE, reminder.clone(), json!({})),
            (Method::DELETE, path.clone(), json!({})),
        ] {
            let reply = ada.send(method.clone(), &path, body.to_string()).await;
            assert_eq!(reply.status, 412, "{method} {path} {matching}");
        }
        let unchanged = ada.get(&path).await;
        assert_eq!((unchanged.status.as_u16(), &unchanged.body), (304, &Value::Null), "{matching}");
        assert_eq!(unchanged.headers["etag"], "\"1\"");
        // `If-Match` is evaluated first; a date is ignored where no `Last-Modified` is sent.
        ada.with("if-match", "\"2\"").get(&path).await.expect(412);
        assert_eq!(ada.with("if-match", "\"1\"").get(&path).await.status, 304);
        assert_eq!(ada.with("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT").get(&path).await.status, 304);
    }
    assert_eq!(ada.footprint().await, before);
    let twice = ada.with("if-none-match", "\"8\"").with("if-none-match", "\"1\"");
    assert_eq!(twice.get(&path).await.status, 304);
    for other in ["\"2\"", "1", "w/\"1\"", "W/1", "\"1", "\"11\"", "\"\"", "*, \"2\""] {
        assert_eq!(ada.with("if-none-match", other).get(&path).await.expect(200), task, "{other}");
    }
    for (name, date) in [
        ("if-modified-since", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ] {
        ada.with(name, date).get(&path).await.expect(200);
        ada.with(name, date).patch(&path, json!({})).await.expect(200);
    }
    ada.with("if-match", "*, \"9\"").patch(&path, json!({"title": "b"})).await.expect(412);
    ada.with("if-match", "\"1\"").with("if-none-match", "\"7\"").patch(&path, json!({"title": "b"})).await.expect(200);
    ada.with("if-match", "\"2\"").get(&path).await.expect(200);
    // A condition about an object that is not there is not evaluated, and a new task replaces nothing.
    ada.with("if-match", "\"1\"").get(&format!("/v1/tasks/{}", Uuid::nil())).await.expect(404);
    ada.with("if-none-match", "*").put(&format!("/v1/tasks/{}", Uuid::nil()), json!({"title": "c"})).await.expect(404);
    ada.with("if-none-match", "*").post("/v1/tasks", json!({"title": "c"})).await.expect(201);
}

/// RFC 9110, sections 13.1.1 and 13.1.2: a tag matches no object without an `ETag`, and `*` matches every object.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn commands_on_objects_without_an_etag_check_the_conditions(db: PgPool) {
    let ada = Client::operator(&db);
    let task = walls::canary(&ada).await;
    let (letter, _) = dead_letters::rejected(&ada).await;
    let commands = [
        (Method::PATCH, "/v1/me".to_owned(), json!({"time_zone": "Asia/Tokyo"})),
        (Method::POST, format!("/v1/dead-letters/{letter}/replay"), json!({})),
        (Method::DELETE, "/v1/me".to_owned(), json!({})),
    ];
    let before = ada.footprint().await;
    for (name, value) in [("if-match", "\"1\""), ("if-match", "W/\"1\""), ("if-match", "x"), ("if-none-match", "*")] {
        let ada = ada.with(name, value);
        for (method, path, body) in &commands {
            let reply = ada.send(method.clone(), path, body.to_string()).await;
            assert_eq!(reply.status, 412, "{method} {path} {name}: {value}");
        }
    }
    assert_eq!(ada.footprint().await, before);
    // Reads: a list, a page and the document are such objects too.
    let reads = Operation::all().into_iter().filter(|operation| operation.id != "get_task");
    let reads = reads.map(|operation| operation.on(&task)).filter(|(method, ..)| method == Method::GET);
    let reads: Vec<String> = reads.map(|(_, path, _)| path).chain(["/openapi.json".to_owned()]).collect();
    assert_eq!(reads.len(), 12);
    for path in &reads {
        let plain = ada.get(path).await;
        for tag in ["\"1\"", "W/\"1\"", "x"] {
            let reply = ada.with("if-match", tag).with("if-none-match", "*").get(path).await;
            assert_eq!(reply.expect(412)["type"], "urn:punctual:problem:no-etag", "{path} {tag}");
        }
        for conditions in [ada.with("if-none-match", "*"), ada.with("if-match", "*").with("if-none-match", " * ")] {
            for method in [Method::GET, Method::HEAD] {
                let reply = conditions.send(method, path, Body::empty()).await;
                assert_eq!((reply.status.as_u16(), reply.body), (304, Value::Null), "{path}");
            }
        }
        let holding = ada.with("if-match", "*").with("if-none-match", "\"1\"").get(path).await;
        assert_eq!((holding.status, holding.body), (plain.status, plain.body), "{path}");
    }
    // Conditions never hide another refusal.
    let ben = Client::new(&db).with("if-match", "\"1\"").with("if-none-match", "*");
    ben.get("/v1/tags?x=1").await.expect(422);
    ben.get("/v1/dead-letters").await.expect(403);
    ben.get(&format!("{}/history", path(&task))).await.expect(404);
    ben.post("/v1/tags", json!({})).await.expect(405);
    let nowhere = format!("/v1/dead-letters/{}/replay", Uuid::nil());
    ada.with("if-match", "\"1\"").post(&nowhere, json!({})).await.expect(404);
    let ada = ada.with("if-match", "*").with("if-none-match", "\"1\"");
    for (method, path, body) in commands {
        let reply = ada.send(method.clone(), &path, body.to_string()).await;
        assert!(reply.status.is_success(), "{method} {path}: {reply:?}");
    }
}

/// The version says nothing of what the functions do to reminders.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_task_whose_reminder_was_sent_or_is_overdue_never_gets_a_304(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    let cached = ada.with("if-none-match", "\"1\"");
    assert_eq!(cached.get(&path(&task)).await.status, 304);
    sqlx::query("update task_reminders set remind_at = now() - interval '1 minute'").execute(&db).await.unwrap();
    assert_eq!(cached.get(&path(&task)).await.expect(200)["reminders"][0]["overdue"], true);
    sqlx::query("update task_reminders set state = 'sent', fired_version = version").execute(&db).await.unwrap();
    assert_eq!(cached.get(&path(&task)).await.expect(200)["reminders"][0]["state"], "sent");
}

/// The items of all pages of a list, and the number of pages.
async fn pages(client: &Client, list: &str, items: &str) -> (Vec<Value>, usize) {
    let (mut all, mut cursor, mut count) = (Vec::new(), String::new(), 0);
    loop {
        let page = client.get(&format!("{list}{cursor}")).await.expect(200);
        all.extend(page[items].as_array().unwrap().iter().cloned());
        count += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (all, count),
        }
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn tags_are_listed_page_by_page(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "tags": ["b", "A", "a b", "\u{e4}", "z", "\u{1f600}", "B"]})).await;
    let expected = ["A", "B", "a b", "b", "z", "\u{e4}", "\u{1f600}"];
    let names = |tags: &[Value]| tags.iter().map(|tag| tag["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    for (limit, count) in [(1, 7), (2, 4), (7, 1), (100, 1)] {
        let (tags, pages) = pages(&ada, &format!("/v1/tags?limit={limit}"), "items").await;
        assert_eq!((names(&tags), pages), (expected.map(str::to_owned).to_vec(), count), "{limit}");
        assert!(tags.iter().all(|tag| tag["open_tasks"] == 1));
    }
    sqlx::query(
        "with tag as (insert into task_tags (id, user_id, name)
                      select gen_random_uuid(), $1, lpad(n::text, 50, '0') from generate_series(1, 300) n returning id)
         insert into task_tag_associations select $2, id from tag",
    )
    .bind(ada.user.id)
    .bind(id(&task))
    .execute(&db)
    .await
    .unwrap();
    sqlx::query("insert into task_tags (id, user_id, name) values (gen_random_uuid(), $1, 'unused')")
        .bind(ada.user.id)
        .execute(&db)
        .await
        .unwrap();
    let page = ada.get("/v1/tags").await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 50);
    let (tags, count) = pages(&ada, "/v1/tags?limit=100", "items").await;
    assert_eq!((tags.len(), count), (307, 4), "a tag without a task is not in use");
    for (query, invalid) in
        [("limit=101", "limit"), ("cursor=x", "cursor"), ("cursor=AA", "cursor"), ("cursor=_w", "cursor"), ("x=1", "x")]
    {
        assert_eq!(ada.get(&format!("/v1/tags?{query}")).await.invalid_fields(), [invalid], "{query}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_timeline_is_listed_page_by_page(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "remind_at": ahead(1)})).await;
    let reminder = id(&task["reminders"][0]);
    // Many steps at one instant, among them deliveries, and steps whose ids are not in the order of their times.
    sqlx::query(
        "insert into audit_logs (user_id, task_id, reminder_id, reminder_version, action, detail, created_at)
         select $1, $2, $3, n, 'reminder.armed', jsonb_build_object('attempt', n),
                now() + (n % 7) * interval '1 second'
         from generate_series(1, 240) n",
    )
    .bind(ada.user.id)
    .bind(id(&task))
    .bind(reminder)
    .execute(&db)
    .await
    .unwrap();
    sqlx::query(
        "insert into notification_deliveries (id, reminder_id, reminder_version, channel, user_id, task_id, event_id, state, sent_at)
         select gen_random_uuid(), $3, n, 'email', $1, $2, gen_random_uuid(), 'sent', now() + (n % 3) * interval '1 second'
         from generate_series(1, 30) n",
    )
    .bind(ada.user.id)
    .bind(id(&task))
    .bind(reminder)
    .execute(&db)
    .await
    .unwrap();
    sqlx::query("update task_reminders set version = 2, updated_at = now() + interval '1 second'")
        .execute(&db)
        .await
        .unwrap();
    let timeline = format!("/v1/reminders/{reminder}/timeline?");
    let first = ada.get(&timeline).await.expect(200);
    assert_eq!(first["entries"].as_array().unwrap().len(), 50);
    let (all, count) = pages(&ada, &format!("{timeline}limit=100"), "entries").await;
    assert_eq!((all.len(), count), (1 + 240 + 30 + 1, 3));
    assert!(all.is_sorted_by_key(|entry| instant(&entry["at"])));
    for limit in [1, 7, 50] {
        assert_eq!(pages(&ada, &format!("{timeline}limit={limit}"), "entries").await.0, all, "{limit}");
    }
    for query in ["cursor=x", "cursor=MQ", "limit=0", "x=1"] {
        assert_eq!(ada.get(&format!("{timeline}{query}")).await.invalid_fields(), [query.split_once('=').unwrap().0]);
    }
}

/// Tasks whose JSON is six times as long as their text.
async fn long_tasks(ada: &Client) {
    ada.task(json!({"title": "first"})).await;
    sqlx::query("insert into tasks (user_id, title, description) select $1, n::text, repeat(chr(1), 10000) from generate_series(1, 50) n")
        .bind(ada.user.id)
        .execute(&ada.db)
        .await
        .unwrap();
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_page_of_tasks_has_a_bounded_size(db: PgPool) {
    let ada = Client::new(&db);
    long_tasks(&ada).await;
    let page = ada.get("/v1/tasks?limit=100").await.expect(200);
    assert!(page.to_string().len() <= (256 << 10) + 1_000, "{} bytes", page.to_string().len());
    let (tasks, count) = pages(&ada, "/v1/tasks?limit=100&sort=-created_at", "items").await;
    let mut titles: Vec<&str> = tasks.iter().map(|task| task["title"].as_str().unwrap()).collect();
    titles.sort_unstable();
    titles.dedup();
    assert_eq!((titles.len(), tasks.len(), count), (51, 51, 13));
}

/// Also of a writer without limits, and of what answers do not show.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_page_is_cut_before_its_texts_are_loaded(db: PgPool) {
    let ada = Client::new(&db);
    ada.task(json!({"title": "first"})).await;
    sqlx::query(
        "insert into tasks (user_id, title, description, series_values)
         select $1, n::text, case when n % 2 = 0 then repeat('x', 150000) end,
                case when n % 2 = 1 then jsonb_build_object('description', repeat('x', 150000)) end
         from generate_series(1, 30) n",
    )
    .bind(ada.user.id)
    .execute(&db)
    .await
    .unwrap();
    let memory = Memory::now();
    let page = ada.get("/v1/tasks?limit=100").await.expect(200);
    let growth = memory.growth() >> 20;
    assert!(growth < 12, "{growth} MB");
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let (tasks, count) = pages(&ada, "/v1/tasks?limit=4", "items").await;
    assert_eq!((tasks.len(), count), (31, 30));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_page_of_dead_letters_has_a_bounded_size(db: PgPool) {
    let op = Client::operator(&db);
    sqlx::query(
        "insert into dead_letters (id, consumer, dedupe, origin, reason, payload)
         select gen_random_uuid(), 'task-created', n, 'daprd', 'no', repeat(chr(case when n % 2 = 0 then 1 else 128512 end), 16384)
         from generate_series(1, 110) n",
    )
    .execute(&db)
    .await
    .unwrap();
    let memory = Memory::now();
    let page = op.get("/v1/dead-letters?limit=100").await.expect(200);
    let (size, growth) = (page.to_string().len(), memory.growth() >> 20);
    assert!(size <= (256 << 10) + 1_000 && growth < 15, "{size} bytes, {growth} MB");
    let (letters, _) = pages(&op, "/v1/dead-letters?limit=100", "items").await;
    assert_eq!(letters.len(), 110);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_unread_response_occupies_its_slot(db: PgPool) {
    let router = router_with(app(&db), &["--requests-in-flight", "20"]);
    let (ada, ben) = (Client::new(&db), Client::new(&db));
    let (ada, ben) = (Client { router: router.clone(), ..ada }, Client { router, ..ben });
    long_tasks(&ada).await;
    let mut unread = Vec::new();
    for _ in 0..5 {
        let request =
            Request::get("/v1/tasks").header("authorization", format!("Bearer {}", ada.token.as_ref().unwrap()));
        let response = ada.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        unread.push(response);
    }
    ada.get("/v1/me").await.expect(429);
    ben.get("/v1/me").await.expect(200);
    let bytes = to_bytes(unread.pop().unwrap().into_body(), 2 << 20).await.unwrap();
    serde_json::from_slice::<Value>(&bytes).unwrap();
    drop(unread);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    ada.get("/v1/me").await.expect(200);
}

/// A database whose own order of text is that of a language.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn tags_have_one_order_on_every_database(db: PgPool) {
    sqlx::query("alter table task_tags alter column name type text collate \"en-x-icu\"").execute(&db).await.unwrap();
    let ada = Client::new(&db);
    let body = json!({"title": "x", "tags": ["a", "B", "\u{e4}", "z", "_", "Z"]});
    let task = ada.task(body.clone()).await;
    assert_eq!(task["tags"], json!(["B", "Z", "_", "a", "z", "\u{e4}"]));
    assert_eq!(ada.get(&path(&task)).await.expect(200), task);
    let before = ada.footprint().await;
    assert_eq!(ada.put(&path(&task), body).await.expect(200), task, "an equal body changes nothing");
    assert_eq!(ada.footprint().await, before);
    let (tags, _) = pages(&ada, "/v1/tags?limit=2", "items").await;
    let names: Vec<&Value> = tags.iter().map(|tag| &tag["name"]).collect();
    assert_eq!(names, task["tags"].as_array().unwrap().iter().collect::<Vec<_>>());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_due_time_outside_the_calendar_is_the_reported_error(db: PgPool) {
    let ada = Client::new(&db);
    let task =
        ada.task(json!({"title": "a", "due_at": "9999-12-31T23:59:59Z", "time_zone": "Pacific/Kiritimati"})).await;
    let body = json!({"title": "a", "due_at": "9999-12-31T23:59:59Z", "time_zone": "Pacific/Kiritimati",
                      "reminders": [{"before_due": "PT1H"}]});
    for reply in [
        ada.post("/v1/tasks", body.clone()).await,
        ada.put(&path(&task), body).await,
        ada.post(&format!("{}/reminders", path(&task)), json!({"before_due": "PT1H"})).await,
    ] {
        let problem = reply.expect(422);
        let detail = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains("9999") && !detail.contains("needs a"), "{detail}");
    }
    // A relative reminder that could not follow is not cancelled as if the due time were gone.
    let task = ada.task(json!({"title": "a", "due_at": AT, "reminders": [{"before_due": "PT1H"}]})).await;
    let moved = ada.patch(&path(&task), json!({"due_at": "9999-12-31T23:59:59Z"})).await;
    assert_eq!(moved.invalid_fields(), ["#/due_at"]);
    assert_eq!(ada.get(&path(&task)).await.expect(200), task);
    let without = ada.post("/v1/tasks", json!({"title": "a", "reminders": [{"before_due": "PT1H"}]})).await.expect(422);
    assert!(without["errors"][0]["detail"].as_str().unwrap().contains("needs a"), "{without}");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_rule_may_have_a_thousand_characters(db: PgPool) {
    let ada = Client::new(&db);
    let body = |rule: &str| json!({"title": "a", "due_at": AT, "recurrence": {"type": "custom", "rule": rule}});
    let days: Vec<String> =
        (1..=53).flat_map(|n| [format!("{n}MO"), format!("-{n}FR"), format!("{n}SU"), format!("{n}TU")]).collect();
    let rule = format!("FREQ=YEARLY;BYDAY={}", days.join(","));
    let rule = rule[..rule[..1_000].rfind(',').unwrap()].to_owned();
    assert!(rule.len() > 980, "{}", rule.len());
    assert_eq!(ada.post("/v1/tasks", body(&rule)).await.expect(201)["recurrence"]["rule"], rule.as_str());
    ada.post("/v1/tasks", body(&format!("{rule:1000}"))).await.expect(201);
    assert_eq!(ada.post("/v1/tasks", body(&format!("{rule:1001}"))).await.invalid_fields(), ["#/recurrence/rule"]);
}
