-- What later occurrences of a series have instead of this task's values. Code before this ignores it: a change of one occurrence then
-- applies to the later ones too, as it did.
alter table tasks add column series_values jsonb;
comment on column tasks.series_values is
    'the values of the series for the columns (and tags) that were changed for this occurrence alone; null = none';
