-- Windows of five minutes: what a FIFO queue remembers of its sends (deduplication) and receives (attempts), so that a
-- repeated one does nothing new. One hash and one list of what expires when, in order: nothing relies on EXPIRE, and a
-- purge forgets all of it. A digest is 20 bytes (sends) or 40 (attempts); what is remembered follows the time it ends.

local WINDOW_MS = 300000
local WINDOW_REST_MS = 10000 -- between two looks of the background task at what has expired: only memory is at stake

-- What is remembered of `digests`, false where nothing is.
local function remembered(q, t, digests)
  local found = redis.call('HMGET', q.windows, unpack(digests))
  for i = 1, #digests do
    local value = found[i]
    if value then
      local until_ms, start = struct.unpack('>I6', value)
      found[i] = until_ms > t and string.sub(value, start)
    end
  end
  return found
end

local window_end = lately(function(t) return struct.pack('>I6', t + WINDOW_MS) end)

-- Remembers each value of `memories` (digest and value in turn) for five minutes.
local function remember(q, t, memories)
  local until_ms, order = window_end(t), {''}
  for i = 2, #memories, 2 do
    order[i / 2] = until_ms .. memories[i - 1]
    memories[i] = until_ms .. memories[i]
  end
  redis.call('HSET', q.windows, unpack(memories))
  redis.call('RPUSH', q.window_order, unpack(order))
  lower_alarm(q, t, t + WINDOW_MS + WINDOW_REST_MS)
end

-- Forgets what has expired, at most `limit`. Returns whether it stopped there. It remembers when to look again, which
-- takes a sixteenth off a FIFO send; were that too late, only memory would be at stake.
local function forget_expired(q, t, limit)
  if q.window_end_ms and q.window_end_ms > t then return false end
  local order = redis.call('LRANGE', q.window_order, 0, limit - 1)
  local expired, digests = 0, {}
  for i, item in ipairs(order) do
    local until_ms, start = struct.unpack('>I6', item)
    q.window_end_ms = until_ms
    if until_ms > t then break end
    expired, digests[i] = i, string.sub(item, start)
  end
  if expired == 0 then return false end
  local gone = {}
  for i, value in ipairs(redis.call('HMGET', q.windows, unpack(digests))) do
    if value and struct.unpack('>I6', value) <= t then gone[#gone + 1] = digests[i] end
  end
  if #gone > 0 then redis.call('HDEL', q.windows, unpack(gone)) end
  redis.call('LTRIM', q.window_order, expired, -1)
  return expired == limit
end
