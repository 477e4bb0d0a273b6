return {now, redis.call('HMGET', KEYS[1], 'dev', 'born', 'wrote', 'exp', 'prom', 'user', 'at', 'due')}
