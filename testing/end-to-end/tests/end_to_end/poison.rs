//! A poison message becomes one dead letter with its reason, and its neighbours are not held up. A replayed dead letter has
//! exactly one effect.

use std::time::Duration;

use chrono::Utc;
use lab::{api::Method, kafka::topics::record, wait};
use serde_json::{Value, json};
use shared::{
    catalogue::EventType,
    schema::{Channel, Payload, ReminderSent, TaskChanged, TaskCreated, TaskRef, TaskUpdated},
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    product::{RunningProduct, SOON, alone, beside_others},
    topics::{self, cloud_event},
    user::{User, id},
};

#[test]
fn poison_among_task_events_is_dead_lettered_without_blocking_its_neighbours() {
    beside_others(async |product| {
        let functions = ["task-created", "task-updated", "task-completed", "task-deleted"];
        dead_lettered(product, &functions, |task| TaskUpdated { task }).await;
    });
}

#[test]
fn poison_among_reminders_is_dead_lettered_without_blocking_its_neighbours() {
    beside_others(async |product| {
        dead_lettered(product, &["reminder-due", "reminder-sent"], |task| ReminderSent {
            task,
            reminder_id: Uuid::now_v7(),
            remind_at: Utc::now(),
            reminder_version: 1,
            channel: Channel::Email.into(),
            target: None,
            delivery_id: Uuid::now_v7(),
        })
        .await;
    });
}

#[test]
fn poison_among_task_updates_is_dead_lettered_without_blocking_its_neighbours() {
    beside_others(async |product| {
        dead_lettered(product, &["task-changed"], |task| TaskChanged { task, cause: TaskCreated::TYPE.into() }).await;
    });
}

/// A row of `dead_letters`.
#[derive(Debug, sqlx::FromRow)]
struct Letter {
    id: Uuid,
    consumer: String,
    origin: String,
    reason: String,
    state: String,
}

async fn letters(product: &RunningProduct, payload_has: &str) -> Vec<Letter> {
    sqlx::query_as(
        "select id, consumer, origin, reason, state from dead_letters where strpos(payload, $1) > 0 order by consumer",
    )
    .bind(payload_has)
    .fetch_all(&product.db)
    .await
    .expect("the database answers")
}

/// The seconds between the handling of two events.
async fn apart(product: &RunningProduct, first: Uuid, last: Uuid) -> f64 {
    sqlx::query_scalar(
        "select extract(epoch from max(processed_at) filter (where event_id = $2)
                                 - min(processed_at) filter (where event_id = $1))::float8
         from processed_events where event_id in ($1, $2)",
    )
    .bind(first)
    .bind(last)
    .fetch_one(&product.db)
    .await
    .expect("both were handled")
}

/// Writes poison between good events of a partition. `functions` consume this topic.
async fn dead_lettered<T: Payload>(product: &RunningProduct, functions: &[&str], payload: impl Fn(TaskRef) -> T) {
    let user = product.user();
    let task = user.create(json!({"title": "neighbour"})).await;
    let task_id = id(&task["id"]);
    let payload = || payload(TaskRef { task_id, user_id: user.id, title: "neighbour".to_owned(), version: 2 });
    let event = async || product.outboxed(&payload()).await;
    let unknown = || cloud_event(&payload());
    let (first, changed, last) = (event().await, event().await, event().await);
    // Of a message only id and type are read: this one is handled as its row says.
    let mut changed_data = changed.json.clone();
    changed_data["data"] = json!({"task_id": 7});
    // daprd reads `traceparent`, or `traceid` if there is none. Older versions crash on one that is not a string, again at each start.
    changed_data["traceparent"] = json!(7);
    let mut forged = unknown();
    forged["traceparent"] = json!({"a": 1});
    let mut wrong_id = unknown();
    wrong_id["id"] = json!(Uuid::new_v4());
    wrong_id["traceid"] = json!([true]);
    let not_json = format!("{{\"id\": this is no JSON {}", Uuid::new_v4());

    let partition = topics::partitions(&product.kafka().await, T::TYPE.topic()).await.swap_remove(0);
    let bytes = |event: &Value| record(Some(&task_id.to_string()), event.to_string().into_bytes());
    let put = vec![
        first.record(),
        bytes(&changed_data),
        bytes(&forged),
        record(Some("poison"), not_json.clone().into_bytes()),
        bytes(&wrong_id),
        last.record(),
    ];
    let began = Instant::now();
    topics::append(&partition, put.clone()).await;
    product.claimed(&[first.id, changed.id, last.id]).await;
    assert!(began.elapsed() < Duration::from_secs(5), "its neighbour waited for {:?}", began.elapsed());
    let mut held_up = vec![apart(product, first.id, last.id).await];
    // On a busy machine a single measurement may take a second, but not each one.
    while held_up[held_up.len() - 1] >= 1.0 && held_up.len() < 4 {
        let (before, behind) = (event().await, event().await);
        topics::append(&partition, vec![before.record(), bytes(&unknown()), behind.record()]).await;
        product.claimed(&[before.id, behind.id]).await;
        held_up.push(apart(product, before.id, behind.id).await);
    }
    assert!(held_up[held_up.len() - 1] < 1.0, "seconds until the neighbour was handled: {held_up:?}");

    // The same records again: events have no other effect, and poison is a letter for each place where it lies.
    topics::append(&partition, put).await;
    let end = event().await;
    topics::append(&partition, vec![end.record()]).await;
    product.claimed(&[end.id]).await;

    for (poison, reason) in [(&forged, "the outbox does not have it"), (&wrong_id, "its id is not a UUIDv7")] {
        let letters = letters(product, poison["id"].as_str().unwrap_or_default()).await;
        assert_eq!(letters.len(), 2, "two letters for {poison}: {letters:?}");
        for letter in letters {
            assert_eq!((letter.consumer.as_str(), letter.origin.as_str()), (T::TYPE.consumer(), "function"));
            assert!(letter.reason.contains(reason) && letter.state == "open", "{letter:?}");
        }
        let claims =
            product.count("select count(*) from processed_events where event_id = $1", id(&poison["id"])).await;
        assert_eq!(claims, 0);
    }
    // The daprd of each function finds for itself that the record is not an event.
    let mut wanted = functions.to_vec();
    wanted.sort_unstable();
    wait::until("each function's daprd dead-letters it", SOON, async || {
        let letters = letters(product, &not_json).await;
        let of: Vec<&str> = letters.iter().map(|letter| letter.consumer.as_str()).collect();
        let told = letters.iter().all(|letter| letter.origin == "daprd");
        if of == wanted && told { Ok(()) } else { Err(format!("{letters:?}")) }
    })
    .await;
    for event in [&first, &changed, &last, &end] {
        let handled = match T::TYPE {
            EventType::TaskChanged => "select count(*) from feed where event_id = $1",
            _ => "select count(*) from audit_logs where event_id = $1",
        };
        assert_eq!(product.count(handled, event.id).await, 1, "{event:?}");
        assert!(letters(product, &event.id.to_string()).await.is_empty(), "{event:?}");
    }
}

