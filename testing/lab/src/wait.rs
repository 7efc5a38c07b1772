//! Polls until a condition holds or a deadline passes.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

/// Polls until `look` returns `Ok`; `Err` describes what it saw.
///
/// # Errors
/// After `limit`; the message holds what was last seen.
pub async fn poll<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let seen = match look().await {
            Ok(found) => return Ok(found),
            Err(seen) => seen,
        };
        anyhow::ensure!(Instant::now() < deadline, "{what}: not within {limit:?}; last seen: {seen}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// [`poll`] for tests.
///
/// # Panics
/// After `limit`, with what was last seen.
pub async fn until<T>(what: &str, limit: Duration, look: impl AsyncFnMut() -> Result<T, String>) -> T {
    poll(what, limit, look).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Polls until `look` returns `wanted`.
///
/// # Panics
/// After `limit`, with what was last seen.
pub async fn until_equal<T: PartialEq + Debug>(
    what: &str,
    limit: Duration,
    wanted: T,
    mut look: impl AsyncFnMut() -> T,
) {
    until(what, limit, async || {
        let seen = look().await;
        if seen == wanted { Ok(()) } else { Err(format!("{seen:?}, expected {wanted:?}")) }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_never_holds_is_reported_with_the_last_observation() {
        let mut looks = 0;
        let error = poll("it rains", Duration::from_millis(120), async || {
            looks += 1;
            Err::<(), _>(format!("look {looks}: dry"))
        });
        let error = error.await.unwrap_err().to_string();
        assert_eq!(error, format!("it rains: not within 120ms; last seen: look {looks}: dry"));
        assert!(looks > 1);
    }
}
