-- The keys of the rows share the slot of KEYS.

local prefix = KEYS[1]

for i = 1, #ARGV, 2 do
  local key, at = prefix .. ARGV[i], ARGV[i + 1]
  local row = redis.call('HMGET', key, 'owner', 'used')
  if row[1] and (not row[2] or tonumber(row[2]) < tonumber(at)) then
    redis.call('HSET', key, 'used', at)
  end
end
return 1
