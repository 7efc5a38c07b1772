-- What a user has, for the quotas of `tasks`. The row is also the lock between the commands of a user: each takes it before it locks a task, so
-- that no other adds anything between the look at a quota and the commit. Of the handlers of events, only the one that makes the next
-- occurrence of a task needs the row.
--
-- `tasks` is counted by triggers, for every writer. Where `counted` is false it holds only what changed since this migration; the first
-- command of the user counts what was there before. To count again: `update user_usage set counted = false`.
create table user_usage (
    user_id uuid constraint user_usage_pkey primary key
        constraint user_usage_user_id_fkey references users (id) on delete cascade,
    tasks bigint not null default 0,
    counted boolean not null default false,
    sent_now integer not null default 0,
    sent_now_hour timestamptz not null default '-infinity',
    keys integer not null default 0,
    keys_day date not null default '-infinity'
);
comment on column user_usage.sent_now is 'how often the user had a reminder sent now in the hour `sent_now_hour`';
comment on column user_usage.keys is 'how many answers were kept for the user on the day `keys_day` (UTC)';

grant select, insert, update on user_usage to punctual_api;
alter table user_usage enable row level security;
create policy own_usage on user_usage to punctual_api using (user_id = punctual_user());

-- Adds the inserted or deleted rows of a statement. A writer holds the row from here to its commit. So once a command has locked it, each
-- writer has either committed, or its rows are not visible and it adds them later.
--
-- `security definer`: a writer that knows only `tasks` needs no rights here. A user who is being deleted has no row anymore.
create function count_tasks() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into public.user_usage as usage (user_id, tasks)
    select user_id, count(*) * tg_argv[0]::integer
    from changed where exists (select from public.users where id = user_id)
    group by user_id order by user_id
    on conflict (user_id) do update set tasks = usage.tasks + excluded.tasks;
    return null;
end $$;
create trigger tasks_count_inserted after insert on tasks
    referencing new table as changed for each statement execute function count_tasks('1');
create trigger tasks_count_deleted after delete on tasks
    referencing old table as changed for each statement execute function count_tasks('-1');

-- Locks a user's usage until the transaction ends, and returns how many tasks the user has. A user who does not exist yet has none.
create function lock_user_usage(of_user uuid) returns bigint language plpgsql as $$
declare
    usage user_usage;
begin
    select * into usage from user_usage where user_id = of_user for no key update;
    if not found then
        insert into user_usage (user_id) select id from users where id = of_user on conflict do nothing;
        select * into usage from user_usage where user_id = of_user for no key update;
    end if;
    if not usage.counted then
        update user_usage set tasks = (select count(*) from tasks where user_id = of_user), counted = true
        where user_id = of_user returning tasks into usage.tasks;
    end if;
    return coalesce(usage.tasks, 0);
end $$;

-- Locks a user's usage, and fails if a command would exceed a quota: `quota_tasks`, `quota_tags`, `quota_reminders` or `quota_reminders_an_hour`,
-- which the error names as its constraint. A command that adds nothing of a kind never fails for it, so that a user above a quota loses nothing.
--
-- `new_tags` are all tags that the command sets, and `new_reminders` is how many more reminders are live afterwards. `changed` are the reminders
-- that it changes, `live` the instants of its reminders that are live afterwards, and `arriving` of them those that were not live in the
-- same hour before.
create function check_quotas(
    of_user uuid, new_tasks integer, new_tags uuid[], new_reminders integer, changed uuid[], live timestamptz[], arriving timestamptz[],
    max_tasks bigint, max_tags bigint, max_reminders bigint, max_reminders_an_hour bigint
) returns void language plpgsql as $$
declare
    tasks bigint := lock_user_usage(of_user);
    added bigint := (select count(*) from unnest(new_tags) tag where not exists (select from task_tags where id = tag));
    hour timestamptz;
begin
    if new_tasks > 0 and tasks + new_tasks > max_tasks then
        raise check_violation using constraint = 'quota_tasks';
    end if;
    if added > 0 and (select count(*) from task_tags where user_id = of_user) + added > max_tags then
        -- Tags that no task has anymore make room.
        delete from task_tags
        where user_id = of_user and id <> all(new_tags) and not exists (select from task_tag_associations where tag_id = id);
        if (select count(*) from task_tags where user_id = of_user) + added > max_tags then
            raise check_violation using constraint = 'quota_tags';
        end if;
    end if;
    if new_reminders > 0 and cardinality(live) + (
           select count(*) from task_reminders
           where user_id = of_user and reminder_is_live(state, version, fired_version) and id <> all(changed)) > max_reminders then
        raise check_violation using constraint = 'quota_reminders';
    end if;
    for hour in select distinct date_trunc('hour', at, 'UTC') from unnest(arriving) at order by 1 loop
        if (select count(*) from unnest(live) at where date_trunc('hour', at, 'UTC') = hour) + (
               select count(*) from task_reminders
               where user_id = of_user and reminder_is_live(state, version, fired_version) and id <> all(changed)
                 and remind_at >= hour and remind_at < hour + interval '1 hour') > max_reminders_an_hour then
            raise check_violation using constraint = 'quota_reminders_an_hour',
                detail = to_char(hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"');
        end if;
    end loop;
end $$;

-- Indexes that nothing uses: row-level security keeps the text search from the first, and the lists of this release use those with the
-- status in front. Older code still answers right, and no list that it sorts by the due time was fast in both directions.
drop index tasks_by_word, tasks_by_due;
