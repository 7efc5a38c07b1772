select delivery.id, reminder_id, reminder_version, channel, target, delivery.user_id, delivery.task_id,
       delivery.state as "state: DeliveryState", attempts, delivery.created_at, at_dot, repeated, next_attempt_at,
       coalesce(lease_until, next_attempt_at) as "lease_until!",
       event.data as "due: Json<ReminderDue>", event.traceparent,
       reminder.version, reminder.cancel_reason as "cancel_reason: CancelReason",
       reminder.remind_at, reminder.fired_at,
       task.completed as "completed?", task.due_at, coalesce(task.time_zone, owner.time_zone) as zone,
       owner.email as "address?", coalesce(owner.hide_titles, false) as "hide_titles!",
       device.endpoint as "endpoint?", device.p256dh as "p256dh?", device.auth as "auth?", device.vapid_key as "vapid_key?",
       message as "message: Json<Email>", clock_timestamp() as "now!",
       -- Counted by their events, which also have the messages of before an erasure.
       case when $2 <= (
           select count(*) from (
               select from task_events message
               where message.user_id = delivery.user_id and message.type = 'reminder.sent'
                 and message.id >= uuid_v7_floor(date_trunc('hour', now(), 'UTC')) limit $2) sent)
       then date_trunc('hour', now(), 'UTC') + interval '1 hour' end as over_quota_until
from notification_deliveries delivery
join task_reminders reminder on reminder.id = reminder_id
join task_events event on event.id = delivery.event_id and event.data <> '{}'
left join tasks task on task.id = delivery.task_id
-- An erasure that goes on has not deleted the user yet.
left join users owner on owner.id = delivery.user_id
    and not exists (select from erased_users where user_id = owner.id and not done)
left join push_subscriptions device on device.id = target and device.user_id = delivery.user_id
where delivery.id = $1
