local ring = redis.call('HMGET', KEYS[1], 'revision', 'keys')
return {now, tonumber(ring[1] or '0'), ring[2] or ''}
