-- Whether BankID could not be reached for a login: what /v1/health says of BankID. NULL: it was not asked.
ALTER TABLE logins ADD COLUMN bankid_unreachable boolean;
CREATE INDEX logins_at_bankid ON logins (finished_at) WHERE bankid_unreachable IS NOT NULL;
