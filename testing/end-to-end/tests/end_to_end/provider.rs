//! The mail server is away, slow or refuses.

use serde_json::json;

use crate::{
    user::{User, id},
    wait::{self, until_equal},
    world::{SOON, World, alone},
};

async fn state(world: &World, user: &User, title: &str) -> String {
    sqlx::query_scalar(
        "select delivery.state from notification_deliveries delivery join tasks on tasks.id = task_id
         where delivery.user_id = $1 and title = $2",
    )
    .bind(user.id)
    .bind(title)
    .fetch_optional(&world.db)
    .await
    .expect("the database answers")
    .unwrap_or_default()
}

#[test]
fn a_mail_server_that_is_away_holds_nothing_up_and_gets_its_mail_once_when_it_is_back() {
    alone(async |world| {
        let user = world.user();
        let smtp = &world.topology.smtp.as_ref().expect("an SMTP server").process;
        world.without_repair(); // the delivery's own job must bring it back
        smtp.kill9();
        let task = user.remind("later", user.in_ms(500).await).await;
        until_equal("the delivery waits", SOON, "retrying".to_owned(), async || state(world, &user, "later").await)
            .await;
        // The event that asked for it is done all the same, and so is what comes behind.
        let unclaimed = "select count(*) from task_events event where user_id = $1 and type = 'reminder.due'
                         and not exists (select from processed_events where event_id = event.id)";
        until_equal("the event is done", SOON, 0, async || user.count(unclaimed).await).await;
        assert_eq!(user.events("reminder.due").await, 1);
        assert_eq!(user.task(&task).await["reminders"][0]["state"], "scheduled");

        smtp.start().expect("it starts");
        world.mail_about(&user, "later").await;
        user.settled().await;
        let deliveries = user.deliveries().await;
        assert_eq!((world.mails(&user).len(), deliveries.len()), (1, 1));
        assert_eq!((deliveries[0].state.as_str(), deliveries[0].repeated), ("sent", false));
        assert!(deliveries[0].attempts >= 2, "{deliveries:?}");
        let told: Vec<String> = user.timeline(&task["reminders"][0]).await.into_iter().map(|(what, _)| what).collect();
        assert!(told.contains(&"retrying".to_owned()) && told.last().is_some_and(|last| last == "sent"), "{told:?}");
    });
}

#[test]
fn a_refusal_for_now_is_tried_again_and_one_for_ever_is_told() {
    alone(async |world| {
        let user = world.user();
        world.without_repair();
        let smtp = world.topology.smtp.as_ref().expect("an SMTP server");
        // One after the other: an attempt that comes again must not meet the order that is for the next.
        for (order, title) in [("rcpt 450 1", "refused for now"), ("data 451 1", "refused at its end")] {
            smtp.order(order).expect("it can be told");
            user.remind(title, user.in_ms(0).await).await;
            world.mail_about(&user, title).await;
        }
        smtp.order("rcpt 550 1").expect("it can be told");
        let never = user.remind("refused for ever", user.in_ms(0).await).await;
        until_equal("it is refused", SOON, "failed".to_owned(), async || state(world, &user, "refused for ever").await)
            .await;

        user.settled().await;
        assert_eq!(world.mails(&user).len(), 2, "{:?}", world.subjects(&user));
        for delivery in user.deliveries().await {
            let (wanted, attempts) =
                if delivery.reminder_id == id(&never["reminders"][0]["id"]) { ("failed", 1) } else { ("sent", 2) };
            assert_eq!((delivery.state.as_str(), delivery.attempts), (wanted, attempts), "{delivery:?}");
        }
        assert_eq!(user.task(&never).await["reminders"][0]["state"], "failed");
        let told = user.timeline(&never["reminders"][0]).await;
        let (what, entry) = told.last().expect("a story");
        assert_eq!((what.as_str(), &entry["reason"]), ("failed", &json!("smtp RCPT: 550")), "{told:?}");
    });
}

