local row, of_subject = KEYS[1], KEYS[2]

if redis.call('HGET', row, 'sub') ~= ARGV[1] then
  return 0
end
redis.call('DEL', row)
redis.call('ZREM', of_subject, ARGV[2])
return 1
