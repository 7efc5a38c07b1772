//! The list of a user's messages.

use shared::testing::execute;

use super::*;

/// Inserts deliveries of a user, a minute apart; the last is the newest. Returns their ids.
pub(crate) async fn insert(db: &PgPool, user: Uuid, count: i32) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for n in 0..count {
        let id = Uuid::new_v4();
        sqlx::query(
            "insert into notification_deliveries
                 (id, reminder_id, reminder_version, channel, user_id, task_id, event_id, state, attempts, reason, created_at)
             values ($1, gen_random_uuid(), 1, 'email', $2, gen_random_uuid(), gen_random_uuid(), 'failed', 3, 'canary',
                     now() + make_interval(mins => $3))",
        )
        .bind(id)
        .bind(user)
        .bind(n - count)
        .execute(db)
        .await
        .unwrap();
        ids.push(id);
    }
    ids
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn deliveries_are_listed_newest_first_page_by_page_and_only_ones_own(db: PgPool) {
    let (ada, bob) = (Client::new(&db), Client::new(&db));
    let mut wanted = insert(&db, ada.user.id, 5).await;
    insert(&db, bob.user.id, 2).await;
    // Of one instant, by id.
    execute(&db, "update notification_deliveries set created_at = '2026-01-01T00:00:00Z' where user_id in (select user_id from notification_deliveries group by 1 having count(*) = 5)").await;
    wanted.sort();
    wanted.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ada.get(&format!("/v1/deliveries?limit=2{cursor}")).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(id));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, wanted);
    let newest = bob.get("/v1/deliveries").await.expect(200);
    let (newest, older) = (&newest["items"][0], &newest["items"][1]);
    assert!(instant(&newest["created_at"]) > instant(&older["created_at"]));
    assert_eq!(
        (&newest["state"], &newest["attempts"], &newest["reason"], &newest["channel"], &newest["action"]),
        (&json!("failed"), &json!(3), &json!("canary"), &json!("email"), &Value::Null)
    );
    assert_eq!(newest["target"], Value::Null);
    let device = Uuid::new_v4();
    sqlx::query("update notification_deliveries set target = $1 where id = $2")
        .bind(device)
        .bind(id(newest))
        .execute(&db)
        .await
        .unwrap();
    assert_eq!(bob.get("/v1/deliveries?limit=1").await.expect(200)["items"][0]["target"], json!(device));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_invalid_cursor_is_refused(db: PgPool) {
    let ada = Client::new(&db);
    for cursor in ["x", "1", "1_x", "-300000000000000000_00000000000000000000000000000000", "9223372036854775807_"] {
        assert_eq!(ada.get(&format!("/v1/deliveries?cursor={cursor}")).await.invalid_fields(), ["cursor"], "{cursor}");
    }
}
