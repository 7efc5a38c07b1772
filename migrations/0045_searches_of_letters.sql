-- no-transaction
-- The searches that are under way. Few rows: an erased user whose letters were searched leaves the index.
create index concurrently if not exists erased_users_searching on erased_users (letters_after) where letters_after is not null;
