-- no-transaction
-- `GET /v1/system` counts them. Few deliveries end so, and the others are not in it.
create index concurrently if not exists notification_deliveries_given_up on notification_deliveries (created_at)
    where state in ('failed', 'unknown');
