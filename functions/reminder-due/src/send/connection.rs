//! A database connection that is held only while statements run.

use shared::db::{Conn, Db, Tx};
use sqlx::PgConnection;

/// A connection for transactions that follow each other. It is given back before anything else is waited for: acquiring another costs
/// round trips, but a provider may take seconds.
pub(super) struct Connection<'a> {
    db: &'a Db,
    held: Option<Conn>,
}

impl<'a> Connection<'a> {
    pub(super) fn of(db: &'a Db) -> Self {
        Self { db, held: None }
    }

    /// Runs a statement, or several that need not be one transaction. Through a pooler they are one, because it begins with the settings.
    pub(super) async fn run<T, E: From<sqlx::Error>>(
        &mut self,
        statements: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let tx = self.take().await?.begin_single().await?;
        self.commit(tx, statements).await
    }

    /// Runs statements in one transaction.
    pub(super) async fn transaction<T, E: From<sqlx::Error>>(
        &mut self,
        statements: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let tx = self.take().await?.begin().await?;
        self.commit(tx, statements).await
    }

    async fn commit<T, E: From<sqlx::Error>>(
        &mut self,
        mut tx: Tx,
        statements: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let result = statements(&mut tx).await?;
        self.held = Some(tx.commit_and_keep().await?);
        Ok(result)
    }

    async fn take(&mut self) -> sqlx::Result<Conn> {
        match self.held.take() {
            Some(conn) => Ok(conn),
            None => self.db.acquire().await,
        }
    }

    pub(super) fn give_back(&mut self) {
        self.held = None;
    }
}
