-- Whose turn it is to tell an alert to people, and until when nobody else does: of each cause of an alert, for what was told of one
-- payment says nothing of another. `alerts_told`, which knew the alert alone, is read by the release before this one.

CREATE TABLE alert_turns (
  alert text NOT NULL,
  cause text NOT NULL,                            -- as a hash: short, and nobody's
  free_at timestamptz NOT NULL,                   -- who tells it has it for some seconds; who has told it, for the quiet period
  PRIMARY KEY (alert, cause)
);
