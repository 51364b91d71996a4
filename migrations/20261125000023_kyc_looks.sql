-- What Sumsub asks of a person who must try again, and who was not asked about for a day.

-- Sumsub's words to the person, in a language of its own; kept of a retry alone, because those of a refusal may hint at why.
ALTER TABLE screening_results ADD COLUMN comment text CHECK (char_length(comment) <= 1000);

-- Whom Sumsub was asked about the longest ago.
CREATE INDEX kyc_applicants_by_look ON kyc_applicants (coalesce(status_read_at, updated_at)) WHERE applicant_id IS NOT NULL;
