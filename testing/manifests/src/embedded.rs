//! What the process with all functions is built from.

use catalogue::FUNCTIONS;

use crate::{FROM_CATALOGUE, MARK, Manifest};

/// The functions whose settings the caller of `embedded::routes` passes.
const WITH_SETTINGS: [&str; 4] = ["tasks", "updates", "page", "reminder-due"];

/// The routes of the other functions.
pub(crate) fn routers() -> Manifest {
    let others = FUNCTIONS.iter().filter(|function| !WITH_SETTINGS.contains(&function.name));
    let routers: Vec<_> =
        others.map(|function| format!("    {}::router,\n", function.name.replace('-', "_"))).collect();
    let text = format!(
        "// {FROM_CATALOGUE} {MARK}.\n
use axum::Router;
use shared::App;

/// The routes of each function that needs no settings but the [`App`].
pub(crate) const ROUTERS: [fn(App) -> Router; {}] = [
{}];
",
        routers.len(),
        routers.concat()
    );
    Manifest { path: "xtask/embedded/src/routers.rs".to_owned(), text }
}
