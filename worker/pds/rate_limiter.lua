-- Rate limits in Redis. Each script call is atomic, and uses only the clock of Redis.
--
-- A bucket is a hash. In points: `used`, and `flight`, the part of `used` without a response yet.
-- In milliseconds since 1970: `began` and `ends` of the window, `last` (charge), `shut` (closed
-- until then), `probe` (next probe). Reported by the server: `points` and `window`. `heard` is 1
-- if the server has reported this bucket in the current window.

local LONGEST = 31 * 86400000  -- the longest window
local CLOSED = 86400000  -- the longest wait after a 429
local MARGIN = 15000     -- the server's window begins later, when our first call arrives
local LOST = 120000      -- after this time without a response, a call counts as lost
local PROBE = 60000

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function number(text)
  local value = tonumber(text or 0) or 0
  if value ~= value or value < 0 or value > 1e15 then return 0 end
  return value
end

local FIELDS = {'used', 'flight', 'began', 'ends', 'last', 'shut', 'probe', 'points', 'window',
                'heard'}

local function read(key, points, window)
  if redis.call('TYPE', key).ok ~= 'hash' then redis.call('DEL', key) end
  local bucket = {}
  for i, text in ipairs(redis.call('HMGET', key, unpack(FIELDS))) do
    bucket[FIELDS[i]] = number(text)
  end
  if bucket.window > LONGEST then bucket.window = 0 end
  bucket.limit = points
  if bucket.points > 0 then bucket.limit = math.min(points, bucket.points) end
  bucket.length = bucket.window > 0 and bucket.window or window
  local margin = math.min(MARGIN, math.floor(bucket.length / 20))
  if bucket.ends <= now or bucket.ends > now + bucket.length + MARGIN then
    bucket.used, bucket.flight, bucket.heard, bucket.probe = 0, 0, 0, 0
    bucket.began, bucket.ends = now, now + bucket.length + margin
  end
  if bucket.last + LOST < now then bucket.flight = 0 end
  if bucket.shut > now + CLOSED then bucket.shut = 0 end
  return bucket
end

local function keep(key, bucket)
  local fields = {}
  for _, name in ipairs(FIELDS) do
    fields[#fields + 1] = name
    fields[#fields + 1] = string.format('%.0f', bucket[name])
  end
  redis.call('HSET', key, unpack(fields))
  redis.call('PEXPIRE', key, math.ceil(math.max(bucket.ends, bucket.shut)) - now + 1000)
end

-- Returns the milliseconds that a charge must wait, 0 if it is allowed.
local function wait(bucket, cost, share)
  if bucket.shut > now then return bucket.shut - now end
  -- An empty bucket allows any charge, even one that exceeds the whole share.
  if bucket.used == 0 or bucket.used + cost <= bucket.limit * share then return 0 end
  if bucket.heard == 1 then return bucket.ends - now end
  -- The server has not reported this bucket, so our count may be wrong: allow one call per PROBE.
  if bucket.probe == 0 then bucket.probe = now + PROBE end
  if bucket.probe <= now then
    bucket.probe = now + PROBE
    return 0
  end
  return math.min(bucket.ends, bucket.probe) - now
end

-- ARGV: 'spend', share, then points, window and cost of each key.
-- Returns 0 and the start of each window, or the index and wait of the bucket that waits longest.
local function spend()
  local share, buckets, began = tonumber(ARGV[2]), {}, {0}
  local place, longest = 0, 0
  for i, key in ipairs(KEYS) do
    local at = 3 * i
    local bucket = read(key, tonumber(ARGV[at]), tonumber(ARGV[at + 1]))
    local needed = wait(bucket, tonumber(ARGV[at + 2]), share)
    if needed > longest then place, longest = i, needed end
    buckets[i] = bucket
  end
  for i, key in ipairs(KEYS) do
    local bucket = buckets[i]
    if place == 0 then
      local cost = tonumber(ARGV[3 * i + 2])
      bucket.used, bucket.flight, bucket.last = bucket.used + cost, bucket.flight + cost, now
    end
    keep(key, bucket)
    began[i + 1] = bucket.began
  end
  if place > 0 then return {place, math.ceil(longest)} end
  return began
end

local function correct(bucket, points, window, left, reset)
  bucket.points, bucket.window, bucket.heard = points, window, 1
  local spent, ends = math.max(points - left, 0), now + reset + 1500
  if ends > bucket.ends + 5000 then
    bucket.began = now  -- the server has begun a new window
    bucket.used = spent
  elseif bucket.flight == 0 and spent < bucket.used - points / 10 then
    bucket.used = spent  -- a larger difference than out-of-order responses can cause
  end
  bucket.used = math.max(bucket.used, spent + bucket.flight)
  bucket.ends = ends
end

-- ARGV: 'settle', index of the reported bucket or 0, its points, window, left and reset, index of
-- the refused bucket or 0, its wait, points, window and cost of each key, window start of each key.
local function settle()
  local reported, refused = tonumber(ARGV[2]), tonumber(ARGV[7])
  for i, key in ipairs(KEYS) do
    local at = 6 + 3 * i
    local bucket = read(key, tonumber(ARGV[at]), tonumber(ARGV[at + 1]))
    if bucket.began == tonumber(ARGV[8 + 3 * #KEYS + i]) then
      bucket.flight = math.max(bucket.flight - tonumber(ARGV[at + 2]), 0)
    end
    if i == reported then
      correct(bucket, tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))
    end
    if i == refused then
      bucket.shut, bucket.heard = now + tonumber(ARGV[8]), 1
      bucket.used = math.max(bucket.used, bucket.limit)
    end
    keep(key, bucket)
  end
  return 0
end

-- ARGV: 'room', share, then points, window and cost of each key. Returns the fewest points left.
local function room()
  local least = -1
  for i, key in ipairs(KEYS) do
    local bucket = read(key, tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]))
    local left = math.floor(bucket.limit * tonumber(ARGV[2]) - bucket.used)
    if bucket.shut > now then left = 0 end
    left = math.max(left, 0)
    if least < 0 or left < least then least = left end
  end
  return least
end

if ARGV[1] == 'spend' then return spend() end
if ARGV[1] == 'settle' then return settle() end
return room()
