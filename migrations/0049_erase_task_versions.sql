-- As before, and the versions of tasks are deleted.
create or replace function erase_batch(of_user uuid, batch integer) returns bigint language plpgsql as $$
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
        'delete from event_failures where (consumer, event_id) in (select consumer, event_id from event_failures where user_id = $1 limit $2)',
        $step$
            with task as materialized (
                select id, series_id from tasks where user_id = $1 limit $2
            ), occurrences as (
                delete from task_occurrences where series_id in (select series_id from task)
            )
            delete from tasks where id in (select id from task)
        $step$,
        'delete from task_versions where (user_id, task_id, version) in (select user_id, task_id, version from task_versions where user_id = $1 limit $2)',
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
