//! Failures of the mail server: outage, refusal, lost connection, throttling.

use lab::wait::{self, until_equal};
use serde_json::json;

use crate::{
    product::{RunningProduct, SOON, alone},
    user::{User, id},
};

async fn state(product: &RunningProduct, user: &User, title: &str) -> String {
    sqlx::query_scalar(
        "select delivery.state from notification_deliveries delivery join tasks on tasks.id = task_id
         where delivery.user_id = $1 and title = $2",
    )
    .bind(user.id)
    .bind(title)
    .fetch_optional(&product.db)
    .await
    .expect("the database answers")
    .unwrap_or_default()
}

#[test]
fn an_outage_of_the_mail_server_blocks_nothing_and_the_mail_is_sent_once_afterwards() {
    alone(async |product| {
        let user = product.user();
        let smtp = &product.topology.smtp.as_ref().expect("an SMTP server").process;
        product.without_repair(); // the delivery's own job must retry
        smtp.kill9();
        let task = user.remind("later", user.in_ms(500).await).await;
        until_equal("the delivery waits", SOON, "retrying".to_owned(), async || state(product, &user, "later").await)
            .await;
        // The event is claimed all the same, so events behind it are not held up.
        let unclaimed = "select count(*) from task_events event where user_id = $1 and type = 'reminder.due'
                         and not exists (select from processed_events where event_id = event.id)";
        until_equal("the event is claimed", SOON, 0, async || user.count(unclaimed).await).await;
        assert_eq!(user.events("reminder.due").await, 1);
        assert_eq!(user.task(&task).await["reminders"][0]["state"], "scheduled");

        smtp.start().expect("it starts");
        product.mail_about(&user, "later").await;
        user.settled().await;
        let deliveries = user.deliveries().await;
        assert_eq!((product.mails(&user).len(), deliveries.len()), (1, 1));
        assert_eq!((deliveries[0].state.as_str(), deliveries[0].repeated), ("sent", false));
        assert!(deliveries[0].attempts >= 2, "{deliveries:?}");
        let told: Vec<String> = user.timeline(&task["reminders"][0]).await.into_iter().map(|(what, _)| what).collect();
        assert!(told.contains(&"retrying".to_owned()) && told.last().is_some_and(|last| last == "sent"), "{told:?}");
    });
}

#[test]
fn a_temporary_refusal_is_retried_and_a_permanent_one_is_recorded() {
    alone(async |product| {
        let user = product.user();
        product.without_repair();
        let smtp = product.topology.smtp.as_ref().expect("an SMTP server");
        // One after the other, so that a retry does not meet the order meant for the next message.
        for (order, title) in [("rcpt 450 1", "refused for now"), ("data 451 1", "refused at its end")] {
            smtp.order(order).expect("the order is written");
            user.remind(title, user.in_ms(0).await).await;
            product.mail_about(&user, title).await;
        }
        smtp.order("rcpt 550 1").expect("the order is written");
        let never = user.remind("refused permanently", user.in_ms(0).await).await;
        until_equal("the delivery fails", SOON, "failed".to_owned(), async || {
            state(product, &user, "refused permanently").await
        })
        .await;

        user.settled().await;
        assert_eq!(product.mails(&user).len(), 2, "{:?}", product.subjects(&user));
        for delivery in user.deliveries().await {
            let (wanted, attempts) =
                if delivery.reminder_id == id(&never["reminders"][0]["id"]) { ("failed", 1) } else { ("sent", 2) };
            assert_eq!((delivery.state.as_str(), delivery.attempts), (wanted, attempts), "{delivery:?}");
        }
        assert_eq!(user.task(&never).await["reminders"][0]["state"], "failed");
        let told = user.timeline(&never["reminders"][0]).await;
        let (what, entry) = told.last().expect("a timeline");
        assert_eq!((what.as_str(), &entry["reason"]), ("failed", &json!("smtp RCPT: 550")), "{told:?}");
    });
}

