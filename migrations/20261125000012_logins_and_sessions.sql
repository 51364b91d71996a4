-- Another login was started in the browser of this one: the cookies that the browser holds are that one's.
ALTER TABLE logins ADD COLUMN overtaken boolean NOT NULL DEFAULT false;
