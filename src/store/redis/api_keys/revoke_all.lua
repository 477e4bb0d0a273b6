-- One step, from a rank on. The keys of the rows share the slot of KEYS.

local of_owner, prefix = KEYS[1], ARGV[1]
local from, step, within = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local ids = redis.call('ZRANGE', of_owner, from, from + step - 1)
local revoked = {}
for _, id in ipairs(ids) do
  local key = prefix .. id
  redis.call('HSETNX', key, 'revoked', now)
  if tonumber(redis.call('HGET', key, 'revoked')) > now - within then
    revoked[#revoked + 1] = id
  end
end
return {#ids, revoked}
