//! Tests with a provider that can be slow, fail and count. Ages are set instead of waited for.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Value, json};

use super::*;

const X: &str = "2Q-6iebfmZhkwQMFj9qHiYSB_2zMRaMOWTiudl7Ga8U";
const Y: &str = "NZ69HQcpK2LzlOz2jt4c1jdq93x6vaD90bCONompYgw";

/// What a provider does, and how often it was asked.
#[derive(Clone, Default)]
struct Provider {
    asked: Arc<AtomicUsize>,
    mood: watch::Sender<Mood>,
}

#[derive(Clone, Default)]
struct Mood {
    keys: Vec<&'static str>,
    fails: bool,
    takes: Duration,
}

impl Provider {
    async fn start(keys: &[&'static str]) -> (Self, KeySet) {
        let provider = Self::default();
        provider.mood.send_modify(|mood| mood.keys = keys.to_vec());
        let answer = async |State(provider): State<Self>| {
            provider.asked.fetch_add(1, Ordering::Relaxed);
            let Mood { keys, fails, takes } = provider.mood.borrow().clone();
            tokio::time::sleep(takes).await;
            let key = |id| json!({"kty": "EC", "crv": "P-256", "kid": id, "x": X, "y": Y});
            let keys: Vec<Value> = keys.into_iter().map(key).collect();
            if fails { Err(StatusCode::INTERNAL_SERVER_ERROR) } else { Ok(Json(json!({"keys": keys}))) }
        };
        let routes = Router::new().route("/jwks", get(answer)).with_state(provider.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, routes).await });
        (provider, KeySet::new(&url).unwrap())
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn becomes(&self, change: impl FnOnce(&mut Mood)) {
        self.mood.send_modify(change);
    }
}

impl KeySet {
    /// Makes everything that happened so much older.
    fn age(&self, by: Duration) {
        self.0.held.send_modify(|held| {
            for time in [&mut held.fetched, &mut held.tried] {
                *time = time.map(|at| at.checked_sub(by).expect("the clock began long ago"));
            }
        });
    }

    async fn knows(&self, id: &str) -> bool {
        self.find(Some(id)).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn while_an_unknown_key_is_looked_up_known_keys_answer_at_once() {
    let (provider, keys) = Provider::start(&["one"]).await;
    assert!(keys.knows("one").await);
    for (age, fails) in [(COOL_DOWN, false), (COOL_DOWN, true), (MAX_AGE, false), (MAX_AGE, true)] {
        keys.age(age);
        provider.becomes(|mood| (mood.takes, mood.fails) = (Duration::from_millis(400), fails));
        let asked = provider.asked();
        let unknown = tokio::spawn({
            let keys = keys.clone();
            async move { keys.find(Some("made up")).await }
        });
        while provider.asked() == asked {
            tokio::task::yield_now().await;
        }
        let begun = Instant::now();
        for _ in 0..100 {
            assert!(keys.knows("one").await);
        }
        assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
        assert!(!unknown.is_finished(), "the provider was not slow");
        assert_eq!(unknown.await.unwrap().is_err(), fails, "only a provider that answers can refuse");
    }
}

#[tokio::test]
async fn made_up_key_ids_cause_one_fetch_a_minute_also_while_the_provider_fails() {
    let (provider, keys) = Provider::start(&["one"]).await;
    assert!(keys.knows("one").await);
    provider.becomes(|mood| mood.fails = true);
    for minute in 1..=3 {
        keys.age(COOL_DOWN);
        for id in 0..50 {
            assert!(keys.find(Some(&format!("made-up-{id}"))).await.is_err());
        }
        assert_eq!(provider.asked(), 1 + minute);
    }
    keys.age(COOL_DOWN / 2);
    assert!(keys.find(Some("made up")).await.is_err());
    assert_eq!(provider.asked(), 4, "half a minute later");
}

#[tokio::test]
async fn requests_at_once_cause_one_fetch_and_few_of_them_wait_for_it() {
    let (provider, keys) = Provider::start(&["one"]).await;
    provider.becomes(|mood| mood.takes = Duration::from_millis(100));
    let at_once = async |id: &'static str| {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let keys = keys.clone();
            all.spawn(async move { keys.find(Some(id)).await });
        }
        all.join_all().await
    };
    // Nobody can be served before the first fetch, so all wait for it.
    assert!(at_once("one").await.into_iter().all(|found| found.unwrap().is_some()));
    assert_eq!(provider.asked(), 1);
    keys.age(COOL_DOWN);
    let found = at_once("made up").await;
    assert_eq!(provider.asked(), 2);
    assert_eq!(found.iter().filter(|found| matches!(found, Ok(None))).count(), WAITING);
    assert_eq!(found.iter().filter(|found| matches!(found, Err(Problem::Overloaded))).count(), 50 - WAITING);
}

