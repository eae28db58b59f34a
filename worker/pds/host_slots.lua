-- The slots of one host: a sorted set of tokens by the time when they expire, in milliseconds
-- since 1970. Each script call is atomic, and uses only the clock of Redis.
--
-- ARGV: token, milliseconds that it is held, number of slots. Without a number of slots, the token
-- is replaced by its reservation. Returns -1, or the milliseconds until a reservation ends if no
-- slot is free, 0 without a reservation.

local LONGEST = 600000  -- no slot is held longer; a later expiry is not ours
local RESERVED = 'reserved:'

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local key, token, held, slots = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

if redis.call('TYPE', key).ok ~= 'zset' then redis.call('DEL', key) end
redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
redis.call('ZREMRANGEBYSCORE', key, string.format('(%.0f', now + LONGEST), '+inf')
redis.call('ZREM', key, token)
if slots and redis.call('ZCARD', key) >= slots then
  local taken = redis.call('ZRANGE', key, 0, slots - 1, 'WITHSCORES')
  for i = 1, #taken, 2 do
    if string.sub(taken[i], 1, #RESERVED) == RESERVED then return tonumber(taken[i + 1]) - now end
  end
  return 0
end
if not slots then token = RESERVED .. token end
if held > 0 then redis.call('ZADD', key, string.format('%.0f', now + held), token) end
redis.call('PEXPIRE', key, LONGEST)
return -1
