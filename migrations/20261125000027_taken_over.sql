-- Which newer consent took accounts of this one over: whoever has linked their bank again need not be asked to.
ALTER TABLE bank_consents ADD COLUMN taken_over_by uuid REFERENCES bank_consents (id);
