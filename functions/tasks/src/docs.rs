//! The common parts of the OpenAPI document. Each route is documented beside its handler, each body in `bodies`.

use std::{collections::BTreeMap, sync::LazyLock};

use axum::{
    http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE},
    response::{IntoResponse, Response as Answer},
};
use shared::{
    problem::{InvalidField, ProblemBody},
    schema::Channel,
};
use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, RefOr, Response, ResponseBuilder,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use crate::{bodies, series::Scope};

/// Makes the router of the operations, by path and method, and the document of the same operations. The document is built when it is first
/// asked for: that takes longer than the whole start of the function.
macro_rules! operations {
    ($($path:literal: $($method:ident($module:ident::$operation:ident))+,)+) => {
        fn operations() -> axum::Router<Api> {
            axum::Router::new()$(.route($path, axum::routing::MethodRouter::new()$(.$method($module::$operation))+))+
        }

        /// The OpenAPI document.
        #[must_use]
        pub fn document() -> utoipa::openapi::OpenApi {
            #[derive(utoipa::OpenApi)]
            #[openapi(paths($($($module::$operation),+),+))]
            struct Operations;
            <crate::docs::Common as utoipa::OpenApi>::openapi().merge_from(<Operations as utoipa::OpenApi>::openapi())
        }
    };
}
pub(crate) use operations;

/// `GET /openapi.json`, for pages of every origin.
pub(crate) async fn openapi() -> Answer {
    static DOCUMENT: LazyLock<String> =
        LazyLock::new(|| crate::document().to_json().expect("the document has only strings as keys"));
    let headers = [(CONTENT_TYPE, "application/json"), (ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    (headers, DOCUMENT.as_str()).into_response()
}

/// The document without its operations.
#[derive(OpenApi)]
#[openapi(
    paths(updates),
    info(
        title = "Punctual",
        description = "Tasks and reminders. Times are RFC 3339: requests give an offset, answers are in UTC. \
                       Text is stored in Unicode NFC, in which its length counts. Problems are RFC 9457.",
    ),
    // Bodies inside other bodies; a route names only the outer one.
    components(schemas(
        ProblemBody, InvalidField, bodies::NewReminder, bodies::RecurrenceInput, bodies::RecurrencePatch, Channel, Scope,
    )),
    modifiers(&Bearer),
    tags(
        (name = "tasks"), (name = "reminders"), (name = "actions"), (name = "tags"), (name = "me"), (name = "push"), (name = "updates"),
        (name = "operator", description = "Requires a token whose scope names the operator's, which the deployment sets (`JWT_OPERATOR_SCOPE`)"),
    ),
)]
pub(crate) struct Common;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.bearer_format = Some("JWT".to_owned());
        http.description = Some(
            "An access token of the configured identity provider. `sub` identifies the user; `exp` and a verified `email` are required."
                .to_owned(),
        );
        document.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(http));
    }
}

/// Problems of a route that reads, and the answer to `If-None-Match: *`.
pub(crate) struct ReadProblems;

/// Problems of a route that writes.
pub(crate) struct WriteProblems;

/// Problems of a route that reads for an operator.
pub(crate) struct OperatorProblems;

/// Problems of a route that needs no token.
pub(crate) struct ActionProblems;

/// Problems of a stream.
pub(crate) struct StreamProblems;

/// Listen to changes
///
/// Server-Sent Events, each with the number of a change as its `id`:
///
/// - `ready` begins a stream without `Last-Event-ID`. Load everything when it arrives; ignore an answer with a lower version than one that you have.
/// - `changed` names a task by `task_id` and `version`. Read the task; 404 means that it is deleted.
/// - `reset` says that changes are missing: load everything again.
///
/// A stream ends after four minutes, or when the token expires. Open another one after the time in `retry`, with the last `id` as `Last-Event-ID`. A
/// user may have 20 streams. A deployment may serve this path at another host than the others.
#[utoipa::path(
    get, path = "/v1/updates", operation_id = "updates", tag = "updates",
    params(("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that you have seen. Every later change follows.")),
    responses((status = 200, description = "The stream", body = String, content_type = "text/event-stream"), StreamProblems),
    security(("bearer" = [])),
)]
#[expect(dead_code, reason = "describes a route of another function, in the one document of the API")]
fn updates() {}

const TEXTS: [(&str, &str); 13] = [
    ("304", "`If-None-Match` is `*`: the object exists"),
    ("400", "The body is not JSON, is only a part, or did not arrive completely"),
    ("401", "The token is missing or invalid"),
    ("403", "The token's scope does not name the operator's"),
    ("404", "The object does not exist, or belongs to another user"),
    ("409", "The object's state does not allow this, or another request is changing it"),
    (
        "412",
        "`If-Match` or `If-None-Match` does not hold: the task is at another version, or at one that is ruled out, or the object has no `ETag`",
    ),
    ("413", "The body is larger than 256 KB"),
    ("415", "The `Content-Type` is not JSON in UTF-8, or the `Content-Encoding` is not `identity`"),
    (
        "422",
        "Fields are invalid, each of which is listed; or the user would exceed a quota; or the `Idempotency-Key` was used for a different request",
    ),
    ("429", "The user has reached a limit. The request had no effect; see `Retry-After`"),
    ("500", "Internal error. The request may or may not have taken effect"),
    ("503", "A service behind this one is unavailable, or this one is at its limit; see `Retry-After`"),
];

fn problems(statuses: &[&str]) -> BTreeMap<String, RefOr<Response>> {
    let named = TEXTS.iter().filter(|(status, _)| statuses.contains(status));
    let responses = named.map(|(status, text)| {
        let mut response = ResponseBuilder::new().description(*text);
        if *status != "304" {
            let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            response = response.content("application/problem+json", body);
        }
        ((*status).to_owned(), RefOr::T(response.build()))
    });
    responses.collect()
}

impl IntoResponses for ReadProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&["304", "401", "404", "412", "422", "429", "500", "503"])
    }
}

impl IntoResponses for WriteProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&["400", "401", "404", "409", "412", "413", "415", "422", "429", "500", "503"])
    }
}

impl IntoResponses for StreamProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&["401", "429", "500", "503"])
    }
}

impl IntoResponses for OperatorProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&["304", "401", "403", "412", "422", "429", "500", "503"])
    }
}

impl IntoResponses for ActionProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&["400", "404", "409", "413", "415", "422", "429", "500", "503"])
    }
}
