-- Visibility: messages handed out are hidden for a while, and shown again. A message is visible, delayed or in flight by
-- the clock alone; what is written here only follows it.

-- How many messages are visible, in flight, delayed: by the clock, whoever looked last.
local function counts_of(q, t)
  local inflight = redis.call('ZCOUNT', q.inflight, string.format('(%d', t), '+inf')
  local delayed_since_ms = q.fifo and t - q.delay_ms or t
  local delayed = redis.call('ZCOUNT', q.delayed, string.format('(%d', delayed_since_ms), '+inf')
  return redis.call('HLEN', q.messages) - inflight - delayed, inflight, delayed
end

-- How many of `max` messages may be handed out when `limit` may be in flight. It counts once a second, and knows in between
-- how many there are at most: a count each time was 2 % of a receive.
local function room_for(q, t, max, limit)
  if not q.counted_ms or t - q.counted_ms >= 1000 or t < q.counted_ms or q.most_in_flight + max > limit then
    q.counted_ms, q.most_in_flight = t, redis.call('ZCARD', q.inflight)
  end
  if q.most_in_flight + max <= limit then return max end
  return math.min(max, limit - redis.call('ZCOUNT', q.inflight, string.format('(%d', t), '+inf'))
end

-- Whether there is something to receive, as far as that is known without looking at the clock.
local function has_visible(q)
  return redis.call('LLEN', q.visible) > 0 or (q.fifo or q.fair) and redis.call('EXISTS', q.groups) == 1
end

-- Wakes one more process when there is something left to receive.
local function hand_on(q)
  if q.waits and has_visible(q) then wake(q) end
end

-- Takes messages out of everything that holds them; what they leave in lists of visible ones is dead from now on. Who
-- knows their deliveries gives them, and who knows that all are in flight says so. Returns the groups of a FIFO queue to be
-- refreshed.
local function remove(q, t, sequences, deliveries, in_flight)
  local groups = {}
  if q.fifo or q.fair then deliveries = deliveries or redis.call('HMGET', q.deliveries, unpack(sequences)) end
  if q.fifo then groups = leave(q, sequences, deliveries, in_flight) elseif q.fair then land(q, t, sequences, deliveries) end
  redis.call('HDEL', q.messages, unpack(sequences))
  redis.call('HDEL', q.deliveries, unpack(sequences))
  redis.call('ZREM', q.inflight, unpack(sequences))
  if redis.call('EXISTS', q.delayed, q.arrived, q.poison) > 0 then
    for _, key in ipairs({q.delayed, q.arrived, q.poison}) do redis.call('ZREM', key, unpack(sequences)) end
  end
  return groups
end

-- Gives messages that were received before their entry among the visible ones back, and notes those that have no tries
-- left.
local function show(q, t, sequences, deliveries)
  local entries, group_ids, changed, exhausted = {}, {}, {}, {}
  for i, delivery in ipairs(deliveries) do
    local count, first_ms, received_ms, mark, group = 0, 0, 0, 1, ''
    if delivery then count, first_ms, received_ms, mark, group = parts_of_delivery(delivery) end
    if mark == 0 then
      entries[#entries + 1], group_ids[#entries + 1] = sequences[i], group
      changed[#changed + 1] = sequences[i]
      changed[#changed + 1] = delivery_of(count, first_ms, received_ms, 1, group)
    end
    if delivery and is_exhausted(q, count) then exhausted[#exhausted + 1] = sequences[i] end
  end
  if #entries > 0 then
    redis.call('HSET', q.deliveries, unpack(changed))
    enlist(q, entries, group_ids)
    wake(q)
  end
  note_poison(q, t, exhausted)
end

-- Shows messages whose delay is over. In queues with groups a delayed message has a delivery, which says its group.
local function end_delays(q, t, sequences)
  local group_ids = {}
  redis.call('ZREM', q.delayed, unpack(sequences))
  local deliveries = (q.fifo or q.fair) and redis.call('HMGET', q.deliveries, unpack(sequences)) or {}
  local waiting = {} -- those that nobody has received: a delay ends by the clock, and one may be in flight by now
  for i = 1, #sequences do
    if deliveries[i] and parts_of_delivery(deliveries[i]) == 0 then waiting[#waiting + 1] = sequences[i] end
  end
  if #waiting > 0 then redis.call('HDEL', q.deliveries, unpack(waiting)) end
  if q.fifo then
    refresh_all(q, t, groups_of(deliveries))
    return
  end
  for i = 1, #sequences do group_ids[i] = deliveries[i] and select(5, parts_of_delivery(deliveries[i])) or '' end
  enlist(q, sequences, group_ids)
  wake(q)
end

-- Makes visible what has timed out or is no longer delayed, at most `limit` of each. Returns whether it stopped there.
local function promote(q, t, limit)
  local due = redis.call('ZRANGE', q.inflight, '-inf', t, 'BYSCORE', 'LIMIT', 0, limit)
  if #due > 0 then
    local deliveries = redis.call('HMGET', q.deliveries, unpack(due))
    redis.call('ZREM', q.inflight, unpack(due))
    if q.fair then let_go(q, t, deliveries) end
    if q.fifo then refresh_all(q, t, groups_of(deliveries)) else show(q, t, due, deliveries) end
  end
  local passed_ms = q.fifo and t - q.delay_ms or t
  local ready = redis.call('ZRANGE', q.delayed, '-inf', passed_ms, 'BYSCORE', 'LIMIT', 0, limit)
  if #ready > 0 then end_delays(q, t, ready) end
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

local first_delivery_at = lately(function(t) return delivery_of(1, t, t, 0, '') end)

-- Hands messages out, a list of {sequence, record, receive count so far, first ms or nil, group or nil}, and hides them:
-- fills in the count, first and received ms that this receive makes. `mark` goes into the deliveries. Those before `start`
-- were handed out before. Returns the group of each in a fair queue, nil in others.
local function hand_out(q, t, given, visibility_ms, mark, start)
  local count_given = #given - start + 1
  local deliveries, hidden, group_ids = slots(2 * count_given), slots(2 * count_given), q.fair and {} or nil
  local first_delivery = first_delivery_at(t)
  for i = 1, count_given do
    local message = given[start + i - 1]
    local sequence, count, first_ms, group = message[1], message[3] + 1, message[4] or t, message[5] or ''
    local delivery = (count == 1 and first_ms == t and mark == 0) and first_delivery .. group
      or delivery_of(count, first_ms, t, mark, group)
    message[3], message[4], message[5] = count, first_ms, t
    if group_ids then group_ids[i] = group end
    deliveries[2 * i - 1], deliveries[2 * i] = sequence, delivery
    hidden[2 * i - 1], hidden[2 * i] = t + visibility_ms, sequence
  end
  redis.call('HSET', q.deliveries, unpack(deliveries))
  if visibility_ms > 0 then
    if q.counted_ms then q.most_in_flight = q.most_in_flight + count_given end
    if q.fair then hold(q, hidden, group_ids) else redis.call('ZADD', q.inflight, unpack(hidden)) end
    lower_alarm(q, t, t + visibility_ms)
  end
  return group_ids
end
