//! `tasks`: the HTTP API. It serves everything under `/v1` (tasks, reminders, tags, history, devices) and the OpenAPI document at
//! `/openapi.json`.
//!
//! Triggered by HTTP only. A **command** changes rows, raises `tasks.version` by one and writes one event (`task.created`,
//! `task.updated`, `task.completed`, `task.deleted`), all in one transaction. The relay publishes the event after the commit, and
//! other functions handle it. A command that finds nothing to change writes nothing. A refused command has no effect. The content that a command
//! replaces is kept for 30 days (`versions.rs`).
//!
//! A repetition with the same `Idempotency-Key` has no effect and gets the first answer. Without a key it is a new command.
//!
//! Two walls separate users. Every statement names the user of the token, and all statements but those of create run under
//! row-level security. Another user's object gets the same answer as a missing one.

mod actions;
mod answer;
mod bodies;
mod body;
mod change;
mod command;
mod complete;
mod compress;
mod config;
mod create;
mod dead_letters;
mod delete;
mod deliveries;
mod docs;
mod draft;
mod export;
mod field;
mod history;
mod idempotency;
mod input;
mod limits;
mod list;
pub mod liveness;
mod locked_task;
mod me;
mod page;
mod params;
mod preconditions;
mod preview;
mod push_subscriptions;
mod quotas;
mod reminders;
mod restore;
mod series;
mod system;
mod tags;
mod task;
mod text;
mod timeline;
mod unread;
mod user_tx;
mod versions;

pub use config::TasksConfig;
pub use limits::LimitsConfig;
pub use push_subscriptions::PushConfig;
pub use quotas::Quotas;

use std::sync::Arc;

use axum::{Router, extract::FromRef, middleware, routing::get};
use shared::{
    App,
    auth::Auth,
    capability,
    config::{from_env, or_exit},
    problem::Problem,
};

use self::docs::operations;

/// The state that handlers extract from.
#[derive(Clone, FromRef)]
struct Api {
    app: App,
    auth: Auth,
    limits: limits::Limits,
    quotas: Quotas,
    push: Arc<PushConfig>,
    #[from_ref(skip)]
    keys: Option<capability::Keys>,
    /// The size at which an export ends early.
    #[from_ref(skip)]
    export_bytes: Option<usize>,
}

/// The routes of this function, with authentication and settings from the environment.
pub fn router(app: App) -> Router {
    let mut config: TasksConfig = from_env();
    config.export_bytes = std::env::var_os("AWS_LAMBDA_RUNTIME_API").map(|_| export::LAMBDA_BYTES);
    configured(app, Auth::from_env(), &config)
}

/// The routes of this function, with the default settings.
pub fn routes(app: App, auth: Auth) -> Router {
    configured(app, auth, &TasksConfig::default())
}

/// The routes of this function, with the given settings. Ends the process if they cannot be used.
pub fn configured(app: App, auth: Auth, config: &TasksConfig) -> Router {
    let TasksConfig { limits, push, capabilities, cors, export_bytes } = config;
    let keys = or_exit(capability::Keys::new(capabilities));
    let api = Api {
        app,
        auth,
        quotas: limits.quotas,
        limits: limits::Limits::new(*limits),
        push: Arc::new(push.clone()),
        keys,
        export_bytes: *export_bytes,
    };
    let routes = operations()
        .route_layer(middleware::from_fn(compress::compress))
        .route_layer(middleware::from_fn_with_state(api.clone(), limits::limit))
        .route("/openapi.json", get(docs::openapi))
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .fallback(async || Problem::NotFound)
        .layer(middleware::from_fn(preconditions::of_reads))
        .with_state(api);
    cors.allow_on(routes)
}

operations! {
    "/v1/tasks": post(create::create_task) get(list::list_tasks),
    "/v1/tasks/{id}": get(list::get_task) put(change::replace_task) patch(change::change_task) delete(delete::delete_task),
    "/v1/tasks/{id}/complete": post(complete::complete_task),
    "/v1/tasks/{id}/reopen": post(complete::reopen_task),
    "/v1/tasks/{id}/restore": post(restore::restore_task),
    "/v1/tasks/{id}/history": get(history::task_history),
    "/v1/tasks/{id}/reminders": get(reminders::list_reminders) post(reminders::add_reminder),
    "/v1/reminders/{id}": delete(reminders::cancel_reminder),
    "/v1/reminders/{id}/snooze": post(reminders::snooze_reminder),
    "/v1/reminders/{id}/send-now": post(reminders::send_reminder_now),
    "/v1/reminders/{id}/timeline": get(timeline::reminder_timeline),
    "/v1/recurrence/preview": post(preview::preview_recurrence),
    "/v1/deliveries": get(deliveries::list_deliveries),
    "/v1/actions": post(actions::act),
    "/v1/tags": get(tags::list_tags),
    "/v1/me": get(me::get_me) patch(me::change_me) delete(me::erase_me),
    "/v1/export": get(export::export),
    "/v1/system": get(system::get_system),
    "/v1/push-subscriptions": get(push_subscriptions::list_push_subscriptions) post(push_subscriptions::add_push_subscription),
    "/v1/push-subscriptions/{id}": delete(push_subscriptions::delete_push_subscription),
    "/v1/dead-letters": get(dead_letters::list_dead_letters),
    "/v1/dead-letters/{id}/replay": post(dead_letters::replay_dead_letter),
}
