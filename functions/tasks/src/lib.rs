//! `tasks`: the HTTP entry. Everything under `/v1`: tasks, their reminders, tags and history; the OpenAPI document at
//! `/openapi.json`.
//!
//! Triggered by HTTP, and by nothing else. A **command** changes rows, raises `tasks.version` by one and writes one event
//! (`task.created`, `task.updated`, `task.completed`, `task.deleted`), all in one transaction; the relay publishes the event
//! after the commit, and other functions do the rest. A command that finds nothing to change raises and writes nothing. One
//! that is refused has no effect at all.
//!
//! Runs twice only if asked to: with an `Idempotency-Key` a repetition has no effect of its own and gets the first answer.
//!
//! Two walls stand between users: every statement names the user of the token, and all but create, which can name no other, run
//! under row-level security. Another user's object answers as a missing one does.

mod bodies;
mod change;
mod command;
mod complete;
mod create;
mod dead_letters;
mod delete;
mod docs;
mod draft;
mod history;
#[cfg(test)]
mod hostile;
mod idempotency;
mod input;
mod limits;
mod list;
pub mod liveness;
mod me;
mod params;
mod reminders;
mod tags;
mod task;
mod timeline;
mod user_tx;

pub use limits::LimitsConfig;

use axum::{Json, Router, extract::FromRef, middleware, routing::get};
use shared::{App, auth::Auth, config, problem::Problem};
use utoipa::{Modify as _, OpenApi as _};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a handler can ask for.
#[derive(Clone, FromRef)]
struct Api {
    app: App,
    auth: Auth,
    limits: limits::Limits,
}

/// The routes of this function, with tokens checked and users limited as the environment says.
pub fn router(app: App) -> Router {
    limited(app, Auth::from_env(), config::from_env())
}

/// The routes of this function, with the limits it has where the environment says nothing.
pub fn routes(app: App, auth: Auth) -> Router {
    limited(app, auth, LimitsConfig::default())
}

/// The routes of this function.
pub fn limited(app: App, auth: Auth, limits: LimitsConfig) -> Router {
    let api = Api { app, auth, limits: limits::Limits::new(limits) };
    let (routes, document) = documented().split_for_parts();
    let document = Json(finished(document));
    let document = get(async move || document);
    routes
        .route_layer(middleware::from_fn_with_state(api.clone(), limits::limit))
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .fallback(async || Problem::NotFound)
        .with_state(api)
        .route("/openapi.json", document)
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    finished(documented().into_openapi())
}

/// What only all routes together make known.
fn finished(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    docs::Strict.modify(&mut document);
    document
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
        .routes(routes!(me::get_me, me::change_me))
        .routes(routes!(dead_letters::list_dead_letters))
        .routes(routes!(dead_letters::replay_dead_letter))
}
