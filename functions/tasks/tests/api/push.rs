//! The devices of a user: which endpoints are accepted, and whose they are.

use super::*;

/// A device as a browser describes it.
pub(crate) fn device(endpoint: &str) -> Value {
    json!({"endpoint": endpoint, "p256dh": VAPID_KEY, "auth": "A".repeat(22), "vapid_key": VAPID_KEY})
}

const DEVICES: &str = "/v1/push-subscriptions";
const FCM: &str = "https://fcm.googleapis.com/fcm/send/a:b";

async fn devices(user: &Client) -> Vec<Value> {
    user.get(DEVICES).await.expect(200)["items"].as_array().unwrap().clone()
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_device_is_added_once_listed_and_deleted(db: PgPool) {
    let ada = Client::new(&db);
    assert_eq!(ada.get("/v1/me").await.expect(200)["vapid_public_keys"], json!([VAPID_KEY]));
    let added = ada.post(DEVICES, device(FCM)).await.expect(201);
    assert_eq!((&added["endpoint"], &added["vapid_key"]), (&json!(FCM), &json!(VAPID_KEY)));
    // The keys of the device are not shown.
    assert_eq!(added.as_object().unwrap().len(), 4);
    let mut again = device("https://FCM.googleapis.com:443/fcm/send/a:b");
    again["auth"] = json!("B".repeat(21) + "A");
    assert_eq!(ada.post(DEVICES, again).await.expect(200), added);
    assert_eq!(devices(&ada).await, std::slice::from_ref(&added));
    let auth: String = sqlx::query_scalar("select auth from push_subscriptions").fetch_one(&db).await.unwrap();
    assert_eq!(auth, "B".repeat(21) + "A");
    let path = format!("{DEVICES}/{}", id(&added));
    ada.delete(&path).await.expect(204);
    ada.delete(&path).await.expect(404);
    assert!(devices(&ada).await.is_empty());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn only_endpoints_of_push_services_and_known_keys_are_accepted(db: PgPool) {
    let ada = Client::new(&db);
    for endpoint in [
        "http://fcm.googleapis.com/x",
        "https://fcm.googleapis.com:8443/x",
        "https://example.org/x",
        "https://127.0.0.1/x",
        "https://[::ffff:10.0.0.7]/x",
        "https://2130706433/x",
        "https://fcm.googleapis.com@10.0.0.7/x",
        "x",
    ] {
        assert_eq!(ada.post(DEVICES, device(endpoint)).await.invalid_fields(), ["#/endpoint"], "{endpoint}");
    }
    let mut other = device(FCM);
    other["vapid_key"] = json!(format!("BC{}", "A".repeat(85)));
    assert_eq!(ada.post(DEVICES, other).await.invalid_fields(), ["#/vapid_key"]);
    // Push is off.
    let off = Client { router: router_with(app(&db), &[]), ..ada.clone() };
    assert_eq!(off.get("/v1/me").await.expect(200)["vapid_public_keys"], json!([]));
    assert_eq!(off.post(DEVICES, device(FCM)).await.invalid_fields(), ["#/vapid_key"]);
    assert!(devices(&ada).await.is_empty());
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_endpoint_moves_to_another_user_only_with_equal_keys(db: PgPool) {
    let (ada, bob) = (Client::new(&db), Client::new(&db));
    let of_ada = ada.post(DEVICES, device(FCM)).await.expect(201);
    let mut guessed = device(FCM);
    guessed["auth"] = json!("B".repeat(21) + "A");
    bob.post(DEVICES, guessed).await.expect(409);
    assert_eq!((devices(&ada).await, devices(&bob).await), (vec![of_ada.clone()], Vec::new()));
    let of_bob = bob.post(DEVICES, device(FCM)).await.expect(201);
    // A new id: what was to be sent to Ada does not reach Bob.
    assert_ne!(of_bob["id"], of_ada["id"]);
    assert_eq!((devices(&ada).await, devices(&bob).await), (Vec::new(), vec![of_bob]));
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn users_who_register_one_device_at_once_end_with_one_owner(db: PgPool) {
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let user = Client::new(&db);
        requests.spawn(async move { user.post(DEVICES, device(FCM)).await.status });
    }
    let answers = requests.join_all().await;
    assert!(answers.iter().all(|status| *status == 201), "{answers:?}");
    assert_eq!(shared::testing::count(&db, "select count(*) from push_subscriptions").await, 1);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_user_has_a_quota_of_devices(db: PgPool) {
    let ada = Client::new(&db);
    let settings = ["--user-push-subscriptions", "2", "--vapid-public-keys", VAPID_KEY];
    let few = Client { router: router_with(app(&db), &settings), ..ada.clone() };
    for n in 0..2 {
        few.post(DEVICES, device(&format!("{FCM}{n}"))).await.expect(201);
    }
    let refused = few.post(DEVICES, device(FCM)).await.expect(422);
    assert_eq!(refused["detail"], "you have 2 push subscriptions or more, the maximum: delete one first");
    // A device that is known is no new one.
    few.post(DEVICES, device(&format!("{FCM}1"))).await.expect(200);
    assert_eq!(devices(&ada).await.len(), 2);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn an_erasure_removes_the_devices(db: PgPool) {
    let ada = Client::new(&db);
    ada.post(DEVICES, device(FCM)).await.expect(201);
    ada.delete("/v1/me").await.expect(204);
    assert_eq!(shared::testing::count(&db, "select count(*) from push_subscriptions").await, 0);
}