#[test]
fn a_connection_lost_after_the_final_dot_is_repeated_once_and_told() {
    alone(async |world| {
        let user = world.user();
        let smtp = world.topology.smtp.as_ref().expect("an SMTP server");
        // The server had the message, or had not: nobody can know.
        for (order, title, mails) in [("accept-drop 1", "kept", 2), ("drop 1", "not kept", 1)] {
            smtp.order(order).expect("it can be told");
            let task = user.remind(title, user.in_ms(0).await).await;
            wait::until("its end is known", SOON, async || match state(world, &user, title).await.as_str() {
                "sent" => Ok(()),
                other => Err(other.to_owned()),
            })
            .await;
            let sent: Vec<_> = world.mails(&user).into_iter().filter(|mail| mail.subject.ends_with(title)).collect();
            let sent: Vec<_> =
                sent.iter().filter(|mail| title != "kept" || !mail.subject.contains("not kept")).collect();
            assert_eq!(sent.len(), mails, "{title}: {sent:?}");
            let ids: Vec<_> = sent.iter().map(|mail| mail.message.header("message-id")).collect();
            assert!(ids.iter().all(|id| id.is_some() && *id == ids[0]), "{ids:?}");
            let told: Vec<_> = user.timeline(&task["reminders"][0]).await.into_iter().map(|(what, _)| what).collect();
            assert_eq!(told.iter().filter(|what| *what == "unknown").count(), 1, "{told:?}");
        }
        for delivery in user.deliveries().await {
            assert!(delivery.repeated && delivery.at_dot.is_some() && delivery.attempts == 2, "{delivery:?}");
        }
    });
}

#[test]
fn send_now_sends_once_whichever_way_it_takes() {
    alone(async |world| {
        let user = world.user();
        let far = user.in_ms(3_600_000).await;
        // Both ways: by service invocation, and by the job that its event arms.
        let both = user.remind("both ways", far).await;
        let by_call = user.remind("by the call", far).await;
        let by_job = user.remind("by the job", far).await;
        user.settled().await;
        let send_now = async |task: &serde_json::Value| {
            let path = format!("/v1/reminders/{}/send-now", id(&task["reminders"][0]["id"]));
            user.post(&path, json!({})).await
        };
        send_now(&both).await;
        world.mail_about(&user, "both ways").await;
        user.settled().await;

        world.topology.daprd("task-updated").process.stop(SOON);
        send_now(&by_call).await;
        world.mail_about(&user, "by the call").await;
        world.topology.daprd("task-updated").process.start().expect("it starts");

        user.settled().await;
        world.function("reminder-due").process.kill9(); // the call finds nobody
        send_now(&by_job).await;
        world.function("reminder-due").process.start().expect("it starts");
        world.mail_about(&user, "by the job").await;
        user.settled().await;
        assert_eq!(world.mails(&user).len(), 3, "{:?}", world.subjects(&user));
        assert_eq!(user.events("reminder.due").await, 3);
    });
}

#[test]
fn a_server_that_asks_to_wait_is_left_alone_and_forgetting_that_is_harmless() {
    alone(async |world| {
        let user = world.user();
        let smtp = world.topology.smtp.as_ref().expect("an SMTP server");
        smtp.order("rcpt 421 1").expect("it can be told");
        let first = user.remind("asked to wait", user.in_ms(0).await).await;
        let told = async |title: &str| state(world, &user, title).await;
        until_equal("it is refused", SOON, "retrying".to_owned(), async || told("asked to wait").await).await;
        // Another one is not even attempted, though the server would take it.
        let second = user.remind("waits as well", user.in_ms(0).await).await;
        until_equal("it waits", SOON, "retrying".to_owned(), async || told("waits as well").await).await;
        let attempts: Vec<i32> = user.deliveries().await.iter().map(|delivery| delivery.attempts).collect();
        assert_eq!(attempts, [1, 0]);
        let why = user.timeline(&second["reminders"][0]).await;
        let reason = &why.last().expect("a story").1["reason"];
        assert_eq!(reason, "the provider asked all of us to wait", "{why:?}");

        // The word is lost, and their time has come.
        let forgotten =
            world.topology.postgres.sql("dapr_state", "delete from state returning key").expect("an answer");
        assert!(forgotten.contains("throttled-smtp"), "{forgotten:?}");
        sqlx::query("update notification_deliveries set next_attempt_at = now() where user_id = $1")
            .bind(user.id)
            .execute(&world.db)
            .await
            .expect("the database answers");
        let sidecar = world.sidecar("reminder-due");
        for task in [&first, &second] {
            let delivery: uuid::Uuid = sqlx::query_scalar("select id from notification_deliveries where task_id = $1")
                .bind(id(&task["id"]))
                .fetch_one(&world.db)
                .await
                .expect("a delivery");
            let name = format!("delivery-{delivery}-again");
            sidecar
                .delivery_jobs
                .arm(&name, user.in_ms(0).await, &json!({"delivery_id": delivery}))
                .await
                .expect("Dapr takes it");
        }
        world.mail_about(&user, "asked to wait").await;
        world.mail_about(&user, "waits as well").await;
        user.settled().await;
        assert_eq!(world.mails(&user).len(), 2, "{:?}", world.subjects(&user));
    });
}
