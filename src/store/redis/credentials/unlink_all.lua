-- The keys of the rows share the slot of KEYS.

local of_subject, prefix = KEYS[1], ARGV[1]

local names = redis.call('ZRANGE', of_subject, 0, -1)
for _, name in ipairs(names) do
  redis.call('DEL', prefix .. name)
end
redis.call('DEL', of_subject)
return #names
