-- no-transaction
-- What the relay reads: the users with unpublished events, due reminders apart, and the oldest events of each.
create index concurrently if not exists task_events_unpublished_by_user
    on task_events (shard, (type like 'reminder.%'), user_id, id) where published_at is null;
