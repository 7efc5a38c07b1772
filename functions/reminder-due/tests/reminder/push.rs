//! Reminders by Web Push, at a push service that decrypts every message and refuses one that breaks a rule.

use std::time::Duration;

use axum::{Router, http::StatusCode};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::Utc;
use lab::push::{Answer, Message, PushService, Subscription, VapidKey};
use reminder_due::{
    email::{EmailConfig, ProviderName},
    push::PushConfig,
};
use reqwest::Certificate;
use serde_json::{Value, json};
use shared::capability::{Action, CapabilityConfig, Keys};
use shared::testing::{
    Dapr, app_with, audit_steps, call_job, count, deliver, due, erase, execute, handed_over, post, step,
};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Folder, email, reminder_state, routes_with_push, sent_events};

/// A process of the function with a push service, a daprd that has the signing key, and a mail folder.
struct Process {
    routes: Router,
    service: PushService,
    dapr: Dapr,
    key: VapidKey,
    folder: Folder,
    db: PgPool,
}

impl Process {
    async fn start(db: &PgPool) -> Self {
        let (service, key) = (PushService::start().await, VapidKey::new());
        let host = service.host();
        Self::start_with(db, service, key, &host).await
    }

    async fn start_with(db: &PgPool, service: PushService, key: VapidKey, hosts: &str) -> Self {
        let (dapr, folder) = (Dapr::start().await, Folder::new());
        dapr.set_secret("vapid-private-keys", &key.pem);
        let roots = vec![Certificate::from_der(&service.certificate).unwrap()];
        let config = EmailConfig {
            mail_dir: Some(folder.0.clone()),
            deadline: Duration::from_secs(2),
            ..email(ProviderName::Files)
        };
        let push = PushConfig { push_hosts: hosts.parse().unwrap(), roots };
        let routes = routes_with_push(app_with(db, &dapr, &dapr, &dapr), config, push);
        Self { routes, service, dapr, key, folder, db: db.clone() }
    }

    /// A reminder on these channels that has just fired, and its `reminder.due`. Its user has as many devices.
    async fn fired(&self, channels: &str, devices: usize) -> (Uuid, Value) {
        let (id, task) = due(&self.db, Utc::now()).await;
        execute(&self.db, &format!("update task_reminders set channels = '{channels}' where id = '{id}'")).await;
        for _ in 0..devices {
            self.subscribe(task.user_id, &self.key.public).await;
        }
        assert_eq!(call_job(&self.routes, id, 1).await, StatusCode::OK);
        let event = "select id from task_events where type = 'reminder.due' and data->>'reminder_id' = $1";
        let event: Uuid = sqlx::query_scalar(event).bind(id.to_string()).fetch_one(&self.db).await.unwrap();
        (id, handed_over(&self.db, event).await)
    }

    async fn subscribe(&self, user: Uuid, key: &str) -> Subscription {
        let subscription = self.service.subscribe(key);
        self.save(user, &subscription, key).await;
        subscription
    }

    async fn save(&self, user: Uuid, subscription: &Subscription, key: &str) {
        sqlx::query(
            "insert into push_subscriptions (id, user_id, endpoint, p256dh, auth, vapid_key)
             values (gen_random_uuid(), $1, $2, $3, $4, $5)",
        )
        .bind(user)
        .bind(&subscription.endpoint)
        .bind(&subscription.p256dh)
        .bind(&subscription.auth)
        .bind(key)
        .execute(&self.db)
        .await
        .unwrap();
    }

    /// The deliveries by push of a reminder: id, state, attempts, whether it was repeated, and why it is not sent.
    async fn deliveries(&self, reminder: Uuid) -> Vec<(Uuid, String, i32, bool, Option<String>)> {
        sqlx::query_as(
            "select id, state, attempts, repeated, reason from notification_deliveries
             where reminder_id = $1 and channel = 'push' order by created_at",
        )
        .bind(reminder)
        .fetch_all(&self.db)
        .await
        .unwrap()
    }

