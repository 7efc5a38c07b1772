-- no-transaction
-- Deliveries that were given up, which `GET /v1/system` counts. Few end like this, so the index is small.
create index concurrently if not exists notification_deliveries_given_up on notification_deliveries (created_at)
    where state in ('failed', 'unknown');
