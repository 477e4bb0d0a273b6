local row, of_subject, kept = KEYS[1], KEYS[2], KEYS[3]

if row == kept or redis.call('HGET', row, 'sub') ~= ARGV[1] then
  return 0
end
local found = redis.call('HMGET', kept, 'sub', 'revision', 'data')
if found[1] ~= ARGV[1] or found[2] ~= ARGV[3] or found[3] ~= ARGV[4] then
  return 0
end
redis.call('DEL', row)
redis.call('ZREM', of_subject, ARGV[2])
return 1
