-- What a user has used of this hour and this day stays with the tombstone. A user who comes back continues with it.
alter table erased_users
    add column sent_now integer not null default 0,
    add column sent_now_hour timestamptz not null default '-infinity',
    add column keys integer not null default 0,
    add column keys_day date not null default '-infinity';
comment on column erased_users.sent_now is 'this and the next three: as they were in user_usage when the user was erased';

create function keep_usage_of_erased() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update public.erased_users
    set sent_now = old.sent_now, sent_now_hour = old.sent_now_hour, keys = old.keys, keys_day = old.keys_day
    where user_id = old.user_id;
    return null;
end $$;
create trigger user_usage_keep after delete on user_usage for each row execute function keep_usage_of_erased();

-- `security definer`: a writer that knows only `tasks` needs no rights here.
create function restore_usage_of_erased() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    erased public.erased_users;
begin
    select * into erased from public.erased_users where user_id = new.user_id;
    if found then
        new.sent_now := erased.sent_now;
        new.sent_now_hour := erased.sent_now_hour;
        if new.keys_day <= erased.keys_day then
            new.keys := new.keys + erased.keys;
            new.keys_day := erased.keys_day;
        end if;
    end if;
    return new;
end $$;
create trigger user_usage_restore before insert on user_usage for each row execute function restore_usage_of_erased();
