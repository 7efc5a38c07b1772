-- The outbox: an event is a row first, written in the transaction of the change it tells of.
create table task_events (
    id uuid constraint task_events_pkey primary key,
    type text not null,
    task_id uuid not null,
    user_id uuid not null,
    sequence bigint not null,
    data jsonb not null,
    traceparent text,
    occurred_at timestamptz not null default now(),
    published_at timestamptz,
    -- Which relay lock covers the row: events of one task share a shard, so one relay at a time publishes them.
    shard smallint generated always as (get_byte(uuid_send(task_id), 15) & 15) stored
);
create index task_events_unpublished on task_events (shard, id) where published_at is null;
create index task_events_by_task on task_events (task_id, id);

-- The inbox: which function has handled which event. Bounds are UUIDv7 prefixes, that is times: a key that
-- included a time column would not dedupe. The default partition takes what no other does, so that a write never fails.
create table processed_events (
    consumer text not null,
    event_id uuid not null,
    processed_at timestamptz not null default now(),
    constraint processed_events_pkey primary key (consumer, event_id)
) partition by range (event_id);
create table processed_events_default partition of processed_events default;

-- The smallest UUIDv7 (RFC 9562, section 5.7) of an instant.
create function uuid_v7_floor(at timestamptz) returns uuid language sql immutable strict as $$
    select rpad(lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;

-- Makes the weekly partitions of the inbox that are missing between two instants.
create function make_inbox_partitions(since timestamptz, until timestamptz) returns integer language plpgsql as $$
declare
    week timestamptz := date_trunc('week', since at time zone 'UTC') at time zone 'UTC';
    name text;
    made integer := 0;
begin
    while week < until loop
        name := 'processed_events_' || to_char(week at time zone 'UTC', 'IYYY"w"IW');
        if to_regclass(name) is null then
            execute format('create table %I partition of processed_events for values from (%L) to (%L)',
                name, uuid_v7_floor(week), uuid_v7_floor(week + interval '7 days'));
            made := made + 1;
        end if;
        week := week + interval '7 days';
    end loop;
    return made;
end $$;

-- Drops the weekly partitions of the inbox that end at or before an event id.
create function drop_inbox_partitions(floor uuid) returns integer language plpgsql as $$
declare
    partition record;
    dropped integer := 0;
begin
    for partition in
        select inhrelid::regclass as name,
               substring(pg_get_expr(relpartbound, oid) from 'TO \(''([^'']+)''\)')::uuid as upper
        from pg_inherits join pg_class on oid = inhrelid
        where inhparent = 'processed_events'::regclass
    loop
        if partition.upper <= floor then
            execute format('drop table %s', partition.name);
            dropped := dropped + 1;
        end if;
    end loop;
    return dropped;
end $$;

-- Two marks of upkeep. `inbox-floor`: an event older than this is rejected, never executed, because the partition
-- that would know it is gone. `handled`: every event older than this was claimed by its function.
create table marks (
    name text constraint marks_pkey primary key,
    event_id uuid not null
);
insert into marks values
    ('inbox-floor', uuid_v7_floor(date_trunc('week', now() at time zone 'UTC') at time zone 'UTC' - interval '7 days')),
    ('handled', uuid_v7_floor(now() - interval '1 hour'));
select make_inbox_partitions(now() - interval '7 days', now() + interval '6 weeks');

-- How often a function has failed on an event for a reason of its own; the fifth failure rejects it.
create table event_failures (
    consumer text not null,
    event_id uuid not null,
    failures integer not null,
    reason text not null,
    failed_at timestamptz not null default now(),
    constraint event_failures_pkey primary key (consumer, event_id)
);

create table dead_letters (
    id uuid constraint dead_letters_pkey primary key,
    consumer text not null,
    -- What makes it the same letter: the event id, or where the message lay when it has none.
    dedupe text not null,
    event_id uuid,
    type text,
    topic text,
    origin text not null constraint dead_letters_origin check (origin in ('function', 'daprd')),
    reason text not null,
    payload text not null,
    state text not null default 'open' constraint dead_letters_state check (state in ('open', 'replayed')),
    created_at timestamptz not null default now(),
    replayed_at timestamptz,
    constraint dead_letters_once unique (consumer, dedupe)
);
create index dead_letters_open on dead_letters (created_at, id) where state = 'open';

create table audit_logs (
    id bigint generated always as identity constraint audit_logs_pkey primary key,
    user_id uuid not null,
    task_id uuid not null,
    reminder_id uuid,
    reminder_version integer,
    event_id uuid,
    action text not null,
    detail jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp()
);
create index audit_logs_by_task on audit_logs (task_id, id);
create index audit_logs_by_reminder on audit_logs (reminder_id, id) where reminder_id is not null;
-- A job is called at least once and armed at least once; the story says each thing once.
create unique index audit_logs_once on audit_logs (reminder_id, reminder_version, action)
    where action in ('reminder.armed', 'reminder.fired', 'reminder.skipped');

create table feed (
    user_id uuid not null,
    seq bigint not null,
    event_id uuid not null,
    task_id uuid not null,
    data jsonb not null,
    created_at timestamptz not null default now(),
    constraint feed_pkey primary key (user_id, seq)
);
create index feed_by_age on feed (created_at);
