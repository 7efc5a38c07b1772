//! Bursts: reminders due at the same instant, and a user who floods the API.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use lab::{api::Method, wait};
use serde_json::json;

use crate::product::{HEALED, alone, together};

#[test]
fn reminders_due_at_the_same_instant_are_each_sent_once_and_never_early() {
    alone(async |product| {
        let users: Vec<_> = (0..15).map(|_| product.user()).collect();
        let due = users[0].in_ms(15_000).await;
        for number in 0..20 {
            let remind = users.iter().cloned().map(|user| async move {
                user.remind(&format!("all at once {number:02}"), due).await;
            });
            together(remind).await;
        }
        assert!(users[0].in_ms(0).await < due - TimeDelta::seconds(1), "the machine is too slow for this test");
        for user in &users {
            wait::until("every reminder is sent", HEALED, async || match product.mails(user).len() {
                20.. => Ok(()),
                some => Err(format!("{some} of 20")),
            })
            .await;
            user.settled().await;
            let mails = product.mails(user);
            let mut subjects: Vec<&str> = mails.iter().map(|mail| mail.subject.as_str()).collect();
            subjects.sort_unstable();
            let expected: Vec<String> = (0..20).map(|number| format!("Reminder: all at once {number:02}")).collect();
            assert_eq!(subjects, expected);
            assert!(mails.iter().all(|mail| mail.accepted_at >= due), "due {due}: {mails:?}");
        }
    });
}

#[test]
fn a_user_who_floods_the_api_is_refused_while_another_is_served() {
    alone(async |product| {
        let (greedy, other) = (product.user(), product.user());
        let flood: Vec<_> = (0..40)
            .map(|_| {
                let greedy = greedy.clone();
                async move {
                    let mut statuses = Vec::new();
                    for number in 0..20 {
                        let body = json!({ "title": format!("more {number}") });
                        statuses.push(greedy.send(Method::POST, "/v1/tasks", Some(&body)).await.status);
                    }
                    statuses
                }
            })
            .collect();
        let flood = tokio::spawn(together(flood));
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = Instant::now();
        other.create(json!({"title": "only one"})).await;
        assert!(began.elapsed() < Duration::from_secs(3), "took {:?}", began.elapsed());

        let statuses: Vec<u16> = flood.await.expect("the flood ends").into_iter().flatten().collect();
        let of = |status: u16| statuses.iter().filter(|found| **found == status).count();
        let (made, refused) = (of(201), of(429));
        assert_eq!(made + refused, statuses.len(), "{statuses:?}");
        assert!(refused > 0, "no request was refused");
        // Each acknowledged request had exactly one effect; a refused one had none.
        greedy.settled().await;
        let tasks = greedy.count("select count(*) from tasks where user_id = $1").await;
        assert_eq!((tasks, greedy.events("task.created").await), (made as i64, made as i64));
    });
}
