local HOUR = 60 * 60 * 1000
local DAY = 24 * HOUR

-- Milliseconds since 1970. The server's clock is the only clock.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
