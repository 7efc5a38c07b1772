//! Web pages of the configured origins may call the API from a browser, and no others.

use super::*;

const PAGE: &str = "https://punctual.example";
const OTHER_PAGE: &str = "http://localhost:8081";

fn with_pages(db: &PgPool) -> Client {
    let settings = ["--cors-origins", "https://punctual.example,http://localhost:8081"];
    Client { router: router_with(app(db), &settings), ..Client::new(db) }
}

/// The words of a header that is a list, sorted.
fn list(reply: &Reply, name: &str) -> Vec<String> {
    let value = reply.headers[name].to_str().unwrap().to_lowercase();
    let mut words: Vec<_> = value.split(',').map(|word| word.trim().to_owned()).collect();
    words.sort();
    words
}

async fn preflight(client: &Client, origin: &str, path: &str) -> Reply {
    let nobody = Client { token: None, ..client.clone() };
    let asking = nobody.with("origin", origin).with("access-control-request-method", "PATCH");
    asking.with("access-control-request-headers", "authorization,if-match").send(Method::OPTIONS, path, "").await
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn a_browser_is_told_which_pages_methods_and_headers_are_allowed(db: PgPool) {
    let ada = with_pages(&db);
    for origin in [PAGE, OTHER_PAGE] {
        for path in ["/v1/tasks", "/v1/actions", "/v1/me"] {
            let reply = preflight(&ada, origin, path).await;
            assert_eq!(reply.status, StatusCode::OK);
            assert_eq!(reply.headers["access-control-allow-origin"], origin);
            assert_eq!(list(&reply, "access-control-allow-methods"), ["delete", "get", "patch", "post", "put"]);
            assert_eq!(
                list(&reply, "access-control-allow-headers"),
                ["authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "last-event-id"]
            );
            assert!(!reply.headers.contains_key("access-control-allow-credentials"));
            assert!(list(&reply, "vary").contains(&"origin".to_owned()));
        }
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn answers_to_a_page_may_be_read_also_problems(db: PgPool) {
    let ada = with_pages(&db);
    let page = ada.with("origin", PAGE);
    for (reply, status) in [
        (page.post("/v1/tasks", json!({"title": "a"})).await, 201),
        (page.post("/v1/tasks", json!({})).await, 422),
        (page.get("/v1/nothing").await, 404),
        (Client { token: None, ..page.clone() }.get("/v1/tasks").await, 401),
    ] {
        assert_eq!(reply.status, status);
        assert_eq!(reply.headers["access-control-allow-origin"], PAGE);
        assert_eq!(
            list(&reply, "access-control-expose-headers"),
            ["etag", "idempotency-replayed", "location", "retry-after"]
        );
    }
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn another_page_is_allowed_nothing(db: PgPool) {
    let ada = with_pages(&db);
    for origin in
        ["https://punctual.example.evil", "http://punctual.example", "https://punctual.example:8443", "null", "*"]
    {
        let reply = preflight(&ada, origin, "/v1/tasks").await;
        assert!(!reply.headers.contains_key("access-control-allow-origin"), "{origin}: {reply:?}");
        let reply = ada.with("origin", origin).get("/v1/tasks").await;
        assert!(!reply.headers.contains_key("access-control-allow-origin"), "{origin}: {reply:?}");
    }
    // The description of the API is public.
    assert_eq!(ada.with("origin", "null").get("/openapi.json").await.headers["access-control-allow-origin"], "*");
    assert_eq!(ada.with("origin", PAGE).get("/openapi.json").await.headers["access-control-allow-origin"], PAGE);
}

#[sqlx::test(migrator = "migrations::MIGRATOR")]
async fn without_origins_no_page_is_allowed(db: PgPool) {
    let ada = Client::new(&db);
    assert_eq!(preflight(&ada, PAGE, "/v1/tasks").await.status, StatusCode::METHOD_NOT_ALLOWED);
    let reply = ada.with("origin", PAGE).get("/v1/tasks").await;
    assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{reply:?}");
}
