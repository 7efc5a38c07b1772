//! An operator sees whether the deployment keeps up.

use shared::testing::execute;

use super::*;

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_idle_system_has_nothing_that_waits(db: PgPool) {
    let system = Client::operator(&db).get("/v1/system").await.expect(200);
    let nothing = json!({"count": 0, "oldest": null});
    for name in ["outbox", "unclaimed", "reminders_overdue", "deliveries_overdue", "dead_letters"] {
        assert_eq!(system[name], nothing, "{name}");
    }
    assert_eq!(system["lateness"], json!({"reminders": 0, "median_ms": null, "p99_ms": null, "max_ms": null}));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn everything_that_waits_is_counted_with_the_time_since_when(db: PgPool) {
    let (ada, op) = (Client::new(&db), Client::operator(&db));
    // Unpublished, and its reminder is due since a minute.
    let at = "2026-01-01T09:00:00Z";
    ada.task(json!({"title": "a", "remind_at": at})).await;
    execute(&db, "update task_events set occurred_at = '2026-01-01T09:00:00Z'").await;
    // Published, and not claimed.
    let (_, rejected) = dead_letters::rejected(&ada).await;
    execute(&db, &format!("delete from processed_events where event_id = '{rejected}'")).await;
    execute(&db, &format!("update task_events set published_at = '2026-01-01T09:00:00Z' where id = '{rejected}'"))
        .await;
    execute(&db, "update dead_letters set created_at = '2026-01-01T09:00:00Z'").await;
    deliveries::insert(&db, ada.user.id, 2).await;
    execute(&db, "update notification_deliveries set state = 'retrying', next_attempt_at = '2026-01-01T09:00:00Z'")
        .await;
    let system = op.get("/v1/system").await.expect(200);
    for (name, count) in
        [("outbox", 1), ("unclaimed", 1), ("reminders_overdue", 1), ("deliveries_overdue", 2), ("dead_letters", 1)]
    {
        assert_eq!(system[name], json!({"count": count, "oldest": at}), "{name}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn lateness_is_that_of_the_reminders_that_fired_in_the_last_hour(db: PgPool) {
    for (late_ms, age) in [(3, "5 minutes"), (20, "10 minutes"), (7, "50 minutes"), (9_000, "2 hours")] {
        sqlx::query(
            "insert into task_events (id, type, task_id, user_id, sequence, data, occurred_at)
             select (left(uuid_v7_floor(at)::text, 24) || right(gen_random_uuid()::text, 12))::uuid, 'reminder.due', gen_random_uuid(),
                    gen_random_uuid(), 1, jsonb_build_object('remind_at', at), at + make_interval(secs => $1)
             from (select now() - $2::text::interval as at) fired",
        )
        .bind(f64::from(late_ms) / 1000.0)
        .bind(age)
        .execute(&db)
        .await
        .unwrap();
    }
    // The data of an erased user are gone.
    execute(&db, "insert into task_events (type, task_id, user_id, sequence, data) values ('reminder.due', gen_random_uuid(), gen_random_uuid(), 1, '{}')").await;
    let system = Client::operator(&db).get("/v1/system").await.expect(200);
    assert_eq!(system["lateness"], json!({"reminders": 3, "median_ms": 7, "p99_ms": 20, "max_ms": 20}));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn only_an_operator_sees_the_system(db: PgPool) {
    Client::new(&db).get("/v1/system").await.expect(403);
    assert_eq!(Client::operator(&db).get("/v1/system?limit=1").await.invalid_fields(), ["limit"]);
}
