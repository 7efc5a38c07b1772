-- What a link or a button of a message did: once for each version of a reminder. Null: nothing was acted on. Older code writes neither.
alter table notification_deliveries
    add column action text,
    add column acted_at timestamptz;
comment on column notification_deliveries.action is 'what a link or a button of a message of this reminder version did: complete or snooze';
grant update (action, acted_at) on notification_deliveries to punctual_api;

-- What a user prefers. Null: the user has chosen nothing.
alter table users
    add column channels text[],
    add column default_reminder text,
    add column hide_titles boolean;
comment on column users.channels is 'the channels of a new reminder that names none';
comment on column users.default_reminder is 'ISO 8601 duration: the reminder of a new task with a due time whose body names no reminders';
comment on column users.hide_titles is 'whether a notification shows no title of a task';
