//! A database connection that is held only while statements run.

use shared::db::{Conn, Db};
use sqlx::PgConnection;

/// A connection for statements that follow each other. It is given back before anything else is waited for: acquiring another costs
/// round trips, but a provider may take seconds.
pub(super) struct Connection<'a> {
    db: &'a Db,
    held: Option<Conn>,
}

impl<'a> Connection<'a> {
    pub(super) fn of(db: &'a Db) -> Self {
        Self { db, held: None }
    }

    /// The connection, acquired if it is not held.
    pub(super) async fn get(&mut self) -> sqlx::Result<&mut PgConnection> {
        let conn = match self.held.take() {
            Some(conn) => conn,
            None => self.db.acquire().await?,
        };
        Ok(self.held.insert(conn))
    }

    pub(super) fn give_back(&mut self) {
        self.held = None;
    }
}
