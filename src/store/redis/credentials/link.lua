local row, of_subject = KEYS[1], KEYS[2]

if redis.call('EXISTS', row) == 1 then
  return 0
end
redis.call('HSET', row, 'sub', ARGV[1], 'data', ARGV[2], 'revision', 0, 'created', now)
redis.call('ZADD', of_subject, now, ARGV[3])
return 1
