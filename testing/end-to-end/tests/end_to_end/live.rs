//! A client that listens, from its request to the process of `updates`.

use lab::api::id;
use serde_json::json;
use tokio::time::timeout;

use crate::product::{RunningProduct, SOON, beside_others};

#[test]
fn a_client_that_listens_is_told_of_each_change_of_its_user() {
    beside_others(tells_of_changes);
}

pub(crate) async fn tells_of_changes(product: &RunningProduct) {
    let (user, other) = (product.user(), product.user());
    let url = format!("http://127.0.0.1:{}/v1/updates", product.function("updates").port);
    let stream = product.http.get(url).bearer_auth(&user.token).send().await;
    let mut stream = stream.and_then(reqwest::Response::error_for_status).expect("a stream");
    let mut text = String::new();
    until(&mut stream, &mut text, "event: ready\n").await;
    let foreign = other.create(json!({"title": "not for everybody"})).await;
    let task = user.create(json!({"title": "a secret title"})).await;
    user.complete(&task).await;
    for version in [1, 2] {
        until(&mut stream, &mut text, &json!({"task_id": task["id"], "version": version}).to_string()).await;
    }
    assert!(!text.contains("secret"), "{text}");
    assert!(!text.contains(&id(&foreign["id"]).to_string()), "{text}");
}

/// Reads until the stream has a text.
async fn until(stream: &mut reqwest::Response, text: &mut String, wanted: &str) {
    while !text.contains(wanted) {
        let piece = timeout(SOON, stream.chunk()).await.unwrap_or_else(|_| panic!("no {wanted} in {text}"));
        *text += &String::from_utf8_lossy(&piece.expect("the stream goes on").expect("and does not end"));
    }
}