#[tokio::test]
async fn a_new_key_is_found_after_the_cool_down() {
    let (provider, keys) = Provider::start(&["one"]).await;
    assert!(!keys.knows("two").await);
    provider.becomes(|mood| mood.keys.push("two"));
    assert!(!keys.knows("two").await);
    keys.age(COOL_DOWN);
    assert!(keys.knows("two").await);
    assert_eq!(provider.asked(), 2);
}

/// Waits until the refresh beside a request has ended.
async fn refreshed(keys: &KeySet) {
    drop(tokio::time::timeout(Duration::from_secs(10), keys.0.fetching.lock()).await.unwrap());
}

#[tokio::test]
async fn a_withdrawn_key_works_until_the_next_refresh() {
    let (provider, keys) = Provider::start(&["one", "two"]).await;
    assert!(keys.knows("one").await);
    provider.becomes(|mood| mood.keys = vec!["two"]);
    keys.age(MAX_AGE);
    assert!(keys.knows("one").await, "the request that finds them old does not wait");
    refreshed(&keys).await;
    assert!(!keys.knows("one").await);
    assert!(keys.knows("two").await);
    assert_eq!(provider.asked(), 2);
}

#[tokio::test]
async fn expired_keys_authenticate_nobody() {
    let (provider, keys) = Provider::start(&["one"]).await;
    assert!(keys.knows("one").await);
    provider.becomes(|mood| mood.fails = true);
    keys.age(LAST_AGE - Duration::from_secs(10));
    assert!(keys.knows("one").await);
    refreshed(&keys).await;
    keys.age(Duration::from_secs(10));
    assert!(matches!(keys.find(Some("one")).await, Err(Problem::Unavailable(_))));
    provider.becomes(|mood| mood.fails = false);
    keys.age(COOL_DOWN);
    assert!(keys.knows("one").await);
}

#[tokio::test]
async fn a_first_fetch_that_fails_is_repeated_soon_and_then_less_often() {
    let (provider, keys) = Provider::start(&["one"]).await;
    provider.becomes(|mood| mood.fails = true);
    for (failures, pause) in [2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        assert!(keys.find(Some("one")).await.is_err());
        assert_eq!(provider.asked(), failures + 1);
        keys.age(Duration::from_secs(pause - 1));
        assert!(keys.find(Some("one")).await.is_err());
        assert_eq!(provider.asked(), failures + 1, "sooner than {pause} s");
        keys.age(Duration::from_secs(1));
    }
    provider.becomes(|mood| mood.fails = false);
    assert!(keys.knows("one").await);
}

#[tokio::test]
async fn an_empty_answer_withdraws_no_key() {
    let (provider, keys) = Provider::start(&["one"]).await;
    assert!(keys.knows("one").await);
    provider.becomes(|mood| mood.keys.clear());
    keys.age(MAX_AGE);
    assert!(keys.knows("one").await);
    refreshed(&keys).await;
    assert!(keys.knows("one").await);
    assert_eq!(provider.asked(), 2);
}
