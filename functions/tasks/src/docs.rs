//! The OpenAPI document: what is common to all routes. The routes document themselves, beside their handlers.

use std::collections::BTreeMap;

use shared::problem::{Fault, ProblemBody};
use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, RefOr, Response, ResponseBuilder, Schema,
        schema::AdditionalProperties,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

/// What the document says besides its routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Punctual",
        description = "Tasks and reminders. Times are RFC 3339 with an offset and answered in UTC; problems are RFC 9457.",
    ),
    components(schemas(ProblemBody, Fault)),
    modifiers(&Bearer),
    tags(
        (name = "tasks"), (name = "reminders"), (name = "tags"), (name = "me"),
        (name = "operator", description = "For tokens whose `scope` contains `operator`"),
    ),
)]
pub(crate) struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.bearer_format = Some("JWT".to_owned());
        http.description = Some("`sub` is the user's UUID; `email` and `exp` are required.".to_owned());
        document.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(http));
    }
}

/// Bodies of requests, which refuse a field that is not theirs.
const BODIES: [&str; 8] =
    ["MePatch", "NewReminder", "NewTask", "RecurrenceInput", "RecurrencePatch", "Snooze", "TaskPatch", "WholeTask"];

pub(crate) struct Strict;

impl Modify for Strict {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let schemas = &mut document.components.get_or_insert_default().schemas;
        for name in BODIES {
            if let Some(RefOr::T(Schema::Object(body))) = schemas.get_mut(name) {
                body.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            }
        }
    }
}

/// The problems of a route that reads.
pub(crate) struct ReadProblems;

/// The problems of a route that writes.
pub(crate) struct WriteProblems;

/// The problems of a route that reads for an operator.
pub(crate) struct OperatorProblems;

const TEXTS: [(&str, &str); 12] = [
    ("400", "Not JSON, or not HTTP as it should be"),
    ("401", "No token, or one that proves nothing"),
    ("403", "The token's scope does not contain `operator`"),
    ("404", "Missing, or another user's"),
    ("409", "Not in a state for this, or changed by another request at the same time"),
    ("412", "Not at the version that `If-Match` names"),
    ("413", "The body is larger than 1 MB"),
    ("415", "The body is not said to be JSON"),
    ("422", "Every part of the request that cannot be used; or the `Idempotency-Key` came with another request before"),
    ("429", "More than one user may ask for at a time or a second; it had no effect, see `Retry-After`"),
    ("500", "Our fault; it had no effect"),
    ("503", "Something needed is away, or there is too much to do; see `Retry-After`"),
];

fn problems(statuses: &[&str]) -> BTreeMap<String, RefOr<Response>> {
    let named = TEXTS.iter().filter(|(status, _)| statuses.contains(status));
    let responses = named.map(|(status, text)| {
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(*text).content("application/problem+json", body).build();
        ((*status).to_owned(), RefOr::T(response))
    });
    responses.collect()
}

impl IntoResponses for ReadProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&["401", "404", "422", "429", "500", "503"])
    }
}

impl IntoResponses for WriteProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&["400", "401", "404", "409", "412", "413", "415", "422", "429", "500", "503"])
    }
}

impl IntoResponses for OperatorProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&["401", "403", "422", "429", "500", "503"])
    }
}
