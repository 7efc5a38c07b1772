//! The routes of every function in one router, for the embedded process and for tests of the whole product.

use axum::Router;
use reminder_due::email::EmailConfig;
use shared::App;

/// Merges the routes of all functions. Only `tasks` and `reminder-due` have settings of their own, which the caller passes.
pub fn routes(app: &App, tasks: Router, email: EmailConfig) -> Router {
    [
        alarm::router,
        task_created::router,
        task_updated::router,
        task_completed::router,
        task_deleted::router,
        reminder_sent::router,
        task_changed::router,
        dead_letters::router,
        upkeep::router,
    ]
    .into_iter()
    .map(|function| function(app.clone()))
    .fold(tasks.merge(reminder_due::routes(app.clone(), email)), Router::merge)
}
