//! Commands on recurring tasks. `task-completed` makes the next occurrence.

use super::*;

type Columns = (Option<DateTime<Utc>>, Option<Uuid>, Option<i32>, Option<DateTime<Utc>>);

async fn columns(db: &PgPool) -> Columns {
    sqlx::query_as("select recurrence_start, series_id, occurrence, next_occurrence_at from tasks")
        .fetch_one(db)
        .await
        .unwrap()
}

async fn occurrences(db: &PgPool) -> Vec<(Uuid, i32, Uuid)> {
    sqlx::query_as("select series_id, occurrence, task_id from task_occurrences order by created_at, series_id")
        .fetch_all(db)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_recurring_task_begins_a_series(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada
        .task(json!({"title": "a", "due_at": "2031-01-31T09:00:00Z", "recurrence": {"type": "monthly", "interval": 1}}))
        .await;
    let (start, series, occurrence, next) = columns(&db).await;
    assert_eq!(start, Some(instant(&task["due_at"])));
    assert_eq!(occurrence, Some(1));
    assert_eq!(next, Some(instant(&json!("2031-02-28T09:00:00Z"))));
    assert_eq!(occurrences(&db).await, [(series.unwrap(), 1, id(&task))]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_task_without_recurrence_has_no_series(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "due_at": ahead(4)})).await;
    assert_eq!(columns(&db).await, (None, None, None, None));
    assert_eq!(occurrences(&db).await, []);
    let patched = ada.patch(&path(&task), json!({"recurrence": {"type": "daily"}})).await.expect(200);
    let (start, series, occurrence, _) = columns(&db).await;
    assert_eq!((start, occurrence), (Some(instant(&patched["due_at"])), Some(1)));
    assert_eq!(occurrences(&db).await, [(series.unwrap(), 1, id(&task))]);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn occurrences_keep_the_time_of_day_in_the_tasks_zone(db: PgPool) {
    let ada = Client::new(&db);
    ada.patch("/v1/me", json!({"time_zone": "Europe/Berlin"})).await.expect(200);
    // The day before the clocks go forward.
    let task =
        ada.task(json!({"title": "a", "due_at": "2031-03-29T09:00:00+01:00", "recurrence": {"type": "daily"}})).await;
    assert_eq!(task["time_zone"], "Europe/Berlin");
    assert_eq!(task["next_occurrence_at"], "2031-03-30T07:00:00Z");
    let moved = ada.patch(&path(&task), json!({"time_zone": "UTC"})).await.expect(200);
    assert_eq!(moved["next_occurrence_at"], "2031-03-30T07:00:00Z");
    let moved = ada.patch(&path(&task), json!({"time_zone": "UTC", "scope": "following"})).await.expect(200);
    assert_eq!(moved["next_occurrence_at"], "2031-03-30T08:00:00Z");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn only_a_new_rule_or_a_new_due_time_for_later_ones_begins_a_new_series(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "due_at": ahead(30), "recurrence": {"type": "daily"}})).await;
    let (_, first, ..) = columns(&db).await;
    ada.patch(&path(&task), json!({"title": "b", "time_zone": "Europe/Rome"})).await.expect(200);
    let (_, same, occurrence, _) = columns(&db).await;
    assert_eq!((same, occurrence), (first, Some(1)));
    // Make it the fourth occurrence of its series.
    sqlx::query("update tasks set occurrence = 4, version = version").execute(&db).await.unwrap();

    let patched = ada.patch(&path(&task), json!({"recurrence": {"interval": 2}})).await.expect(200);
    assert_eq!(patched["recurrence"], json!({"type": "daily", "interval": 2, "rule": null, "anchor": "due"}));
    let (_, second, occurrence, _) = columns(&db).await;
    assert_ne!(second, first);
    assert_eq!(occurrence, Some(1));

    let later = ahead(50);
    ada.patch(&path(&task), json!({"due_at": later})).await.expect(200);
    assert_eq!(columns(&db).await.1, second);
    ada.patch(&path(&task), json!({"due_at": later, "scope": "following"})).await.expect(200);
    let (start, third, ..) = columns(&db).await;
    assert_ne!(third, second);
    assert_eq!(start, Some(instant(&json!(later))));
    assert_eq!(occurrences(&db).await.len(), 3);

    ada.patch(&path(&task), json!({"recurrence": null})).await.expect(200);
    assert_eq!(columns(&db).await, (None, None, None, None));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_recurring_task_cannot_lose_its_due_time(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "due_at": ahead(30), "recurrence": {"type": "daily"}})).await;
    let before = ada.footprint().await;
    assert_eq!(ada.patch(&path(&task), json!({"due_at": null})).await.invalid_fields(), ["#/due_at"]);
    assert_eq!(
        ada.patch(&path(&task), json!({"recurrence": {"type": null}})).await.invalid_fields(),
        ["#/recurrence/type"]
    );
    assert_eq!(
        ada.patch(&path(&task), json!({"recurrence": {"rule": "FREQ=DAILY"}})).await.invalid_fields(),
        ["#/recurrence/rule"]
    );
    assert_eq!(ada.footprint().await, before);
    let custom = json!({"recurrence": {"type": "custom", "rule": "FREQ=DAILY;BYDAY=MO", "interval": null}});
    let now = ada.patch(&path(&task), custom).await.expect(200);
    assert_eq!(now["recurrence"]["rule"], "FREQ=DAILY;BYDAY=MO");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_recurrence_that_this_version_cannot_parse_is_kept_until_a_patch_sets_it(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada.task(json!({"title": "a", "due_at": ahead(30), "recurrence": {"type": "daily"}})).await;
    sqlx::query("update tasks set recurrence_type = 'custom', recurrence_rule = 'FREQ=FORTNIGHTLY', version = version")
        .execute(&db)
        .await
        .unwrap();
    let (start, series, occurrence, _) = columns(&db).await;
    let renamed = ada.patch(&path(&task), json!({"title": "b", "scope": "following"})).await.expect(200);
    assert_eq!((&renamed["title"], &renamed["recurrence"]["rule"]), (&json!("b"), &json!("FREQ=FORTNIGHTLY")));
    assert_eq!(columns(&db).await, (start, series, occurrence, None));
    let removed = ada.patch(&path(&task), json!({"recurrence": null})).await.expect(200);
    assert_eq!(removed["recurrence"], Value::Null);
    assert_eq!(columns(&db).await, (None, None, None, None));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn completing_shows_when_the_next_occurrence_is_due(db: PgPool) {
    let ada = Client::new(&db);
    let task = ada
        .task(json!({"title": "water the plants", "due_at": "2026-01-01T08:00:00Z", "recurrence": {"type": "daily", "interval": 3, "anchor": "completion"}}))
        .await;
    let done = ada.post(&format!("{}/complete", path(&task)), json!(null)).await.expect(200);
    let next = instant(&done["next_occurrence_at"]);
    let days = (next.date_naive() - instant(&done["completed_at"]).date_naive()).num_days();
    assert_eq!((days, next.time().to_string()), (3, "08:00:00".to_owned()));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_preview_shows_the_next_dates_with_the_reason_of_each_shift_and_omission(db: PgPool) {
    let ada = Client::new(&db);
    ada.patch("/v1/me", json!({"time_zone": "Europe/Berlin"})).await.expect(200);
    let before = ada.footprint().await;
    let preview = async |body: Value| ada.post("/v1/recurrence/preview", body).await.expect(200)["items"].clone();
    let daily = json!({"recurrence": {"type": "daily"}, "due_at": "2027-03-27T02:30:00+01:00", "count": 2});
    assert_eq!(
        preview(daily).await,
        json!([
            {"named": "2027-03-28T02:30:00", "due_at": "2027-03-28T01:30:00Z", "local": "2027-03-28T03:30:00", "reasons": ["gap"]},
            {"named": "2027-03-29T02:30:00", "due_at": "2027-03-29T00:30:00Z", "local": "2027-03-29T02:30:00", "reasons": []},
        ])
    );
    let rule = json!({"recurrence": {"type": "custom", "rule": "FREQ=MONTHLY;COUNT=2"}, "due_at": "2027-01-31T09:00:00Z", "time_zone": "UTC"});
    assert_eq!(
        preview(rule).await,
        json!([
            {"named": "2027-02-31T09:00:00", "due_at": null, "local": null, "reasons": ["month_end"]},
            {"named": "2027-03-31T09:00:00", "due_at": "2027-03-31T09:00:00Z", "local": "2027-03-31T09:00:00", "reasons": []},
            {"named": "2027-05-31T09:00:00", "due_at": null, "local": null, "reasons": ["count"]},
        ])
    );
    let yearly = json!({"recurrence": {"type": "yearly"}, "due_at": "2027-01-31T09:00:00Z"});
    assert_eq!(preview(yearly).await.as_array().unwrap().len(), 5);
    assert_eq!(ada.footprint().await, before);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn the_dates_of_a_preview_are_those_of_the_task(db: PgPool) {
    let ada = Client::new(&db);
    for recurrence in [
        json!({"type": "monthly", "interval": 1}),
        json!({"type": "custom", "rule": "FREQ=MONTHLY;BYDAY=-1FR"}),
        json!({"type": "weekly", "anchor": "completion"}),
    ] {
        let (due_at, time_zone) = ("2031-01-31T09:00:00Z", "America/New_York");
        let body = json!({"recurrence": recurrence, "due_at": due_at, "time_zone": time_zone, "count": 1});
        let previewed = ada.post("/v1/recurrence/preview", body).await.expect(200);
        let task = json!({"title": "a", "recurrence": recurrence, "due_at": due_at, "time_zone": time_zone});
        assert_eq!(previewed["items"][0]["due_at"], ada.task(task).await["next_occurrence_at"], "{recurrence}");
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_invalid_preview_names_its_fields(db: PgPool) {
    let ada = Client::new(&db);
    for (body, fields) in [
        (json!({}), &["#/recurrence", "#/due_at"][..]),
        (
            json!({"recurrence": {"type": "hourly"}, "due_at": "tomorrow", "count": 21}),
            &["#/recurrence/type", "#/due_at", "#/count"],
        ),
        (json!({"recurrence": {"type": "custom", "rule": "FREQ=HOURLY"}, "due_at": ahead(1)}), &["#/recurrence/rule"]),
    ] {
        assert_eq!(ada.post("/v1/recurrence/preview", body).await.invalid_fields(), fields);
    }
}