    /// Calls the jobs of first attempts, as the scheduler does.
    async fn call_jobs(&self) {
        for job in self.dapr.names().iter().filter(|job| job.starts_with("delivery-") && job.ends_with("-0")) {
            assert_eq!(post(&self.routes, &format!("/job/{job}"), "{}").await, StatusCode::OK);
        }
    }

    /// Makes the next attempt of a delivery, as its job does at its time.
    async fn attempt(&self, delivery: Uuid, attempts: i32) -> StatusCode {
        execute(&self.db, "update notification_deliveries set next_attempt_at = now()").await;
        post(&self.routes, &format!("/job/delivery-{delivery}-{attempts}"), "{}").await
    }
}

fn topic(reminder: Uuid) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(reminder.as_bytes())
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_due_reminder_is_sent_once_to_each_device_and_once_by_mail(db: PgPool) {
    let process = Process::start(&db).await;
    let former = VapidKey::new();
    process.dapr.set_secret("vapid-private-keys", &format!("{}{}", process.key.pem, former.pem));
    let (id, event) = process.fired("{push,email}", 1).await;
    let user = event["data"]["user_id"].as_str().unwrap().parse().unwrap();
    // A device that subscribed before the keys were exchanged, and one that subscribes too late for this reminder.
    process.subscribe(user, &former.public).await;
    for _ in 0..3 {
        assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
        process.subscribe(user, &process.key.public).await;
        // The event has sent two messages itself.
        process.call_jobs().await;
    }
    process.service.check();
    let messages = process.service.messages();
    assert_eq!((messages.len(), process.folder.messages().len(), process.service.requests()), (2, 1, 2));
    assert_ne!(messages[0].endpoint, messages[1].endpoint);
    for Message { topic, ttl, text, .. } in &messages {
        assert_eq!((topic, topic.len()), (&self::topic(id), 22));
        assert!((86_390..=86_400).contains(ttl), "{ttl}");
        let delivery: Uuid = text["delivery_id"].as_str().unwrap().parse().unwrap();
        assert!(process.deliveries(id).await.iter().any(|(id, ..)| *id == delivery));
        let expected = json!({
            "delivery_id": delivery, "reminder_id": id, "reminder_version": 1, "task_id": event["data"]["task_id"],
            "title": "call the dentist", "remind_at": event["data"]["remind_at"],
        });
        assert_eq!(*text, expected);
    }
    // Each step names the device.
    let named = "select count(distinct device.id) from task_events event join push_subscriptions device on device.id::text = data->>'target'
                 where type = 'reminder.sent' and data->>'channel' = 'push'";
    assert_eq!((count(&db, named).await, sent_events(&db).await), (2, 3));
    let audited = "select count(distinct detail->>'target') from audit_logs where action = 'reminder.sending' and detail->>'channel' = 'push'";
    assert_eq!(count(&db, audited).await, 2);
    let sent = "select count(*) from notification_deliveries where state = 'sent' and attempts = 1 and provider in ('web-push', 'files')";
    assert_eq!(count(&db, sent).await, 3);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn each_answer_of_a_push_service_decides_what_follows(db: PgPool) {
    let process = Process::start(&db).await;
    let refuse = |status| Answer::Refuse(status, None);
    // The answer, the state, the reason, whether it may have been accepted, and the subscriptions that are left.
    for (answer, state, reason, repeated, left) in [
        (refuse(404), "failed", "push.test 404", false, 0),
        (refuse(410), "failed", "push.test 410", false, 0),
        (refuse(413), "failed", "push.test 413", false, 1),
        (refuse(400), "failed", "push.test 400", false, 1),
        (refuse(401), "retrying", "push.test 401", false, 1),
        (refuse(403), "retrying", "push.test 403", false, 1),
        (refuse(302), "retrying", "push.test 302", false, 1),
        // Nobody is asked there: it would answer 404.
        (Answer::Redirect("/elsewhere".to_owned()), "retrying", "push.test 307", false, 1),
        (refuse(500), "retrying", "push.test 500", false, 1),
        (refuse(503), "retrying", "push.test 503", false, 1),
        (refuse(504), "retrying", "push.test 504", true, 1),
        (Answer::Hang, "retrying", "push.test did not answer in time", true, 1),
        (Answer::Close, "retrying", "push.test closed the connection without an answer", true, 1),
    ] {
        process.service.answer([answer.clone()]);
        let (id, event) = process.fired("{push}", 1).await;
        assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK, "{answer:?}");
        let deliveries = process.deliveries(id).await;
        let (delivery, ..) = deliveries[0];
        assert_eq!(deliveries, [(delivery, state.to_owned(), 1, repeated, Some(reason.to_owned()))], "{answer:?}");
        assert_eq!(count(&db, "select count(*) from push_subscriptions").await, left, "{answer:?}");
        let reminder: String =
            sqlx::query_scalar("select state from task_reminders where id = $1").bind(id).fetch_one(&db).await.unwrap();
        assert_eq!(reminder, if state == "failed" { "failed" } else { "scheduled" }, "{answer:?}");
        if state == "retrying" {
            assert!(process.dapr.names().contains(&format!("delivery-{delivery}-1")), "{answer:?}");
            assert_eq!(process.attempt(delivery, 1).await, StatusCode::OK);
            assert_eq!(process.deliveries(id).await, [(delivery, "sent".to_owned(), 2, repeated, None)], "{answer:?}");
        }
        execute(&db, "delete from push_subscriptions").await;
    }
    process.service.check();
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_repeat_whose_acceptance_was_lost_replaces_the_message(db: PgPool) {
    let process = Process::start(&db).await;
    process.service.answer([Answer::AcceptAndClose, Answer::AcceptSilently, Answer::Accept]);
    let (id, event) = process.fired("{push}", 1).await;
    assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
    let (delivery, ..) = process.deliveries(id).await[0];
    for attempts in 1..=2 {
        assert_eq!(process.attempt(delivery, attempts).await, StatusCode::OK);
    }
    assert_eq!(process.deliveries(id).await, [(delivery, "sent".to_owned(), 3, true, None)]);
    let messages = process.service.messages();
    let same = |message: &Message| (message.endpoint.clone(), message.topic.clone(), message.text.clone());
    assert_eq!(messages.len(), 3);
    assert!(messages.iter().all(|message| same(message) == same(&messages[0])), "{messages:?}");
    assert_eq!(sent_events(&db).await, 1);
}

/// A process that dies leaves the row of its last step, and its event unclaimed. So the event comes again.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_death_after_any_step_of_a_push_shows_the_message_once(db: PgPool) {
    let process = Process::start(&db).await;
    // The row that is left. The state, the attempts, whether it was repeated, the new messages, and whether a job makes the next attempt.
    for (left, state, attempts, repeated, messages, has_job) in [
        ("state = 'pending', attempts = 0", "sent", 1, false, 1, false),
        ("state = 'sending', lease_until = now()", "sent", 2, true, 1, false),
        ("state = 'sending', lease_until = now() + interval '1 min'", "sending", 1, false, 0, true),
        ("state = 'sending', lease_until = now(), created_at = 'yesterday'", "unknown", 1, false, 0, false),
        ("state = 'retrying', next_attempt_at = now() + interval '1 min'", "retrying", 1, false, 0, true),
        ("state = 'sent'", "sent", 1, false, 0, false),
    ] {
        process.dapr.wipe();
        let (id, event) = process.fired("{push}", 1).await;
        assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
        let (delivery, ..) = process.deliveries(id).await[0];
        let before = process.service.messages();
        let is_recorded = left == "state = 'sent'";
        let died = format!(
            "delete from processed_events where consumer = 'reminder-due';
             delete from task_events where type = 'reminder.sent' and not {is_recorded};
             update notification_deliveries set {left} where id = '{delivery}'"
        );
        execute(&db, &died).await;
        // It gets the next reminder.
        process.subscribe(event["data"]["user_id"].as_str().unwrap().parse().unwrap(), &process.key.public).await;
        for _ in 0..2 {
            assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK, "{left}");
        }
        let deliveries = process.deliveries(id).await;
        assert_eq!(deliveries.len(), 1, "{left}");
        let (_, found, of, again, _) = &deliveries[0];
        assert_eq!((found.as_str(), *of, *again), (state, attempts, repeated), "{left}");
        // The device replaces a message by the next one of its topic.
        let after = process.service.messages();
        let new = &after[before.len()..];
        let same = |message: &Message| (message.topic.clone(), message.text.clone());
        assert_eq!(new.len(), messages, "{left}");
        assert!(new.iter().all(|message| same(message) == same(before.last().unwrap())), "{left}: {new:?}");
        assert_eq!(process.dapr.names().contains(&format!("delivery-{delivery}-1")), has_job, "{left}");
        let told = "select count(*) from task_events where type = 'reminder.sent' and data->>'delivery_id' = $1";
        let told: i64 = sqlx::query_scalar(told).bind(delivery.to_string()).fetch_one(&db).await.unwrap();
        assert_eq!(told, i64::from(state == "sent"), "{left}");
        let unknown = "select count(*) from audit_logs where action = 'reminder.unknown' and reminder_id = $1";
        let unknown: i64 = sqlx::query_scalar(unknown).bind(id).fetch_one(&db).await.unwrap();
        assert_eq!(unknown, i64::from(repeated || state == "unknown"), "{left}");
    }
    process.service.check();
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_subscription_that_is_gone_is_deleted_together_with_the_end_of_its_delivery(db: PgPool) {
    let process = Process::start(&db).await;
    process.service.answer([Answer::Refuse(410, None), Answer::Refuse(410, None)]);
    let (id, event) = process.fired("{push}", 1).await;
    execute(
        &db,
        "create function dies() returns trigger language plpgsql as
             $$ begin perform pg_terminate_backend(pg_backend_pid()); return old; end $$;
         create trigger dies before delete on push_subscriptions for each row execute function dies()",
    )
    .await;
    assert_eq!(deliver(&process.routes, &event).await, StatusCode::SERVICE_UNAVAILABLE);
    let devices = "select count(*) from push_subscriptions";
    assert_eq!((process.deliveries(id).await[0].1.as_str(), count(&db, devices).await), ("sending", 1));
    execute(
        &db,
        "drop trigger dies on push_subscriptions; drop function dies();
         update notification_deliveries set lease_until = now()",
    )
    .await;
    assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
    let (_, state, attempts, ..) = &process.deliveries(id).await[0];
    // The answer to the first attempt is lost.
    assert_eq!((state.as_str(), *attempts, count(&db, devices).await), ("unknown", 2, 0));
    assert_eq!(reminder_state(&db).await, "failed");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_push_service_that_asks_to_wait_delays_its_own_messages_alone(db: PgPool) {
    let (service, key) = (PushService::start().await, VapidKey::new());
    let hosts = format!("{},localhost", service.host());
    let process = Process::start_with(&db, service, key, &hosts).await;
    process.service.answer([Answer::Refuse(429, Some("120".to_owned()))]);
    let (first, event) = process.fired("{push}", 1).await;
    assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
    let waits = "select count(*) from notification_deliveries where next_attempt_at - started_at between interval '119 s' and interval '121 s'";
    assert_eq!((process.deliveries(first).await[0].1.as_str(), count(&db, waits).await), ("retrying", 1));
    let (second, event) = process.fired("{push,email}", 1).await;
    assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
    let (_, state, attempts, _, reason) = &process.deliveries(second).await[0];
    assert_eq!((state.as_str(), *attempts), ("retrying", 0));
    assert_eq!(reason.as_deref(), Some("the provider asked all of us to wait"));
    assert_eq!((process.service.requests(), process.folder.messages().len()), (1, 1));
    // A device of another push service.
    let (third, event) = process.fired("{push}", 1).await;
    let user = &event["data"]["user_id"];
    let elsewhere = format!(
        "update push_subscriptions set endpoint = 'https://localhost/x' where user_id::text = '{}'",
        user.as_str().unwrap()
    );
    execute(&db, &elsewhere).await;
    assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
    let (_, _, attempts, _, reason) = &process.deliveries(third).await[0];
    assert_eq!((*attempts, reason.as_deref()), (1, Some("localhost could not be reached")));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_late_message_is_kept_for_a_device_until_no_attempt_would_be_made(db: PgPool) {
    let process = Process::start(&db).await;
    process.service.answer([Answer::Refuse(500, None)]);
    let (id, event) = process.fired("{push}", 1).await;
    assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
    execute(&db, "update notification_deliveries set created_at = now() - interval '20 hours'").await;
    let (delivery, ..) = process.deliveries(id).await[0];
    assert_eq!(process.attempt(delivery, 1).await, StatusCode::OK);
    let ttl = process.service.messages()[0].ttl;
    assert!((14_390..=14_400).contains(&ttl), "{ttl}");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn push_without_its_keys_is_tried_again_and_delays_no_mail(db: PgPool) {
    let process = Process::start(&db).await;
    process.dapr.set_secret("vapid-private-keys", "");
    let (id, event) = process.fired("{push,email}", 1).await;
    assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
    assert_eq!((process.folder.messages().len(), process.service.requests()), (1, 0));
    let (delivery, state, .., reason) = process.deliveries(id).await[0].clone();
    assert_eq!((state.as_str(), reason.as_deref()), ("retrying", Some("the keys of Web Push are not available")));
    // A key that is not that of the subscription does not help.
    for (pem, state) in [(VapidKey::new().pem, "retrying"), (process.key.pem.clone(), "sent")] {
        let again = Process::start_with(&db, process.service.clone(), VapidKey::new(), &process.service.host()).await;
        again.dapr.set_secret("vapid-private-keys", &pem);
        again.attempt(delivery, 1).await;
        assert_eq!(process.deliveries(id).await[0].1, state);
    }
    process.service.check();
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn nothing_is_called_that_is_no_push_service_outside(db: PgPool) {
    let (service, key) = (PushService::start().await, VapidKey::new());
    // `localhost` is allowed, and its address is inside.
    let process = Process::start_with(&db, service, key, "localhost,push.test").await;
    for (endpoint, state, reason) in [
        ("https://localhost/x", "retrying", "localhost could not be reached"),
        ("https://example.org/x", "failed", "the endpoint must be at a push service that this server may call"),
        ("https://127.0.0.1/x", "failed", "the endpoint must be at a push service that this server may call"),
        ("http://push.test/x", "failed", "the endpoint must be an https URL without port, user and fragment"),
    ] {
        let (id, event) = process.fired("{push}", 1).await;
        execute(&db, &format!("update push_subscriptions set endpoint = '{endpoint}'")).await;
        assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
        let (_, found, .., why) = &process.deliveries(id).await[0];
        assert_eq!((found.as_str(), why.as_deref()), (state, Some(reason)), "{endpoint}");
        execute(&db, "delete from push_subscriptions").await;
    }
    assert_eq!(process.service.requests(), 0);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_reminder_without_a_device_fails_and_says_why(db: PgPool) {
    let process = Process::start(&db).await;
    let gone = "the push subscription is gone, or the user has none";
    let (id, event) = process.fired("{push}", 0).await;
    assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
    let deliveries = process.deliveries(id).await;
    assert_eq!(deliveries, [(deliveries[0].0, "failed".to_owned(), 1, false, Some(gone.to_owned()))]);
    assert_eq!(reminder_state(&db).await, "failed");
    assert!(audit_steps(&db).await.contains(&step("reminder.failed", Some(gone))));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_device_that_is_removed_before_the_attempt_gets_nothing(db: PgPool) {
    let process = Process::start(&db).await;
    process.service.answer([Answer::Refuse(500, None)]);
    let (id, event) = process.fired("{push}", 1).await;
    assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
    // The device is now that of another user.
    let stranger = shared::testing::user(&db).await;
    sqlx::query("update push_subscriptions set user_id = $1").bind(stranger).execute(&db).await.unwrap();
    let (delivery, ..) = process.deliveries(id).await[0];
    assert_eq!(process.attempt(delivery, 1).await, StatusCode::OK);
    assert_eq!(process.deliveries(id).await[0].1, "failed");
    assert!(process.service.messages().is_empty());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_delivery_of_older_code_becomes_one_per_device(db: PgPool) {
    let process = Process::start(&db).await;
    let (id, event) = process.fired("{push}", 2).await;
    // Older code knows no target, and leaves a channel that it does not know to newer code.
    sqlx::query(
        "insert into notification_deliveries (id, reminder_id, reminder_version, channel, user_id, task_id, event_id)
         select gen_random_uuid(), id, version, unnest(channels), user_id, task_id, $1 from task_reminders
         on conflict on constraint notification_deliveries_once do nothing",
    )
    .bind(event["id"].as_str().unwrap().parse::<Uuid>().unwrap())
    .execute(&db)
    .await
    .unwrap();
    let (old, ..) = process.deliveries(id).await[0];
    // Its job, and its event as well.
    assert_eq!(process.attempt(old, 0).await, StatusCode::OK);
    assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
    for (delivery, ..) in process.deliveries(id).await {
        assert!(process.dapr.names().contains(&format!("delivery-{delivery}-0")));
        assert_eq!(process.attempt(delivery, 0).await, StatusCode::OK);
    }
    let deliveries = process.deliveries(id).await;
    assert!(
        deliveries.len() == 2 && deliveries.iter().all(|(id, state, ..)| *id != old && state == "sent"),
        "{deliveries:?}"
    );
    assert_eq!((process.service.messages().len(), sent_events(&db).await), (2, 2));
    process.service.check();
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_message_hides_the_title_of_a_user_who_wants_that(db: PgPool) {
    let process = Process::start(&db).await;
    let (_, event) = process.fired("{push}", 1).await;
    execute(&db, "update users set hide_titles = true").await;
    assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
    let text = &process.service.messages()[0].text;
    assert!(text.get("title").is_none() && !text.to_string().contains("dentist"), "{text}");
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_message_has_what_its_buttons_need_to_act_on_its_reminder(db: PgPool) {
    let process = Process::start(&db).await;
    let key = "a key of capabilities with 32 bytes or more";
    let capabilities = CapabilityConfig { action_key: Some(key.into()), former_action_key: None };
    let keys = Keys::new(&capabilities).unwrap().unwrap();
    let (id, event) = process.fired("{push}", 1).await;
    let config = EmailConfig { capabilities, ..email(ProviderName::Files) };
    let push = PushConfig {
        push_hosts: process.service.host().parse().unwrap(),
        roots: vec![Certificate::from_der(&process.service.certificate).unwrap()],
    };
    let routes = routes_with_push(app_with(&db, &process.dapr, &process.dapr, &process.dapr), config, push);
    assert_eq!(deliver(&routes, &event).await, StatusCode::OK);
    let text = &process.service.messages()[0].text;
    for (name, action) in [("complete", Action::Complete), ("snooze", Action::Snooze)] {
        let capability = keys.verify(text["actions"][name].as_str().unwrap(), Utc::now()).unwrap();
        assert_eq!((capability.reminder_id, capability.reminder_version, capability.action), (id, 1, action));
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_erased_user_has_no_device_and_gets_nothing(db: PgPool) {
    let process = Process::start(&db).await;
    process.service.answer([Answer::Refuse(500, None)]);
    let (id, event) = process.fired("{push}", 1).await;
    assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
    let (delivery, ..) = process.deliveries(id).await[0];
    erase(&db, event["data"]["user_id"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!(process.attempt(delivery, 1).await, StatusCode::OK);
    assert_eq!(deliver(&process.routes, &event).await, StatusCode::OK);
    let left = "select (select count(*) from push_subscriptions) + (select count(*) from notification_deliveries)";
    assert_eq!((count(&db, left).await, process.service.messages().len()), (0, 0));
}
