-- The slots of one host: a sorted set of tokens by the time when they expire, in milliseconds
-- since 1970. Each script call is atomic, and uses only the clock of Redis.
--
-- ARGV: token, milliseconds that it is held, number of slots. Without a number of slots, the token
-- is replaced by its reservation. Returns 1 if the token is held.

local LONGEST = 600000  -- no slot is held longer; a later expiry is not ours

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local key, token, held, slots = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

if redis.call('TYPE', key).ok ~= 'zset' then redis.call('DEL', key) end
redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
redis.call('ZREMRANGEBYSCORE', key, string.format('(%.0f', now + LONGEST), '+inf')
redis.call('ZREM', key, token)
if held <= 0 or slots and redis.call('ZCARD', key) >= slots then return 0 end
redis.call('ZADD', key, string.format('%.0f', now + held), token)
redis.call('PEXPIRE', key, LONGEST)
return 1
