-- The content of a task before each command that changed or deleted it, for undo and for the history. The current content is in `tasks`. No foreign
-- key: a deleted task can be restored.
create table task_versions (
    user_id uuid not null,
    task_id uuid not null,
    version bigint not null,
    snapshot jsonb not null,
    replaced_at timestamptz not null,
    constraint task_versions_pkey primary key (user_id, task_id, version)
);
comment on column task_versions.replaced_at is 'when a command replaced this content; upkeep deletes it 30 days later';
create index task_versions_by_age on task_versions (replaced_at);

grant select, insert, delete on task_versions to punctual_api;
alter table task_versions enable row level security;
create policy own_versions on task_versions to punctual_api using (user_id = punctual_user());

-- Reopening a task removes its next occurrence, unless it was changed.
grant delete on task_occurrences to punctual_api;
-- A command that brings back a reminder after its time writes that into the timeline of the reminder.
grant insert on audit_logs to punctual_api;
