-- A text with a revision.
local row = redis.call('HMGET', KEYS[1], 'revision', 'text')
return {now, tonumber(row[1] or '0'), row[2] or ''}
