-- A delivery goes to one target of its channel: a push subscription, or nothing in particular for e-mail. The default is a constant, so the table
-- is not rewritten. Older code writes no target: its `push` rows stand for all devices of the user, see `Sender::attempt`.
alter table notification_deliveries
    add column target uuid not null default '00000000-0000-0000-0000-000000000000';
comment on column notification_deliveries.target is
    'the push subscription that it goes to; the nil UUID for e-mail, and for a push to a user without a subscription';

-- Until now nothing wrote to this table, so no row keeps the default.
alter table push_subscriptions add column vapid_key text not null default '';
alter table push_subscriptions alter column vapid_key drop default;
comment on column push_subscriptions.vapid_key is
    'the public key that the browser subscribed with; the push service accepts messages that are signed with its private key only';

grant select, insert, update, delete on push_subscriptions to punctual_api;
alter table push_subscriptions enable row level security;
create policy own_subscriptions on push_subscriptions to punctual_api using (user_id = punctual_user());

-- Takes an endpoint from another user, so that the user of the transaction can have it. Whoever knows its keys has the device, where somebody else
-- signs in now. Without the keys it is refused. `security definer`, because that user's row is not visible.
--
-- The lock lets the second of two users who register the same endpoint see the row of the first.
create function take_push_endpoint(of_endpoint text, of_p256dh text, of_auth text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_advisory_xact_lock(1886745448, hashtext(of_endpoint)); -- "push"
    delete from public.push_subscriptions
    where endpoint = of_endpoint and user_id <> public.punctual_user() and p256dh = of_p256dh and auth = of_auth;
    if exists (select from public.push_subscriptions where endpoint = of_endpoint and user_id <> public.punctual_user()) then
        raise unique_violation using constraint = 'push_subscriptions_endpoint_key';
    end if;
end $$;
