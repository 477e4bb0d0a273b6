-- The keys of the tokens share the slot of KEYS.

for _, token in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  redis.call('DEL', token)
end
redis.call('DEL', KEYS[1])
return 1
