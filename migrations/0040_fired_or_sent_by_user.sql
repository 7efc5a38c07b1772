-- no-transaction
-- The reminders that fired for a user, and the messages that were sent, in the order of their time: the quotas of an hour count them.
create index concurrently if not exists task_events_fired_or_sent_by_user on task_events (user_id, type, id)
    where type in ('reminder.due', 'reminder.sent');
