-- As before, except for the hours of reminders: an instant that has passed is in the current hour, because the reminder fires at once. In the
-- current hour the reminders that have fired count as well, as often as they did. They are counted by their events, which outlast the
-- reminder, its moves and the erasure of the user. One statement reads live and fired ones, so it sees each reminder exactly once.
create or replace function check_quotas(
    of_user uuid, new_tasks integer, new_tags uuid[], new_reminders integer, changed uuid[], live timestamptz[], arriving timestamptz[],
    max_tasks bigint, max_tags bigint, max_reminders bigint, max_reminders_an_hour bigint
) returns void language plpgsql as $$
declare
    tasks bigint := lock_user_usage(of_user);
    added bigint := (select count(*) from unnest(new_tags) tag where not exists (select from task_tags where id = tag));
    this_hour timestamptz := date_trunc('hour', clock_timestamp(), 'UTC');
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
    for hour in select distinct greatest(date_trunc('hour', at, 'UTC'), this_hour) from unnest(arriving) at order by 1 loop
        if (select count(*) from unnest(live) at where greatest(date_trunc('hour', at, 'UTC'), this_hour) = hour) + (
               select count(*) from task_reminders
               where user_id = of_user and reminder_is_live(state, version, fired_version) and id <> all(changed)
                 and remind_at >= case when hour = this_hour then '-infinity' else hour end and remind_at < hour + interval '1 hour') + (
               select count(*) from (
                   select from task_events
                   where hour = this_hour and user_id = of_user and type = 'reminder.due' and id >= uuid_v7_floor(hour)
                   limit max_reminders_an_hour) fired) > max_reminders_an_hour then
            raise check_violation using constraint = 'quota_reminders_an_hour',
                detail = to_char(hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"');
        end if;
    end loop;
end $$;
