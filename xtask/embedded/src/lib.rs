//! The routes of every function, to be served by one process: the embedded one, and tests that call the product whole.

use axum::Router;
use reminder_due::email::EmailConfig;
use shared::App;

/// All of them, with those of `tasks` and the settings of e-mail as given: the others have none of their own.
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
