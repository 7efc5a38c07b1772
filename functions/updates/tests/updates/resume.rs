//! A client that breaks and comes back.

use futures_util::FutureExt as _;
use proptest::{
    collection::vec,
    prelude::ProptestConfig,
    prop_assert_eq,
    test_runner::{TestCaseError, TestRunner},
};
use tokio::runtime::Handle;

use super::*;

/// What a client has of a stream that breaks after some bytes: the numbers of its whole events.
fn numbers(text: &str) -> Vec<i64> {
    let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
    let events = whole.split("\n\n").map(Event::parse);
    events.filter(|event| event.name == "changed").filter_map(|event| event.id).collect()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_client_that_breaks_at_any_byte_gets_every_change_once_in_order(db: PgPool) {
    let ada = user(&db).await;
    change(&db, ada, 4).await;
    let process = Process::new(&db, deaf());
    let mut text = String::new();
    let mut events = process.open(ada, Some("0")).await;
    while numbers(&text).last() != Some(&4) {
        text += &format!("{}\n\n", events.next_block().await.unwrap());
    }
    drop(events);
    for broken in 0..=text.len() {
        let mut seen = numbers(&text[..broken]);
        let last = seen.last().copied().unwrap_or(0);
        let mut events = process.open(ada, Some(&last.to_string())).await;
        seen.extend(events.changes(4 - seen.len()).await);
        assert_eq!(seen, [1, 2, 3, 4], "it broke after {broken} bytes");
    }
}

/// Two processes, a feed that grows meanwhile, and a client that reads some bytes of one stream after the other.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_client_that_breaks_again_and_again_gets_every_change_once_in_order(db: PgPool) {
    const CHANGES: i64 = 60;
    let here = Handle::current();
    let property = move || {
        let mut runner =
            TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) });
        let streams = vec((0..2_usize, 1..700_usize), 1..12);
        let outcome = runner.run(&streams, |streams| {
            let seen = here.block_on(read(&db, &streams, CHANGES));
            prop_assert_eq!(seen, (1..=CHANGES).collect::<Vec<_>>());
            Ok::<_, TestCaseError>(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    };
    tokio::task::spawn_blocking(property).await.unwrap();
}

/// Reads the given number of bytes of a stream of each process, and the last stream to the end. Returns the numbers in the order in which they came.
async fn read(db: &PgPool, streams: &[(usize, usize)], changes: i64) -> Vec<i64> {
    let ada = user(db).await;
    let processes = [Process::new(db, deaf()), Process::new(db, deaf())];
    let writing = tokio::spawn({
        let db = db.clone();
        async move {
            for _ in 0..changes {
                change(&db, ada, 1).await;
                notify(&db, ada).await;
            }
        }
    });
    let mut seen = Vec::new();
    for (process, bytes) in streams {
        let last = seen.last().copied().unwrap_or(0);
        let mut stream = processes[*process].open(ada, Some(&last.to_string())).await;
        let mut text = String::new();
        while text.len() < *bytes && last < changes {
            match stream.body.next().now_or_never() {
                Some(piece) => text += str::from_utf8(&piece.unwrap().unwrap()).unwrap(),
                // At the end of the feed the rest of the bytes would never come.
                None if writing.is_finished() => break,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
        seen.extend(numbers(&text[..text.len().min(*bytes)]));
    }
    let last = seen.last().copied().unwrap_or(0);
    let mut rest = processes[0].open(ada, Some(&last.to_string())).await;
    seen.extend(rest.changes(usize::try_from(changes - last).unwrap()).await);
    writing.await.unwrap();
    seen
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_client_that_cannot_get_what_it_missed_is_reset(db: PgPool) {
    let ada = user(&db).await;
    change(&db, ada, 600).await;
    sqlx::query("delete from feed where seq <= 200 or seq = 300").execute(&db).await.unwrap();
    let process = Process::new(&db, deaf());
    for (id, why) in [
        ("601", "it is above the feed"),
        ("9223372036854775807", "it is above every feed"),
        ("9223372036854775808", "it is no number of a feed"),
        ("-1", "the same"),
        ("x", "the same"),
        ("99", "it is more than 500 behind"),
        ("150", "the feed begins later"),
        ("299", "a change is missing"),
    ] {
        let mut events = process.open(ada, Some(id)).await;
        assert!(Event::parse(&events.next_block().await.unwrap()).retry.is_some());
        let reset = events.next().await.unwrap();
        assert_eq!((&*reset.name, reset.id), ("reset", Some(600)), "{id}: {why}");
        assert_eq!(reset.data, json!({"seq": 600}));
    }
    for (id, expected) in [("300", 300), ("599", 1)] {
        assert_eq!(process.open(ada, Some(id)).await.changes(expected).await.last(), Some(&600));
    }
    let mut events = process.open(ada, Some("600")).await;
    assert!(Event::parse(&events.next_block().await.unwrap()).retry.is_some());
    assert!(events.is_silent().await, "it has seen everything");
    // An empty id is none.
    assert_eq!(process.open(ada, Some("")).await.next().await.unwrap().name, "ready");
}

/// The process keeps the last changes only. A stream that needs more reads them, or ends.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_burst_of_changes_is_told_whole_up_to_500(db: PgPool) {
    let ada = user(&db).await;
    let process = Process::new(&db, deaf());
    let mut events = process.listen(&db, ada).await;
    change(&db, ada, 400).await;
    notify(&db, ada).await;
    assert_eq!(events.changes(400).await, (2..=401).collect::<Vec<_>>());
    change(&db, ada, 501).await;
    notify(&db, ada).await;
    assert_eq!(events.next().await, None);
    assert_eq!(process.open(ada, Some("401")).await.next().await.unwrap().name, "reset");
}

/// After a restore of the database the feed ends before what clients have seen.
#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_feed_that_goes_back_ends_its_streams_and_resets_its_clients(db: PgPool) {
    let ada = user(&db).await;
    let process = Process::new(&db, deaf());
    change(&db, ada, 5).await;
    let mut events = process.listen(&db, ada).await;
    sqlx::query("update users set feed_seq = 2").execute(&db).await.unwrap();
    sqlx::query("delete from feed where seq > 2").execute(&db).await.unwrap();
    notify(&db, ada).await;
    assert_eq!(events.next().await, None);
    let reset = process.open(ada, Some("6")).await.next().await.unwrap();
    assert_eq!((&*reset.name, reset.id), ("reset", Some(2)));
}
