-- no-transaction
-- The failures of a user's events, for erasure.
create index concurrently if not exists event_failures_by_user on event_failures (user_id);
