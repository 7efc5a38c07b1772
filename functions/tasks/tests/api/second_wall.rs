//! The second wall without the first. Every statement of this function, as the macros recorded it in `.sqlx`, runs for one user
//! without its user filters and with the ids of another user. Row-level security alone must hide the other user's rows.
//!
//! Each time the test also shows that the statement would have found them: run as the owner of the tables, whom row-level security
//! does not bind, the same text does.

use sqlx::{Row as _, ValueRef as _, postgres::PgRow};

use super::{walls::as_user, *};

/// A statement and the types of its parameters.
struct Statement {
    text: String,
    parameters: Vec<String>,
}

/// The outcome of a statement: its rows as text and the number of rows it affected, or that it was refused.
#[derive(Debug, PartialEq)]
enum Outcome {
    Done(Vec<Vec<Option<String>>>, u64),
    Refused,
    /// It reached a row, and a constraint refused the change.
    Violated,
}

/// Every statement in the sources of this function, of the outbox and of the audit log that it writes to.
fn statements() -> Vec<Statement> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let sources = std::fs::read_dir(root.join("functions/tasks/src")).unwrap().map(|entry| entry.unwrap().path());
    let files = sources
        .chain(["outbox", "audit"].map(|name| root.join(format!("shared/src/{name}.rs"))))
        .filter(|path| path.is_file());
    let sources: String = files.map(|path| read(&path)).collect();
    let mut statements = Vec::new();
    for entry in std::fs::read_dir(root.join(".sqlx")).unwrap() {
        let kept: Value = serde_json::from_str(&read(&entry.unwrap().path())).unwrap();
        let text = kept["query"].as_str().unwrap();
        let name = |kind: &Value| match kind {
            Value::String(name) => name.clone(),
            other => other.to_string(),
        };
        if sources.contains(text) {
            let parameters = kept["describe"]["parameters"]["Left"].as_array().unwrap().iter().map(name).collect();
            statements.push(Statement { text: text.to_owned(), parameters });
        }
    }
    statements.sort_by(|a, b| a.text.cmp(&b.text));
    statements
}

