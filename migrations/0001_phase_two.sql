-- The tables a Phase II application already has. `if not exists`: this migration adopts them where they stand.
create table if not exists users (
    id uuid constraint users_pkey primary key default gen_random_uuid(),
    email text not null,
    created_at timestamptz not null default now()
);

create table if not exists tasks (
    id uuid constraint tasks_pkey primary key default gen_random_uuid(),
    user_id uuid not null constraint tasks_user_id_fkey references users (id) on delete cascade,
    title text not null,
    description text,
    completed boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

-- The oldest code (by the number of its newest migration) that still runs on this schema. A migration that only
-- adds leaves it; one that takes something away raises it.
create table if not exists schema_compatibility (since bigint not null);
insert into schema_compatibility select 1 where not exists (select from schema_compatibility);
