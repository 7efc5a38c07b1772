-- no-transaction
-- The next migration makes it the index of `notification_deliveries_once`.
create unique index concurrently if not exists notification_deliveries_once_per_target
    on notification_deliveries (reminder_id, reminder_version, channel, target);
