return {now, redis.call('HMGET', KEYS[1], unpack(ARGV))}
