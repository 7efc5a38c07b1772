//! Reminders on the devices of a user, at a push service that decrypts them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::TimeDelta;
use lab::{
    api::text,
    push::{Answer, Message},
    wait,
};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    product::{PUSH, SOON, alone},
    user::id,
};

#[test]
fn killing_reminder_due_while_it_pushes_shows_each_reminder_once_on_each_device() {
    alone(async |product| {
        let user = product.user();
        let mut devices = BTreeMap::new();
        for _ in 0..2 {
            let device = PUSH.service.subscribe(&PUSH.key.public);
            let body = json!({
                "endpoint": device.endpoint, "p256dh": device.p256dh, "auth": device.auth, "vapid_key": PUSH.key.public,
            });
            devices.insert(device.endpoint, user.post("/v1/push-subscriptions", body).await.body["id"].clone());
        }
        // The device gets these, and the process dies without knowing.
        PUSH.service.answer(vec![Answer::AcceptSilently; 6]);
        let begin = user.in_ms(1_500).await;
        let mut reminders = Vec::new();
        for number in 0..8 {
            let at = text(begin + TimeDelta::milliseconds(number * 200));
            let reminder = json!({"remind_at": at, "channels": ["push"]});
            let task = user.create(json!({"title": format!("pushed {number}"), "reminders": [reminder]})).await;
            reminders.push(task["reminders"][0].clone());
        }
        product.clock_reaches(begin).await;
        let (killing, mut pause) = (Instant::now(), 60);
        while killing.elapsed() < Duration::from_secs(3) {
            product.kill_and_start("reminder-due");
            tokio::time::sleep(Duration::from_millis(pause)).await;
            pause += 90;
        }
        let open = "select count(*) from task_reminders where user_id = $1 and state <> 'sent'";
        wait::until_equal("each reminder is sent", SOON + SOON, 0, async || user.count(open).await).await;
        user.settled().await;

        PUSH.service.check();
        let messages: Vec<Message> =
            PUSH.service.messages().into_iter().filter(|message| devices.contains_key(&message.endpoint)).collect();
        for endpoint in devices.keys() {
            let here = || messages.iter().filter(move |message| message.endpoint == *endpoint);
            let topics: BTreeSet<&str> = here().map(|message| message.topic.as_str()).collect();
            // A message of a known topic replaces the one before, of the same delivery.
            let deliveries: BTreeSet<String> = here().map(|message| message.text["delivery_id"].to_string()).collect();
            assert_eq!((topics.len(), deliveries.len()), (reminders.len(), reminders.len()), "{messages:?}");
        }
        let rows: Vec<(Uuid, String, i32)> =
            sqlx::query_as("select id, state, attempts from notification_deliveries where user_id = $1")
                .bind(user.id)
                .fetch_all(&product.db)
                .await
                .expect("the database answers");
        assert_eq!(rows.len(), 2 * reminders.len());
        for (delivery, state, attempts) in &rows {
            let same = messages.iter().filter(|message| message.text["delivery_id"] == json!(delivery)).count();
            assert!(
                state == "sent" && (1..=*attempts as usize).contains(&same),
                "{delivery}: {state}, {attempts}, {same}"
            );
        }
        assert!(rows.iter().any(|(.., attempts)| *attempts > 1), "no attempt was interrupted: the test is void");
        assert_eq!(user.events("reminder.sent").await, 2 * 8);
        // The timeline names each device.
        let timeline = user.timeline(&reminders[0]).await;
        let sent = timeline.iter().filter(|(what, _)| what == "sent");
        let named: BTreeSet<Uuid> = sent.map(|(_, entry)| id(&entry["target"])).collect();
        assert_eq!(named, devices.values().map(id).collect());
    });
}
