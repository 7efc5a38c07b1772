//! Waiting for what must happen, and saying what was seen instead when it does not.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

/// Looks until `look` finds what it wants.
///
/// # Panics
/// After `limit`, with what was seen last.
pub(crate) async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        let seen = match look().await {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}; last seen: {seen}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Looks until `look` gives `wanted`.
///
/// # Panics
/// After `limit`, with what was seen last.
pub(crate) async fn until_equal<T: PartialEq + Debug>(
    what: &str,
    limit: Duration,
    wanted: T,
    mut look: impl AsyncFnMut() -> T,
) {
    until(what, limit, async || {
        let seen = look().await;
        if seen == wanted { Ok(()) } else { Err(format!("{seen:?} where {wanted:?} is wanted")) }
    })
    .await;
}

/// Runs futures at the same time and gives back what they gave, in their order.
pub(crate) async fn together<T: Send + 'static>(
    futures: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let running: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::with_capacity(running.len());
    for one in running {
        match one.await {
            Ok(result) => results.push(result),
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
    results
}
