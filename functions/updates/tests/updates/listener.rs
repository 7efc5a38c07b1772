//! How a process hears of changes.

use lab::forwarder::Forwarder;
use shared::{
    catalogue::EventType,
    schema::TaskChanged,
    testing::{app, count, deliver, emitted, execute, task},
};

use super::*;

/// `task-changed` at several processes, `updates` at several others.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn every_stream_of_every_process_gets_every_change_once_in_order(db: PgPool) {
    const CHANGES: usize = 20;
    let ada = user(&db).await;
    let processes = [(); 3].map(|()| Process::new(&db, deaf()));
    let mut streams = Vec::new();
    for process in &processes {
        for _ in 0..2 {
            let mut stream = process.open(ada, None).await;
            assert_eq!(stream.next().await.unwrap().id, Some(0));
            streams.push(stream);
        }
    }
    let writers = [(); 2].map(|()| complete(task_changed::router(app(&db)), app(&db)));
    let mut deliveries = tokio::task::JoinSet::new();
    for n in 0..CHANGES {
        let event = TaskChanged { task: task(&db, ada).await, cause: EventType::TaskUpdated.into() };
        let (routes, event) = (writers[n % 2].clone(), emitted(&db, &event).await);
        deliveries.spawn(async move { deliver(&routes, &event).await });
    }
    assert!(deliveries.join_all().await.into_iter().all(|status| status == StatusCode::OK));
    for stream in &mut streams {
        assert_eq!(stream.changes(CHANGES).await, (1..=20).collect::<Vec<_>>());
    }
}

/// The writer of a change died between its commit and its notification, and nobody could have listened either.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_change_without_a_notification_is_found_by_looking(db: PgPool) {
    let ada = user(&db).await;
    let nobody = db.connect_options().as_ref().clone().host("127.0.0.1").port(9);
    let looking = Settings { look: Duration::from_millis(50), ..deaf() };
    let mut found = Process::listening_at(&db, nobody.clone(), looking).open(ada, None).await;
    let mut missed = Process::listening_at(&db, nobody, deaf()).open(ada, None).await;
    for stream in [&mut found, &mut missed] {
        assert_eq!(stream.next().await.unwrap().id, Some(0));
    }
    change(&db, ada, 2).await;
    assert_eq!(found.changes(2).await, [1, 2]);
    assert!(missed.is_silent().await);
}

/// A stream takes its place before it reads where the feed ends.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_change_that_is_committed_while_a_stream_begins_is_told(db: PgPool) {
    let (ada, ben) = (user(&db).await, user(&db).await);
    let process = Process::new(&db, deaf());
    // So the process listens already.
    let _of_ben = process.listen(&db, ben).await;
    execute(
        &db,
        "create or replace function admit_token(of_user uuid, issued_at timestamptz, is_command boolean) returns void
         language plpgsql as $$ begin perform pg_sleep(0.5); end $$",
    )
    .await;
    let opening = tokio::spawn(async move { process.open(ada, None).await });
    let reads = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    while count(&db, reads).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    change(&db, ada, 1).await;
    notify(&db, ada).await;
    let mut events = opening.await.unwrap();
    assert_eq!(events.next().await.unwrap().id, Some(0), "the change is later than what was read");
    assert_eq!(events.changes(1).await, [1]);
}

/// The listener's connection is open and carries nothing any more, as after the death of a host or a NAT.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_listener_that_hears_nothing_connects_again(db: PgPool) {
    let ada = user(&db).await;
    let forwarder = Forwarder::to("127.0.0.1", db.connect_options().get_port()).unwrap();
    let through = db.connect_options().as_ref().clone().host("127.0.0.1").port(forwarder.port);
    let soon = Duration::from_millis(50);
    let times = Settings { echo: soon, answer: 10 * soon, pause: soon, ..deaf() };
    let mut events = Process::listening_at(&db, through, times).listen(&db, ada).await;
    assert_eq!(forwarder.accepted(), 1, "it hears itself, and stays");
    for (break_it, connections) in [(Forwarder::silence as fn(&Forwarder), 2), (Forwarder::cut, 3)] {
        // Every notification until now has been handled.
        assert!(events.is_silent().await);
        break_it(&forwarder);
        let seq = change(&db, ada, 1).await;
        notify(&db, ada).await;
        assert_eq!(events.changes(1).await, [seq]);
        assert_eq!(forwarder.accepted(), connections);
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_process_without_streams_has_no_listener(db: PgPool) {
    const LISTENERS: &str = "select count(*) from pg_stat_activity where application_name = 'listener-of-this-test'";
    let (ada, ben) = (user(&db).await, user(&db).await);
    let listen = db.connect_options().as_ref().clone().application_name("listener-of-this-test");
    let process = Process::listening_at(&db, listen, deaf());
    assert_eq!(count(&db, LISTENERS).await, 0);
    for _ in 0..2 {
        let of_ada = process.listen(&db, ada).await;
        let of_ben = process.listen(&db, ben).await;
        assert_eq!(count(&db, LISTENERS).await, 1);
        drop(of_ada);
        assert!(process.listen(&db, ben).await.is_silent().await);
        assert_eq!(count(&db, LISTENERS).await, 1, "one still listens");
        drop(of_ben);
        timeout(LONG, async { while count(&db, LISTENERS).await > 0 {} }).await.unwrap();
    }
}
