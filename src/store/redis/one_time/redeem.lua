local row = redis.call('HMGET', KEYS[1], 'sub', 'for', 'email', 'ep')
if row[2] ~= ARGV[1] then
  return false
end
redis.call('DEL', KEYS[1])
return {row[1], row[3] or '', row[4] or ''}
