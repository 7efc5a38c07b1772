//! The routes of every function in one router, for the embedded process and for tests of the whole product.

mod routers;

use axum::Router;
use reminder_due::{email::EmailConfig, push::PushConfig};
use shared::App;

/// Merges the routes of all functions. `clients` has those of the functions that clients call: they and `reminder-due` have settings of their own,
/// which the caller passes.
pub fn routes(app: &App, clients: Router, email: EmailConfig, push: PushConfig) -> Router {
    let with_settings = clients.merge(reminder_due::routes(app.clone(), email, push));
    routers::ROUTERS.into_iter().map(|router| router(app.clone())).fold(with_settings, Router::merge)
}
