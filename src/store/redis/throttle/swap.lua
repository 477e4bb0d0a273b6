-- An empty text is a missing row.
local from, to, expiry = unpack(ARGV)
if (redis.call('GET', KEYS[1]) or '') ~= from then
  return 0
end
if to == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], to, 'PXAT', expiry)
end
return 1
