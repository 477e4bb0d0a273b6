local row = redis.call('HMGET', KEYS[1], 'sub', 'revision', 'data')
if row[1] ~= ARGV[1] or row[2] ~= ARGV[2] or row[3] ~= ARGV[4] then
  return 0
end
redis.call('HSET', KEYS[1], 'data', ARGV[3], 'used', now)
redis.call('HINCRBY', KEYS[1], 'revision', 1)
return 1
