-- Figures of a queue, all in one call: for a console and for metrics. Exact but for the oldest message, which is near it
-- while the tick has not stepped over the many that were deleted before it.

-- A living message near the oldest one, none of those up to the sequence `gone` being there: where the messages begin when
-- all deleted ones come before the living ones. nil when it is not found.
local function near_oldest(q, gone)
  local low, high = gone, last_sequence(q.key)
  if redis.call('HEXISTS', q.messages, high) == 0 then return nil end
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if redis.call('HEXISTS', q.messages, middle) == 1 then high = middle else low = middle end
  end
  return redis.call('HGET', q.messages, high)
end

-- When the oldest living message was sent, whatever its state; 0 for none.
local function oldest_ms_of(q, t)
  local found, gone = look(q, t, 'visible inflight delayed', 0, 1, '')
  local record = found[1] and found[1][2] or gone > 0 and near_oldest(q, gone)
  local arrived = redis.call('ZRANGE', q.arrived, string.format('(%d', t - q.retention_ms), '+inf', 'BYSCORE',
    'LIMIT', 0, 1, 'WITHSCORES')
  local oldest_ms = math.min(record and sent_ms_of(record) or math.huge, tonumber(arrived[2]) or math.huge)
  return oldest_ms < math.huge and oldest_ms or 0
end

-- quest_figures: how a queue is.
-- KEYS  the queue
-- Reply now in ms; how many messages are visible, in flight, delayed; when the oldest was sent in ms (0: there is none);
--       how many noisy groups have visible messages; how many processes wait with long polls; how many messages have moved
--       to the dead-letter queue since this one was made; 1 when it is paused
-- Fails QueueDoesNotExist
register('quest_figures', {'no-writes'}, {}, function(keys)
  local queue = keys[1]
  reach(queue) -- it reads several keys: in a half-moved slot some would look empty
  local q = open(queue)
  local t = now()
  local visible, inflight, delayed = counts_of(q, t)
  local noisy = q.fair and select(2, next_groups(q)) or 0
  local waiting = redis.call('ZCOUNT', queue .. ':waiting', server_time(), '+inf')
  local paused, dead_lettered = unpack(redis.call('HMGET', queue, 'paused', 'dead_lettered'))
  return {t, visible, inflight, delayed, oldest_ms_of(q, t), noisy, waiting, tonumber(dead_lettered or 0),
    tonumber(paused or 0)}
end)
