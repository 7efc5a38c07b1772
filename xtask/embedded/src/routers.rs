// Written from shared/catalogue by `cargo xtask manifests`.

use axum::Router;
use shared::App;

/// The routes of each function that needs no settings but the [`App`].
pub(crate) const ROUTERS: [fn(App) -> Router; 9] = [
    dead_letters::router,
    alarm::router,
    upkeep::router,
    task_created::router,
    task_updated::router,
    task_completed::router,
    task_deleted::router,
    reminder_sent::router,
    task_changed::router,
];
