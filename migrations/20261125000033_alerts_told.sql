-- When each alert was last reported, whichever process did it: however many raise it, people are told once in a while.

CREATE TABLE alerts_told (
  name text PRIMARY KEY,
  told_at timestamptz NOT NULL
);
