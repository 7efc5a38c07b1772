-- Reminders outlive their task (no foreign key): what happened to them must stay explicable.
create table task_reminders (
    id uuid constraint task_reminders_pkey primary key,
    task_id uuid not null,
    user_id uuid not null,
    remind_at timestamptz not null,
    before_due text,
    channels text[] not null default '{email}'
        constraint task_reminders_channels check (channels <@ '{email,push}' and cardinality(channels) > 0),
    version integer not null default 1,
    state text not null default 'scheduled'
        constraint task_reminders_state check (state in ('scheduled', 'sent', 'failed', 'cancelled')),
    cancel_reason text
        constraint task_reminders_cancel_reason check (cancel_reason in ('user', 'completed', 'deleted', 'due_removed')),
    job_id text,
    fired_version integer,
    fired_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint task_reminders_cancelled check ((state = 'cancelled') = (cancel_reason is not null))
);
comment on column task_reminders.version is 'raised whenever the instant or the liveness changes';
comment on column task_reminders.before_due is 'ISO 8601 duration before the due time, resolved into remind_at by the command that wrote it';
comment on column task_reminders.job_id is 'the Dapr job that was armed last';
comment on column task_reminders.fired_version is 'the version whose reminder.due was emitted last: a job callback takes effect once';

create index task_reminders_by_task on task_reminders (task_id);
-- What repair looks at: live reminders by instant.
create index task_reminders_live on task_reminders (remind_at)
    where state = 'scheduled' and (fired_version is null or fired_version < version);

create table notification_deliveries (
    id uuid constraint notification_deliveries_pkey primary key,
    reminder_id uuid not null,
    reminder_version integer not null,
    channel text not null constraint notification_deliveries_channel check (channel in ('email', 'push')),
    user_id uuid not null,
    task_id uuid not null,
    event_id uuid not null,
    state text not null default 'pending' constraint notification_deliveries_state
        check (state in ('pending', 'sending', 'retrying', 'unknown', 'sent', 'skipped', 'failed')),
    attempts integer not null default 0,
    started_at timestamptz,
    at_dot timestamptz,
    repeated boolean not null default false,
    next_attempt_at timestamptz not null default now(),
    provider text,
    provider_message_id text,
    reason text,
    created_at timestamptz not null default now(),
    sent_at timestamptz,
    constraint notification_deliveries_once unique (reminder_id, reminder_version, channel)
);
comment on column notification_deliveries.event_id is 'the reminder.due it was made for: every attempt says the same words';
comment on column notification_deliveries.at_dot is
    'set after the server said 354 and before the body: from here on an attempt without a reply may have been accepted';
comment on column notification_deliveries.repeated is 'an unknown outcome was repeated once, with the same Message-ID';

create index notification_deliveries_by_user on notification_deliveries (user_id, created_at);
create index notification_deliveries_open on notification_deliveries (next_attempt_at)
    where state in ('pending', 'sending', 'retrying');

create table push_subscriptions (
    id uuid constraint push_subscriptions_pkey primary key,
    user_id uuid not null constraint push_subscriptions_user_id_fkey references users (id) on delete cascade,
    endpoint text not null constraint push_subscriptions_endpoint_key unique,
    p256dh text not null,
    auth text not null,
    created_at timestamptz not null default now()
);
create index push_subscriptions_by_user on push_subscriptions (user_id);
