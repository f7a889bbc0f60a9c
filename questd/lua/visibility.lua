-- Visibility: messages handed out are hidden for a while, and shown again. A message is visible, delayed or in flight by
-- the clock alone; what is written here only follows it.

-- Gives messages that were received before their entry in `visible` back, and notes those that have no tries left.
local function show(q, t, sequences, deliveries)
  local entries, changed, exhausted = {}, {}, {}
  for i, delivery in ipairs(deliveries) do
    local count, first_ms, received_ms, queued, group = 0, 0, 0, 1, ''
    if delivery then count, first_ms, received_ms, queued, group = parts_of_delivery(delivery) end
    if queued == 0 then
      entries[#entries + 1] = sequences[i]
      changed[#changed + 1] = sequences[i]
      changed[#changed + 1] = delivery_of(count, first_ms, received_ms, 1, group)
    end
    if delivery and is_exhausted(q, count) then exhausted[#exhausted + 1] = sequences[i] end
  end
  if #entries > 0 then
    redis.call('HSET', q.key .. ':deliveries', unpack(changed))
    redis.call('RPUSH', q.key .. ':visible', unpack(entries))
    wake(q.key)
  end
  note_poison(q, t, exhausted)
end

-- Makes visible what has timed out or is no longer delayed, at most `limit` of each. Returns whether it stopped there.
local function promote(q, t, limit)
  local queue = q.key
  local due = redis.call('ZRANGE', queue .. ':inflight', '-inf', t, 'BYSCORE', 'LIMIT', 0, limit)
  if #due > 0 then
    local deliveries = redis.call('HMGET', queue .. ':deliveries', unpack(due))
    redis.call('ZREM', queue .. ':inflight', unpack(due))
    if q.fifo then refresh_all(q, t, groups_of(deliveries)) else show(q, t, due, deliveries) end
  end
  local passed_ms = q.fifo and t - q.delay_ms or t
  local ready = redis.call('ZRANGE', queue .. ':delayed', '-inf', passed_ms, 'BYSCORE', 'LIMIT', 0, limit)
  if #ready > 0 then
    redis.call('ZREM', queue .. ':delayed', unpack(ready))
    if q.fifo then
      local deliveries = redis.call('HMGET', queue .. ':deliveries', unpack(ready))
      redis.call('HDEL', queue .. ':deliveries', unpack(ready))
      refresh_all(q, t, groups_of(deliveries))
    else
      redis.call('RPUSH', queue .. ':visible', unpack(ready))
      wake(queue)
    end
  end
  return #due == limit or #ready == limit
end

-- The earliest time anything of the queue falls due, but for retention; nil when nothing does.
local function next_due(q, poison_after_ms)
  local later_ms = {
    [':inflight'] = 0, [':delayed'] = q.fifo and q.delay_ms or 0,
    [':poison'] = poison_after_ms ~= 'never' and poison_after_ms or nil,
  }
  local earliest = nil
  for key, ms in pairs(later_ms) do
    local due = tonumber(redis.call('ZRANGE', q.key .. key, 0, 0, 'WITHSCORES')[2])
    if due and (not earliest or due + ms < earliest) then earliest = due + ms end
  end
  return earliest
end

-- Hands messages out, a list of {sequence, record, receive count so far, first ms or nil}, and hides them: fills in the
-- count and first ms that this receive makes, and the ms of the receive. `mark` and `group` go into the delivery.
local function hand_out(q, t, given, visibility_ms, mark, group)
  local deliveries, hidden = {}, {}
  for i, message in ipairs(given) do
    message[3], message[4], message[5] = message[3] + 1, message[4] or t, t
    deliveries[2 * i - 1] = message[1]
    deliveries[2 * i] = delivery_of(message[3], message[4], t, mark, group)
    hidden[2 * i - 1], hidden[2 * i] = t + visibility_ms, message[1]
  end
  redis.call('HSET', q.key .. ':deliveries', unpack(deliveries))
  if visibility_ms > 0 then
    redis.call('ZADD', q.key .. ':inflight', unpack(hidden))
    lower_alarm(q, t, t + visibility_ms)
  end
end
