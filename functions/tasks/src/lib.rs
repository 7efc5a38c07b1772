//! `tasks`: the HTTP API. It serves everything under `/v1` (tasks, reminders, tags, history) and the OpenAPI document at
//! `/openapi.json`.
//!
//! Triggered by HTTP only. A **command** changes rows, raises `tasks.version` by one and writes one event (`task.created`,
//! `task.updated`, `task.completed`, `task.deleted`), all in one transaction. The relay publishes the event after the commit, and
//! other functions handle it. A command that finds nothing to change writes nothing. A refused command has no effect.
//!
//! A repetition with the same `Idempotency-Key` has no effect and gets the first answer. Without a key it is a new command.
//!
//! Two walls separate users. Every statement names the user of the token, and all statements but those of create run under
//! row-level security. Another user's object gets the same answer as a missing one.

mod answer;
mod bodies;
mod body;
mod change;
mod command;
mod complete;
mod create;
mod dead_letters;
mod delete;
mod docs;
mod draft;
mod field;
mod history;
mod idempotency;
mod input;
mod limits;
mod list;
pub mod liveness;
mod locked_task;
mod me;
mod params;
mod preconditions;
mod quotas;
mod reminders;
mod series;
mod tags;
mod task;
mod text;
mod timeline;
mod unread;
mod user_tx;

pub use limits::LimitsConfig;
pub use quotas::Quotas;

use axum::{Json, Router, extract::FromRef, middleware, routing::get};
use shared::{App, auth::Auth, config, problem::Problem};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The state that handlers extract from.
#[derive(Clone, FromRef)]
struct Api {
    app: App,
    auth: Auth,
    limits: limits::Limits,
    quotas: Quotas,
}

/// The routes of this function, with authentication and limits from the environment.
pub fn router(app: App) -> Router {
    limited(app, Auth::from_env(), config::from_env())
}

/// The routes of this function, with the default limits.
pub fn routes(app: App, auth: Auth) -> Router {
    limited(app, auth, LimitsConfig::default())
}

/// The routes of this function, with the given limits.
pub fn limited(app: App, auth: Auth, limits: LimitsConfig) -> Router {
    let api = Api { app, auth, quotas: limits.quotas, limits: limits::Limits::new(limits) };
    let (routes, document) = documented().split_for_parts();
    let document = Json(document);
    let document = get(async move || document);
    routes
        .route_layer(middleware::from_fn_with_state(api.clone(), limits::limit))
        .route("/openapi.json", document)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .fallback(async || Problem::NotFound)
        .with_state(api)
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    documented().into_openapi()
}

fn documented() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(docs::Document::openapi())
        .routes(routes!(create::create_task, list::list_tasks))
        .routes(routes!(list::get_task, change::replace_task, change::change_task, delete::delete_task))
        .routes(routes!(complete::complete_task))
        .routes(routes!(complete::reopen_task))
        .routes(routes!(history::task_history))
        .routes(routes!(reminders::list_reminders, reminders::add_reminder))
        .routes(routes!(reminders::cancel_reminder))
        .routes(routes!(reminders::snooze_reminder))
        .routes(routes!(reminders::send_reminder_now))
        .routes(routes!(timeline::reminder_timeline))
        .routes(routes!(tags::list_tags))
        .routes(routes!(me::get_me, me::change_me, me::erase_me))
        .routes(routes!(dead_letters::list_dead_letters))
        .routes(routes!(dead_letters::replay_dead_letter))
}
