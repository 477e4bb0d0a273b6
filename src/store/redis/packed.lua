-- A session is one string of this form. The fields that a refresh changes come first, and those of
-- variable length last: subject, key, details. An optional generation is stored plus one, 0 if missing.
--   1 format, 2 reason of its end, 3 generation, 11 parent, 19 confirmed, 27 rotated, 35 used, 43 ends by,
--   51 reissues | 55 idle, 63 expires, 71 created, 79 epoch, 83 kind, 84 and 88 lengths, 92 the rest
local FORM = '>I1I1I8I8I8I8I8I8I4I8I8I8I4I1I4I4'
