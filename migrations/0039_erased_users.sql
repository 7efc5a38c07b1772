-- Users who were erased, and when. A row is the order to erase: `erase_batch` deletes nothing of anybody else. It stays after that, because it
-- refuses the tokens that were issued before. To erase a user by hand: `insert into erased_users (user_id) values (…)`; repair does it.
create table erased_users (
    user_id uuid constraint erased_users_pkey primary key,
    erased_at timestamptz not null default clock_timestamp(),
    done boolean not null default false
);
comment on column erased_users.erased_at is 'tokens that were issued until then are refused';
comment on column erased_users.done is 'whether everything was deleted; until then no request of the user is answered';
create index erased_users_by_time on erased_users (erased_at);
create index erased_users_to_do on erased_users (user_id) where not done;

grant select, insert, update on erased_users to punctual_api;
alter table erased_users enable row level security;
create policy own_erasure on erased_users to punctual_api using (user_id = punctual_user());

-- The advisory lock between a user's erasure and everything that is done for the user. Users may share a key.
create function erasure_key(of_user uuid) returns integer language sql immutable strict parallel safe as $$
    select ('x' || right(of_user::text, 8))::bit(32)::integer
$$;

-- Keeps a user from being erased until the transaction ends.
create function hold_off_erasure(of_user uuid) returns void language sql volatile as $$
    select pg_advisory_xact_lock_shared(1701994867, public.erasure_key(of_user)) -- "eras"
$$;

-- Fails for a token of a user who was erased after the token was issued, and while the erasure lasts. A command holds off erasure before it looks,
-- so that nothing of it is written after an erasure that it did not see.
--
-- PostgreSQL inlines SQL functions into this one, with the `search_path` of this one. So what they call needs `public.`, too.
create function admit_token(of_user uuid, issued_at timestamptz, is_command boolean) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    erasure record;
begin
    if is_command then
        perform public.hold_off_erasure(of_user);
    end if;
    select erased_at, done into erasure from public.erased_users where user_id = of_user;
    if not found then
        return;
    elsif issued_at is null or issued_at <= erasure.erased_at then
        raise check_violation using constraint = 'token_from_before_erasure';
    elsif not erasure.done then
        raise check_violation using constraint = 'erasure_not_done';
    end if;
end $$;

-- Deletes up to `batch` rows of a user who is to be erased, and returns how many; 0 when nothing is left.
--
-- The transaction excludes commands and handlers of the user's events. The others that write for a user first lock a reminder or a delivery, so
-- those go first: whatever was written before they were gone is found by a later step or call. The user goes last. An event keeps its id and loses
-- its data, and it counts as published and handled.
--
-- Once the erasure is done, it is repeated only as long as the user has not come back: after that, rows of the new account have the same user.
create function erase_batch(of_user uuid, batch integer) returns bigint language plpgsql as $$
declare
    step text;
    erased bigint;
begin
    perform pg_advisory_xact_lock(1701994867, public.erasure_key(of_user));
    if not exists (select from erased_users where user_id = of_user and (not done or not exists (select from users where id = of_user))) then
        return 0;
    end if;
    foreach step in array array[
        'delete from task_reminders where id in (select id from task_reminders where user_id = $1 limit $2)',
        'delete from notification_deliveries where id in (select id from notification_deliveries where user_id = $1 limit $2)',
        $step$
            with event as materialized (
                select id, replace(type, '.', '-') as consumer from task_events where user_id = $1 and data <> '{}' limit $2
            ), failures as (
                delete from event_failures using event where event_id = id and event_failures.consumer = event.consumer
            ), claims as (
                insert into processed_events (consumer, event_id)
                select consumer, id from event where id >= (select event_id from marks where name = 'inbox-floor')
                on conflict do nothing
            )
            update task_events set data = '{}', traceparent = null, published_at = coalesce(published_at, now())
            where id in (select id from event)
        $step$,
        $step$
            with task as materialized (
                select id, series_id from tasks where user_id = $1 limit $2
            ), occurrences as (
                delete from task_occurrences where series_id in (select series_id from task)
            )
            delete from tasks where id in (select id from task)
        $step$,
        'delete from task_tags where id in (select id from task_tags where user_id = $1 limit $2)',
        'delete from feed where (user_id, seq) in (select user_id, seq from feed where user_id = $1 limit $2)',
        'delete from idempotency_keys where (user_id, key) in (select user_id, key from idempotency_keys where user_id = $1 limit $2)',
        'delete from audit_logs where id in (select id from audit_logs where user_id = $1 limit $2)',
        'delete from users where id = $1 and $2 > 0'
    ] loop
        execute step using of_user, batch;
        get diagnostics erased = row_count;
        if erased > 0 then
            return erased;
        end if;
    end loop;
    return 0;
end $$;
revoke execute on function hold_off_erasure, erase_batch from public;

-- Whether a dead letter has the data of an erased user: it names the user, a task or an event of the user. A letter about an event that has its data
-- is not one: the user came back. 45 days, because no topic keeps a message for longer.
create function is_letter_of_erased(event uuid, payload text) returns boolean language sql stable as $$
    select coalesce(
        (select data = '{}' from task_events where id = event),
        exists (
            select from regexp_matches(payload, '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'gi') as found (ids)
            where exists (select from erased_users
                          where user_id = ids[1]::uuid and erased_at > now() - interval '45 days')
               or exists (select from task_events where id = ids[1]::uuid and data = '{}')
               or exists (select from task_events where task_id = ids[1]::uuid and data = '{}')))
$$;

-- `audit_logs_by_user` serves the history of a task.
drop index audit_logs_by_task;