/// Makes the user's inserts into `audit_logs` fail, with an error that is not an outage.
async fn break_for(product: &RunningProduct, user: &User) {
    let broken = "create function broken_for_a_while() returns trigger language plpgsql as
                  $$ begin raise exception 'broken for a while'; end $$";
    let when = format!(
        "create trigger broken before insert on audit_logs for each row when (new.user_id = '{}')
         execute function broken_for_a_while()",
        user.id
    );
    for statement in [broken, &when] {
        product.topology.postgres.sql("punctual", statement).expect("the database answers");
    }
}

#[test]
fn an_event_that_fails_five_times_is_dead_lettered_and_replayed_with_one_effect() {
    alone(async |product| {
        let (user, operator) = (product.user(), product.operator());
        user.create(json!({"title": "before"})).await;
        user.settled().await;
        break_for(product, &user).await;
        let task = user.remind("replayed", user.in_ms(3_600_000).await).await;
        let letter = wait::until("the fifth failure rejects it", SOON, async || {
            let letters = letters(product, &id(&task["id"]).to_string()).await;
            letters.into_iter().next().ok_or_else(|| "no letter".to_owned())
        })
        .await;
        assert_eq!((letter.consumer.as_str(), letter.origin.as_str()), ("task-created", "function"), "{letter:?}");
        assert!(
            letter.reason.contains("it failed 5 times") && letter.reason.contains("broken for a while"),
            "{letter:?}"
        );
        assert_eq!(user.events("task.changed").await, 1, "the failing handler had no effect");

        product.topology.postgres.sql("punctual", "drop function broken_for_a_while cascade").expect("an answer");
        let path = format!("/v1/dead-letters/{}/replay", letter.id);
        let refused = user.send(Method::POST, &path, Some(&json!({}))).await;
        assert_eq!(refused.status, 403, "{refused:?}");
        assert!(open_letters(&operator).await.contains(&letter.id));
        let twice = tokio::join!(operator.post(&path, json!({})), operator.post(&path, json!({})));
        assert_eq!((&twice.0.body["state"], &twice.1.body["state"]), (&json!("replayed"), &json!("replayed")));
        user.settled().await;
        operator.post(&path, json!({})).await;
        user.settled().await;

        assert!(!open_letters(&operator).await.contains(&letter.id));
        let history = user.history(&task).await;
        assert_eq!(history, ["task.created", "reminder.armed"], "{history:?}");
        assert_eq!(user.events("task.changed").await, 2);
        assert_eq!(user.count("select count(*) from feed where user_id = $1").await, 2);
    });
}

async fn open_letters(operator: &User) -> Vec<Uuid> {
    let mut open = Vec::new();
    let mut path = "/v1/dead-letters?limit=100".to_owned();
    loop {
        let page = operator.get(&path).await;
        open.extend(page["items"].as_array().expect("a page").iter().map(|letter| id(&letter["id"])));
        let Some(next) = page["next_cursor"].as_str() else { return open };
        path = format!("/v1/dead-letters?limit=100&cursor={next}");
    }
}
