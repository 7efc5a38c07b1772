-- no-transaction
-- A user's events, for erasure. An event that was emptied leaves the index.
create index concurrently if not exists task_events_with_data_by_user on task_events (user_id) where data <> '{}';
