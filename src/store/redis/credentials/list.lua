-- The keys of the rows share the slot of KEYS. A name is `kind`, with its length, and the identifier.

local of_subject, prefix, kind, most = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])

local rows = {}
for _, name in ipairs(redis.call('ZRANGE', of_subject, 0, -1)) do
  if #rows < most and string.sub(name, 1, #kind) == kind then
    local row = redis.call('HMGET', prefix .. name, 'sub', 'data', 'revision', 'created', 'used')
    rows[#rows + 1] = {string.sub(name, #kind + 1), row}
  end
end
return rows
