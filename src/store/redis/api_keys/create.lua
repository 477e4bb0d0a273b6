local key, of_owner = KEYS[1], KEYS[2]
local id, born = ARGV[1], ARGV[2]

if redis.call('EXISTS', key) == 1 then
  return 0
end
redis.call('HSET', key, 'born', born, unpack(ARGV, 3))
redis.call('ZADD', of_owner, born, id)
return 1