impl Statement {
    /// Removes the user filters: `… user_id = $n` becomes `true`.
    fn without_its_user(&self) -> String {
        let text = self.text.replace("from users where id = $1", "from users where true");
        let mut rest = text.as_str();
        let mut stripped = String::new();
        while let Some(at) = rest.find("user_id = $") {
            let before = rest[..at].trim_end_matches(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
            let after = rest[at + "user_id = $".len()..].trim_start_matches(|c: char| c.is_ascii_digit());
            stripped.push_str(before);
            stripped.push_str(" true");
            rest = after;
        }
        stripped + rest
    }

    fn filters(&self) -> bool {
        self.without_its_user() != self.text
    }

    /// The statement with literals instead of parameters: every id is `id`, every number `number`.
    fn about(&self, id: Uuid, number: i64) -> String {
        let mut text = self.without_its_user();
        for (index, kind) in self.parameters.iter().enumerate().rev() {
            let value = match kind.as_str() {
                "Uuid" => format!("'{id}'::uuid"),
                "UuidArray" => format!("array['{id}']::uuid[]"),
                // Also a key, and the end of a page before the tag.
                "Text" | "Varchar" => "'a'::text".to_owned(),
                "TextArray" => "array['canary']::text[]".to_owned(),
                "Int2Array" => format!("array[{number}]::smallint[]"),
                "Int2" => number.to_string() + "::smallint",
                "Int4" => number.to_string() + "::int",
                "Int8" if text.contains(&format!("limit ${}", index + 1)) => "100".to_owned(),
                "Int8" => number.to_string() + "::bigint",
                "Bool" => "false".to_owned(),
                "Bytea" => "'\\x00'::bytea".to_owned(),
                "TimestamptzArray" => "array['2031-01-01T00:00:00Z']::timestamptz[]".to_owned(),
                // Before all rows, or after them.
                "Timestamptz" => format!("'{}-01-01T00:00:00Z'::timestamptz", if number == 0 { 2021 } else { 2099 }),
                "Jsonb" => format!(
                    "'[{{\"id\": \"{id}\", \"remind_at\": \"2031-01-01T00:00:00Z\", \"state\": \"cancelled\", \
                     \"cancel_reason\": \"user\", \"channels\": [\"email\"]}}]'::jsonb"
                ),
                other => panic!("{other}: say here what a value of it looks like\n{}", self.text),
            };
            text = text.replace(&format!("${}", index + 1), &value);
        }
        text
    }
}

/// Runs a statement as a user, or as the owner of the tables, and rolls it back. `None` if it failed for a reason other than a wall or
/// a constraint.
async fn run(db: &PgPool, user: Option<Uuid>, text: &str) -> Option<Outcome> {
    let begin = async || match user {
        Some(user) => as_user(db, Some(user)).await,
        None => db.begin().await.unwrap(),
    };
    let text = || sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned()));
    let mut tx = begin().await;
    let touched = match text().execute(&mut *tx).await {
        Ok(done) => done.rows_affected(),
        Err(sqlx::Error::Database(error)) => {
            return match error.code().as_deref() {
                Some("42501") => Some(Outcome::Refused),
                Some(code) if code.starts_with("23") => Some(Outcome::Violated),
                _ => None,
            };
        }
        Err(_) => return None,
    };
    tx.rollback().await.unwrap();
    let mut tx = begin().await;
    let rows = text().fetch_all(&mut *tx).await.unwrap();
    tx.rollback().await.unwrap();
    let cell = |row: &PgRow, column| {
        let raw = row.try_get_raw(column).unwrap();
        (!raw.is_null()).then(|| raw.as_str().unwrap().to_owned())
    };
    let rows = rows.iter().map(|row| (0..row.len()).map(|column| cell(row, column)).collect());
    Some(Outcome::Done(rows.collect(), touched))
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn no_statement_leaks_without_its_user_filter(db: PgPool) {
    let (ada, bob) = (Client::new(&db), Client::new(&db));
    let task = walls::canary(&ada).await;
    ada.with("idempotency-key", "a").patch("/v1/me", json!({"time_zone": "Asia/Tokyo"})).await.expect(200);
    let (reminder, device) = (id(&task["reminders"][0]), id(&task["device"]));
    for statement in [
        "insert into audit_logs (user_id, task_id, reminder_id, reminder_version, action) values ($1, $2, $3, 1, 'reminder.armed')",
        "insert into notification_deliveries
             (id, reminder_id, reminder_version, channel, user_id, task_id, event_id, state, sent_at)
         values (gen_random_uuid(), $3, 1, 'email', $1, $2, gen_random_uuid(), 'sent', now())",
        "insert into notification_deliveries
             (id, reminder_id, reminder_version, channel, user_id, task_id, event_id, state, action, acted_at)
         values (gen_random_uuid(), $3, 0, 'email', $1, $2, gen_random_uuid(), 'sent', 'complete', now())",
        "insert into task_reminders (id, user_id, task_id, remind_at, series_due_at)
         select gen_random_uuid(), $1, $2, '2099-01-01', now() from task_reminders where id = $3",
        "insert into audit_logs (user_id, task_id, action, detail)
         select $1, $2, 'task.updated', '{\"version\": 2}' from task_reminders where id = $3",
        "insert into task_versions (user_id, task_id, version, snapshot, replaced_at)
         select $1, $2, n, jsonb_build_object('content', jsonb_build_object('title', 'canary ' || n)), now()
         from task_reminders, generate_series(1, 2) n where task_reminders.id = $3",
    ] {
        sqlx::query(statement).bind(ada.user.id).bind(id(&task)).bind(reminder).execute(&db).await.unwrap();
    }
    let task = ada.get(&path(&task)).await.expect(200);
    let statements = statements();
    let filtering = statements.iter().filter(|statement| statement.filters()).count();
    assert!(statements.len() >= 25 && filtering >= 14, "{} statements, {filtering} name a user", statements.len());

    for statement in &statements {
        let mut mattered = false;
        for (id, number) in [id(&task), reminder, device, ada.user.id].into_iter().flat_map(|id| [(id, 0), (id, 1)]) {
            let text = statement.about(id, number);
            let nothing = statement.about(Uuid::new_v4(), number);
            let Some(of_bob) = run(&db, Some(bob.user.id), &text).await else { continue };
            let of_nobody = run(&db, Some(Uuid::new_v4()), &nothing).await;
            assert_eq!(Some(&of_bob), of_nobody.as_ref(), "another's ids made a difference:\n{text}");
            assert!(!format!("{of_bob:?}").contains("canary"), "{text}");
            let unbound = run(&db, None, &text).await;
            mattered |= unbound.is_some_and(|unbound| unbound != of_bob);
        }
        let modifies_by_id = statement.filters() || statement.text.trim_start().starts_with("update");
        assert!(mattered || !modifies_by_id, "this could not be shown to matter:\n{}", statement.text);
    }
    assert_eq!(ada.get(&path(&task)).await.expect(200), task);
}
