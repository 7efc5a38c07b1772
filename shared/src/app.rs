//! The state that every handler gets.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{Config, db::Db, deadlines::Deadlines, outbox::Outbox, sidecar::Sidecar};

/// The state of a function. Cheap to clone; connects on first use.
#[derive(Clone)]
pub struct App {
    /// The database pool, with the role that owns the tables.
    pub db: Db,
    /// The Dapr API.
    pub sidecar: Sidecar,
    /// Publishes committed events.
    pub outbox: Outbox,
    /// The configuration from the environment.
    pub config: Arc<Config>,
    /// Cancelled at SIGTERM: from then on a handler begins nothing that it can leave to another process.
    pub stop: CancellationToken,
}

impl App {
    /// Builds a function's state. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When the configuration contains an invalid address or token.
    pub fn new(config: Config, db: impl Into<Db>) -> anyhow::Result<Self> {
        let db = db.into();
        let sidecar = Sidecar::new(&config, db.deadlines)?;
        let outbox = Outbox::new(db.clone(), sidecar.clone());
        Ok(Self { db, sidecar, outbox, config: Arc::new(config), stop: CancellationToken::new() })
    }

    /// The deadlines of this process.
    #[must_use]
    pub const fn deadlines(&self) -> Deadlines {
        self.db.deadlines
    }
}
