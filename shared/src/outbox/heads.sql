-- The next users of each lane, and the oldest events of each that go out. A row without an event is a user who has none.
with waiting as materialized (
    select shard, reminder, user_id
    from unnest($1::smallint[], $2::boolean[], $3::uuid[]) as lane (shard, reminder, next)
    cross join lateral (
        with recursive users as (
            (select user_id from task_events event
             where published_at is null and event.shard = lane.shard
               and (type like 'reminder.%') = lane.reminder and user_id >= lane.next
             order by user_id limit 1)
            union all
            select (select event.user_id from task_events event
                    where published_at is null and event.shard = lane.shard
                      and (type like 'reminder.%') = lane.reminder and event.user_id > users.user_id
                    order by event.user_id limit 1)
            from users where users.user_id is not null
        )
        select user_id from users where user_id is not null limit $4
    ) as users
)
select waiting.shard as "shard!", waiting.reminder as "reminder!", waiting.user_id as "user_id!",
       head.id as "id?", head.type as "kind?", head.task_id as "task_id?"
from waiting left join lateral (
    select id, type, task_id from task_events event
    where published_at is null and event.shard = waiting.shard
      and (type like 'reminder.%') = waiting.reminder and event.user_id = waiting.user_id
      and type = any($5) and (task_id, type) not in (select * from unnest($6::uuid[], $7::text[]))
    order by id limit $8
) as head on true
order by waiting.shard, waiting.reminder, waiting.user_id, head.id
