-- What searches look at: title and description in NFC and case-folded. Rust computes it (`shared::search_text`), so that no search depends on
-- the locale of a database. Null: another writer set the text; `upkeep` fills it, and until then a search looks at the text itself.
alter table tasks add column search_text text;
comment on column tasks.search_text is 'title and description as searches look at them; null until upkeep fills it, if another writer set them';

-- As before, and: a writer that does not know `search_text` unsets it when it changes the text; filling it alone is no change of the task.
create or replace function tasks_raise_version() returns trigger language plpgsql as $$
begin
    if new.version is not distinct from old.version and new.search_text is not distinct from old.search_text then
        new.version := coalesce(old.version, 0) + 1;
    end if;
    if new.completed and not old.completed and new.completed_at is not distinct from old.completed_at then
        new.completed_at := now();
    elsif not new.completed then
        new.completed_at := null;
    end if;
    if new.search_text is not distinct from old.search_text
       and (new.title, new.description) is distinct from (old.title, old.description) then
        new.search_text := null;
    end if;
    return new;
end $$;

-- A user's associations are those of the user's tags, of which there are few. By the tasks, as before, every list with a tag read all of the
-- user's tasks. A new association is checked by its task, as before: the statement that makes it may make its tag as well.
alter policy own_associations on task_tag_associations
    using (exists (select from task_tags where task_tags.id = tag_id))
    with check (exists (select from tasks where tasks.id = task_id));
