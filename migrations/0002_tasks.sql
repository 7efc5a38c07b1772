-- What a task gains. Every new column is nullable (a default fills in for a writer that does not know it),
-- so the Phase II application keeps working on this schema.
alter table users
    add column time_zone text,
    add column feed_seq bigint not null default 0;

alter table tasks
    add column completed_at timestamptz,
    add column version bigint default 1,
    add column priority text default 'medium'
        constraint tasks_priority check (priority in ('low', 'medium', 'high', 'urgent')),
    add column due_at timestamptz,
    add column remind_at timestamptz,
    add column recurrence_type text
        constraint tasks_recurrence_type check (recurrence_type in ('daily', 'weekly', 'monthly', 'yearly', 'custom')),
    add column recurrence_interval integer
        constraint tasks_recurrence_interval check (recurrence_interval between 1 and 999),
    add column recurrence_rule text,
    add column recurrence_anchor text
        constraint tasks_recurrence_anchor check (recurrence_anchor in ('due', 'completion')),
    add column recurrence_start timestamptz,
    add column time_zone text,
    add column next_occurrence_at timestamptz,
    add column series_id uuid,
    add column occurrence integer;

comment on column tasks.remind_at is 'the earliest live reminder when a command last wrote; for other readers, never for firing';

-- A writer that does not know `version` or `completed_at` still moves them.
create function tasks_raise_version() returns trigger language plpgsql as $$
begin
    if new.version is not distinct from old.version then
        new.version := coalesce(old.version, 0) + 1;
    end if;
    if new.completed and not old.completed and new.completed_at is not distinct from old.completed_at then
        new.completed_at := now();
    elsif not new.completed then
        new.completed_at := null;
    end if;
    return new;
end $$;

create trigger tasks_raise_version before update on tasks
    for each row execute function tasks_raise_version();

create index tasks_by_creation on tasks (user_id, created_at, id);
create index tasks_by_due on tasks (user_id, due_at, id);
create index tasks_by_word on tasks using gin (to_tsvector('simple', title || ' ' || coalesce(description, '')));

create table task_tags (
    id uuid constraint task_tags_pkey primary key,
    user_id uuid not null constraint task_tags_user_id_fkey references users (id) on delete cascade,
    name text not null constraint task_tags_name_length check (length(name) between 1 and 50),
    constraint task_tags_name_key unique (user_id, name)
);

create table task_tag_associations (
    task_id uuid not null constraint task_tag_associations_task_id_fkey references tasks (id) on delete cascade,
    tag_id uuid not null constraint task_tag_associations_tag_id_fkey references task_tags (id) on delete cascade,
    constraint task_tag_associations_pkey primary key (task_id, tag_id)
);
create index task_tag_associations_by_tag on task_tag_associations (tag_id);

-- Which occurrences of a series were ever made. No foreign key: a deleted successor must not come back.
create table task_occurrences (
    series_id uuid not null,
    occurrence integer not null,
    task_id uuid not null,
    created_at timestamptz not null default now(),
    constraint task_occurrences_pkey primary key (series_id, occurrence)
);

create table idempotency_keys (
    user_id uuid not null,
    key text not null constraint idempotency_keys_key_length check (length(key) between 1 and 255),
    fingerprint bytea not null,
    status smallint,
    headers jsonb,
    body jsonb,
    created_at timestamptz not null default now(),
    constraint idempotency_keys_pkey primary key (user_id, key)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);
