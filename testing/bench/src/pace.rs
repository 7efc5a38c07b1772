//! The pace at which requests are sent.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};

/// Maximum requests in flight. Only answers slower than this many intervals would need more.
const IN_FLIGHT: usize = 16;
/// The interval of [`steadily`] that sends requests as fast as they are answered.
pub(super) const AT_WILL: Duration = Duration::ZERO;

/// Sends `count` requests, one per `every`, and returns their results in order. A slow answer delays no other request.
/// A rate that was not kept is an error, because the results would describe another load.
pub(super) async fn steadily<T: Send + 'static, F: Future<Output = anyhow::Result<T>> + Send + 'static>(
    count: usize,
    every: Duration,
    send: impl Fn(usize) -> F,
) -> anyhow::Result<Vec<T>> {
    let permits = Arc::new(Semaphore::new(IN_FLIGHT));
    let began = Instant::now();
    let mut requests = Vec::with_capacity(count);
    for index in 0..count {
        sleep_until(began + every * u32::try_from(index)?).await;
        let permit = Arc::clone(&permits).acquire_owned().await?;
        let request = send(index);
        requests.push(tokio::spawn(async move {
            let result = request.await;
            drop(permit);
            result
        }));
    }
    let mut results = Vec::with_capacity(count);
    for request in requests {
        results.push(request.await.context("a request panicked")??);
    }
    let (planned, took) = (every * u32::try_from(count)?, began.elapsed());
    ensure!(
        every == AT_WILL || took < planned.mul_f64(1.1) + Duration::from_secs(1),
        "{count} requests took {:.1} s instead of {:.1} s: this machine does not keep that rate",
        took.as_secs_f32(),
        planned.as_secs_f32()
    );
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    #[tokio::test]
    async fn a_slow_answer_delays_no_other_request() {
        let began = Instant::now();
        let sent = steadily(20, Duration::from_millis(10), |index| async move {
            let at = began.elapsed();
            sleep(Duration::from_millis(if index == 0 { 150 } else { 0 })).await;
            Ok((index, at))
        });
        let sent = sent.await.unwrap();
        assert_eq!(sent.iter().map(|(index, _)| *index).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        assert!(sent.iter().all(|(index, at)| *at >= Duration::from_millis(10) * *index as u32));
        assert!(sent[5].1 < Duration::from_millis(150), "request 5 waited for request 0: {:?}", sent[5].1);
    }

    #[tokio::test]
    async fn a_rate_that_was_not_kept_is_an_error() {
        let slow = |_| async {
            sleep(Duration::from_millis(100)).await;
            Ok(())
        };
        let error = steadily(16 * 15, Duration::from_micros(100), slow).await.unwrap_err().to_string();
        assert!(error.contains("does not keep that rate"), "{error}");
    }
}
