//! The named constraints of the tables that requests write: each violation has an answer, or a reason why no request can cause it.

use std::collections::BTreeSet;

use super::*;

const FRESH_ID: &str = "the command generates the id, a new UUID";
const ENUM: &str = "the column is written from an enum whose words the constraint lists";
const ON_CONFLICT: &str = "every insert says `on conflict do nothing`";
const USER_STAYS: &str = "the command locks its user's usage first, and a deletion of the user waits for it";
const NOT_INSERTED: &str = "requests insert no rows into this table";

/// Constraints that no request can violate, and why.
const UNREACHABLE: &[(&str, &str)] = &[
    ("audit_logs_pkey", "the database generates the id"),
    ("dead_letters_once", NOT_INSERTED),
    ("dead_letters_origin", NOT_INSERTED),
    ("dead_letters_pkey", NOT_INSERTED),
    ("dead_letters_state", "a replay writes the literal `replayed`"),
    ("erased_users_pkey", "the insert says `on conflict`"),
    ("event_failures_pkey", NOT_INSERTED),
    ("idempotency_keys_key_length", "`Command` refuses a longer or empty key first"),
    ("idempotency_keys_pkey", ON_CONFLICT),
    ("marks_pkey", NOT_INSERTED),
    ("processed_events_pkey", NOT_INSERTED),
    ("push_subscriptions_pkey", FRESH_ID),
    ("push_subscriptions_user_id_fkey", USER_STAYS),
    ("task_events_pkey", FRESH_ID),
    ("task_occurrences_pkey", "a command writes occurrence 1 of a series whose id it generates"),
    ("task_reminders_cancel_reason", ENUM),
    ("task_reminders_cancelled", "`ReminderChange` and the insert set state and reason together"),
    ("task_reminders_channels", "`CHANNELS` reads 1 to 10 words of `Channel`"),
    ("task_reminders_pkey", FRESH_ID),
    ("task_reminders_state", ENUM),
    (
        "task_tag_associations_pkey",
        "a new task has none, its tags are distinct, and PUT and PATCH say `on conflict do nothing`",
    ),
    ("task_tag_associations_task_id_fkey", "the same statement inserts the task, or the command has locked it"),
    ("task_tags_name_key", ON_CONFLICT),
    ("task_tags_name_length", "`TAGS` has the same limits"),
    ("task_tags_pkey", ON_CONFLICT),
    ("task_tags_user_id_fkey", USER_STAYS),
    ("task_versions_pkey", ON_CONFLICT),
    ("tasks_pkey", "the command generates the id, a new UUID, or restores a task that has been deleted"),
    ("tasks_priority", ENUM),
    ("tasks_recurrence_anchor", ENUM),
    ("tasks_recurrence_interval", "`Recurrence` has the same limits"),
    ("tasks_recurrence_type", ENUM),
    ("tasks_user_id_fkey", USER_STAYS),
    ("user_usage_pkey", "every insert says `on conflict`"),
    ("users_pkey", "every insert says `on conflict (id)`"),
];

/// The constraints that the sources answer with `on_constraint`.
fn answered() -> BTreeSet<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let sources: String = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    sources.split("on_constraint(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn every_constraint_is_answered_or_unreachable(db: PgPool) {
    // The tables that the API's role writes, and those that a replay writes as the owner. Not-null constraints (`n`) have no name before
    // PostgreSQL 18.
    let constraints: Vec<String> = sqlx::query_scalar(
        "select conname::text from pg_constraint join pg_class on pg_class.oid = conrelid
         where relnamespace = 'public'::regnamespace and not relispartition and contype <> 'n'
           and (has_table_privilege('punctual_api', conrelid, 'insert, update, delete')
                or relname in ('dead_letters', 'event_failures', 'marks', 'processed_events'))",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    let constraints: BTreeSet<String> = constraints.into_iter().collect();
    let unreachable: BTreeSet<String> = UNREACHABLE.iter().map(|(name, _)| (*name).to_owned()).collect();
    let answered = answered();
    assert_eq!(answered.intersection(&unreachable).next(), None, "answered, so it is reachable");
    assert_eq!(answered.union(&unreachable).cloned().collect::<BTreeSet<_>>(), constraints);
}

/// Makes every statement that inserts into a table pause after its inserts, before its foreign keys are checked: triggers fire in the
/// order of their names.
async fn pause_after_insert(db: &PgPool, table: &str) {
    let statement = sqlx::AssertSqlSafe(format!(
        "create function pause() returns trigger language plpgsql as $$ begin perform pg_sleep(0.6); return null; end $$;
         create trigger \"A_pause\" after insert on {table} for each row execute function pause()"
    ));
    sqlx::raw_sql(statement).execute(db).await.unwrap();
}

/// Sends a request, and deletes rows while it pauses.
async fn send_during(db: &PgPool, delete: &'static str, request: impl Future<Output = Reply>) -> Reply {
    let delete = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert_eq!(sqlx::query(delete).execute(db).await.unwrap().rows_affected(), 1);
    };
    tokio::join!(request, delete).0
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_tag_that_is_deleted_during_a_command_is_a_conflict(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a"})).await;
    pause_after_insert(&db, "task_tag_associations").await;
    let before = ada.footprint().await;
    let body = json!({"title": "b", "tags": ["y"]});
    for (client, method, path) in [
        (ada.clone(), Method::POST, "/v1/tasks".to_owned()),
        (ada.with("idempotency-key", "k"), Method::POST, "/v1/tasks".to_owned()),
        (ada.clone(), Method::PATCH, path(&task)),
    ] {
        sqlx::query("insert into task_tags (id, user_id, name) values ($1, $2, 'y')")
            .bind(Uuid::new_v5(&ada.user.id, b"y"))
            .bind(ada.user.id)
            .execute(&db)
            .await
            .unwrap();
        let request = client.send(method, &path, body.to_string());
        send_during(&db, "delete from task_tags", request).await.expect(409);
    }
    assert_eq!(ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_user_who_is_deleted_during_a_create_goes_with_the_new_task(db: PgPool) {
    pause_after_insert(&db, "tasks").await;
    for body in [json!({"title": "a"}), json!({"title": "a", "tags": ["x"]})] {
        let ada = Client::new(&db);
        ada.patch("/v1/me", json!({"time_zone": "Asia/Tokyo"})).await.expect(200);
        send_during(&db, "delete from users", ada.post("/v1/tasks", body)).await.expect(201);
        assert_eq!(ada.footprint().await["tasks"], Value::Null);
    }
}
