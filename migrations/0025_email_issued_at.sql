-- When the identity provider issued the token that `email` came from. Only a later token replaces the address, so that a token which is
-- still valid on an old device does not bring a former address back. Null: unknown, and any token replaces it.
alter table users add column email_issued_at timestamptz;