#[test]
fn a_message_whose_connection_is_lost_after_the_final_dot_is_repeated_once_and_recorded() {
    alone(async |product| {
        let user = product.user();
        let smtp = product.topology.smtp.as_ref().expect("an SMTP server");
        // The server may or may not have kept the message; a client cannot tell.
        for (order, title, mails) in [("accept-drop 1", "kept", 2), ("drop 1", "not kept", 1)] {
            smtp.order(order).expect("the order is written");
            let task = user.remind(title, user.in_ms(0).await).await;
            wait::until("the delivery ends", SOON, async || match state(product, &user, title).await.as_str() {
                "sent" => Ok(()),
                other => Err(other.to_owned()),
            })
            .await;
            let sent: Vec<_> = product.mails(&user).into_iter().filter(|mail| mail.subject.ends_with(title)).collect();
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
fn send_now_sends_once_whether_by_invocation_or_by_job() {
    alone(async |product| {
        let user = product.user();
        let far = user.in_ms(3_600_000).await;
        // Two paths: service invocation, and the job that the event arms.
        let both = user.remind("by both paths", far).await;
        let by_invocation = user.remind("by the invocation", far).await;
        let by_job = user.remind("by the job", far).await;
        user.settled().await;
        let send_now = async |task: &serde_json::Value| {
            let path = format!("/v1/reminders/{}/send-now", id(&task["reminders"][0]["id"]));
            user.post(&path, json!({})).await
        };
        send_now(&both).await;
        product.mail_about(&user, "by both paths").await;
        user.settled().await;

        product.topology.daprd("task-updated").process.stop(SOON);
        send_now(&by_invocation).await;
        product.mail_about(&user, "by the invocation").await;
        product.topology.daprd("task-updated").process.start().expect("it starts");

        user.settled().await;
        product.function("reminder-due").process.kill9(); // the invocation fails
        send_now(&by_job).await;
        product.function("reminder-due").process.start().expect("it starts");
        product.mail_about(&user, "by the job").await;
        user.settled().await;
        assert_eq!(product.mails(&user).len(), 3, "{:?}", product.subjects(&user));
        assert_eq!(user.events("reminder.due").await, 3);
    });
}

#[test]
fn a_throttling_server_pauses_all_deliveries_and_losing_that_state_loses_none() {
    alone(async |product| {
        let user = product.user();
        let smtp = product.topology.smtp.as_ref().expect("an SMTP server");
        smtp.order("rcpt 421 1").expect("the order is written");
        let first = user.remind("asked to wait", user.in_ms(0).await).await;
        let state_of = async |title: &str| state(product, &user, title).await;
        until_equal("the server asks to wait", SOON, "retrying".to_owned(), async || state_of("asked to wait").await)
            .await;
        // The next delivery is not attempted, although the server would now accept it.
        let second = user.remind("waits as well", user.in_ms(0).await).await;
        until_equal("the delivery waits", SOON, "retrying".to_owned(), async || state_of("waits as well").await).await;
        let attempts: Vec<i32> = user.deliveries().await.iter().map(|delivery| delivery.attempts).collect();
        assert_eq!(attempts, [1, 0]);
        let why = user.timeline(&second["reminders"][0]).await;
        let reason = &why.last().expect("a timeline").1["reason"];
        assert_eq!(reason, "the provider asked all of us to wait", "{why:?}");

        // The state is lost, and both deliveries are due.
        let forgotten =
            product.topology.postgres.sql("dapr_state", "delete from state returning key").expect("an answer");
        assert!(forgotten.contains("throttled-smtp"), "{forgotten:?}");
        sqlx::query("update notification_deliveries set next_attempt_at = now() where user_id = $1")
            .bind(user.id)
            .execute(&product.db)
            .await
            .expect("the database answers");
        let sidecar = product.sidecar("reminder-due");
        for task in [&first, &second] {
            let delivery: uuid::Uuid = sqlx::query_scalar("select id from notification_deliveries where task_id = $1")
                .bind(id(&task["id"]))
                .fetch_one(&product.db)
                .await
                .expect("a delivery");
            let name = format!("delivery-{delivery}-again");
            sidecar
                .delivery_jobs
                .arm(&name, user.in_ms(0).await, &json!({"delivery_id": delivery}))
                .await
                .expect("Dapr accepts the job");
        }
        user.settled().await; // `reminder-due` itself still waits for 30 s
        product.mail_about(&user, "asked to wait").await;
        product.mail_about(&user, "waits as well").await;
        assert_eq!(product.mails(&user).len(), 2, "{:?}", product.subjects(&user));
    });
}
