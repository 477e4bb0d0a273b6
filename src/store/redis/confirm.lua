local generation = redis.call('HGET', KEYS[1], 'gen')
if generation and tonumber(generation) == tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'conf', generation, 're', 0)
end
return 1
