-- Milliseconds since 1970. The server's clock is the only clock.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
