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
    assert_eq!(system["deliveries_given_up"], json!({"count": 0, "oldest": null, "reasons": []}));
    assert_eq!(system["deliveries"], json!({"open": 0, "sent": 0, "skipped": 0, "failed": 0, "unknown": 0}));
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
async fn messages_that_were_given_up_are_counted_by_reason_for_two_days(db: PgPool) {
    let (ada, bob) = (Client::new(&db), Client::new(&db));
    deliveries::insert(&db, ada.user.id, 16).await;
    deliveries::insert(&db, bob.user.id, 4).await;
    let end = async |count: u32, state: &str, reason: &str, age: &str| {
        execute(
            &db,
            &format!(
                "update notification_deliveries set state = '{state}', reason = {reason}, created_at = now() - interval '{age}'
                 where id in (select id from notification_deliveries where reason is null and state = 'sent' limit {count})"
            ),
        )
        .await;
    };
    execute(&db, "update notification_deliveries set state = 'sent', reason = null").await;
    end(3, "failed", "'smtp RCPT: 550'", "47 hours").await;
    end(2, "unknown", "'smtp: no reply'", "1 hour").await;
    end(1, "failed", "'too old'", "49 hours").await;
    end(1, "skipped", "'task completed'", "1 hour").await;
    for reason in 0..9 {
        end(1, "failed", &format!("'push {reason}'"), "1 hour").await;
    }
    let given_up = &Client::operator(&db).get("/v1/system").await.expect(200)["deliveries_given_up"];
    assert_eq!(given_up["count"], 14);
    let oldest: DateTime<Utc> = serde_json::from_value(given_up["oldest"].clone()).unwrap();
    assert_eq!((Utc::now() - oldest).num_hours(), 47);
    let reasons = given_up["reasons"].as_array().unwrap();
    assert_eq!(reasons[0], json!({"state": "failed", "reason": "smtp RCPT: 550", "count": 3}));
    assert_eq!(reasons[1], json!({"state": "unknown", "reason": "smtp: no reply", "count": 2}));
    assert_eq!((reasons.len(), &reasons[9]["reason"]), (10, &json!("push 7")));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn messages_are_counted_by_outcome_for_the_reminders_that_fired_in_the_last_hour(db: PgPool) {
    let (ada, bob) = (Client::new(&db), Client::new(&db));
    deliveries::insert(&db, ada.user.id, 8).await;
    deliveries::insert(&db, bob.user.id, 4).await;
    // A newer release may have more states.
    execute(&db, "alter table notification_deliveries drop constraint notification_deliveries_state").await;
    execute(
        &db,
        "with row as (select id, row_number() over (order by id) as number from notification_deliveries)
         update notification_deliveries delivery
         set state = (array['pending', 'sending', 'retrying', 'queued', 'sent', 'sent', 'sent', 'skipped', 'failed', 'failed', 'unknown', 'sent'])[number]
         from row where row.id = delivery.id",
    )
    .await;
    // The last one's reminder fired two hours ago.
    execute(
        &db,
        "insert into task_events (id, type, task_id, user_id, sequence, data)
         select (left(uuid_v7_floor(now() - case number when 12 then interval '2 hours' else interval '5 minutes' end)::text, 24)
                 || right(gen_random_uuid()::text, 12))::uuid,
                'reminder.due', task_id, user_id, 1,
                jsonb_build_object('remind_at', now(), 'reminder_id', reminder_id, 'reminder_version', reminder_version)
         from (select delivery.*, row_number() over (order by id) as number from notification_deliveries delivery) delivery",
    )
    .await;
    let system = Client::operator(&db).get("/v1/system").await.expect(200);
    assert_eq!(system["deliveries"], json!({"open": 4, "sent": 3, "skipped": 1, "failed": 2, "unknown": 1}));
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
