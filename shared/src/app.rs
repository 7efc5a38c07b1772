//! What a handler is given.

use std::sync::Arc;

use sqlx::PgPool;

use crate::{Config, outbox::Outbox, sidecar::Sidecar};

/// The state of a function: cheap to clone, connected to nothing until it is used.
#[derive(Clone)]
pub struct App {
    /// The database, as the owner of its tables.
    pub db: PgPool,
    /// The Dapr API.
    pub sidecar: Sidecar,
    /// Publishes committed events.
    pub outbox: Outbox,
    /// What the environment says.
    pub config: Arc<Config>,
}

impl App {
    /// Puts together a function's state; must run inside a tokio runtime.
    ///
    /// # Errors
    /// When an address in the configuration is not one.
    pub fn new(config: Config, db: PgPool) -> anyhow::Result<Self> {
        let sidecar = Sidecar::new(&config)?;
        let outbox = Outbox::new(db.clone(), sidecar.clone());
        Ok(Self { db, sidecar, outbox, config: Arc::new(config) })
    }
}
