-- Fair queues: a standard queue whose messages have a MessageGroupId, which names a tenant. The visible messages of a
-- tenant have a list of their own, and a receive passes over the noisy tenants as long as others have something: those
-- with at least 30 messages and a tenth of all in flight, and those with a tenth of the processing time of the last
-- minute or two (AWS's thresholds, contract 5.8). Messages without a group are in `visible` and never noisy. A queue is
-- fair from its first message with a group on; the others do not pay for it.

local NOISY_IN_FLIGHT = 30
local NOISY_SHARE = 0.1
local CANDIDATES = 19 -- nine tenants at most can have a tenth of the messages in flight, nine a tenth of the time
local BUSY_MS = 60000 -- how long processing times are summed up before they are half forgotten

local function visible_list(q, group) return group == '' and q.visible or list_of(q, group) end

-- From the first message with a group on.
local function become_fair(q)
  if q.fair then return end
  q.fair = true
  redis.call('HSET', q.key, 'fair', 1)
  renew(q)
end

-- Gives a group its place: that of its first visible message.
local function give_place(q, group)
  if group == '' then return end
  local first = redis.call('LINDEX', list_of(q, group), 0)
  if first then
    redis.call('ZADD', q.groups, first, group)
  else
    redis.call('ZREM', q.groups, group)
  end
end

-- Puts messages at the back of what is visible of their groups (`group_ids`: of each, '' for none; nil when none has
-- one); 'LPUSH' puts them at the front.
local function enlist(q, sequences, group_ids, push)
  if not group_ids then
    redis.call(push or 'RPUSH', q.visible, unpack(sequences))
    return
  end
  local together = {}
  for i, sequence in ipairs(sequences) do
    if group_ids[i] == '' then
      together[#together + 1] = sequence
    else
      become_fair(q)
      redis.call(push or 'RPUSH', list_of(q, group_ids[i]), sequence)
      give_place(q, group_ids[i])
    end
  end
  if #together > 0 then redis.call(push or 'RPUSH', q.visible, unpack(together)) end
end

-- The groups whose messages come next, '' for those without one: the quiet ones in the order of their first messages, then
-- the noisy ones, those with the fewest messages in flight first. Empty when nothing is visible. Returns how many are
-- noisy, too.
local function next_groups(q)
  local queue, quiet, noisy = q.key, {}, {}
  local found = redis.call('ZRANGE', q.groups, 0, CANDIDATES - 1, 'WITHSCORES')
  local ungrouped = tonumber(redis.call('LINDEX', q.visible, 0))
  local names = {''}
  for i = 1, #found, 2 do names[#names + 1] = found[i] end
  local held = redis.call('HMGET', queue .. ':held', unpack(names))
  local busy = redis.call('HMGET', queue .. ':busy', unpack(names))
  local before = redis.call('HMGET', queue .. ':busy_before', unpack(names))
  local noisy_held = redis.call('ZCARD', q.inflight) * NOISY_SHARE
  local noisy_busy = ((busy[1] or 0) + (before[1] or 0)) * NOISY_SHARE
  for i = 2, #names do
    if ungrouped and ungrouped < tonumber(found[2 * i - 2]) then
      quiet[#quiet + 1], ungrouped = '', nil
    end
    local holds, spent = tonumber(held[i] or 0), (busy[i] or 0) + (before[i] or 0)
    if (holds < NOISY_IN_FLIGHT or holds <= noisy_held) and spent <= noisy_busy then
      quiet[#quiet + 1] = names[i]
    else
      noisy[#noisy + 1] = {holds, i, names[i]}
    end
  end
  if ungrouped then quiet[#quiet + 1] = '' end
  table.sort(noisy, function(a, b) return a[1] < b[1] or a[1] == b[1] and a[2] < b[2] end)
  for _, group in ipairs(noisy) do quiet[#quiet + 1] = group[3] end
  return quiet, #noisy
end

-- Hides messages of groups, so many more of each in flight: `hidden` is ms and sequence in turn.
local function hold(q, hidden, group_ids)
  for i, group in ipairs(group_ids) do
    if redis.call('ZADD', q.inflight, hidden[2 * i - 1], hidden[2 * i]) == 1 and group ~= '' then
      redis.call('HINCRBY', q.key .. ':held', group, 1)
    end
  end
end

-- Begins another minute of processing times when the last is over. Returns when the next is due to begin.
local function turn_over(q, t)
  local since_ms = tonumber(redis.call('HGET', q.key, 'busy_since') or 0)
  if t < since_ms + BUSY_MS then return since_ms + BUSY_MS end
  if t < since_ms + 2 * BUSY_MS and redis.call('EXISTS', q.key .. ':busy') == 1 then
    redis.call('RENAME', q.key .. ':busy', q.key .. ':busy_before')
  else
    redis.call('UNLINK', q.key .. ':busy', q.key .. ':busy_before')
  end
  redis.call('HSET', q.key, 'busy_since', t)
  return t + BUSY_MS
end

-- Messages are in flight no more: so many fewer of their groups, and so much time was spent.
local function let_go(q, t, deliveries)
  lower_alarm(q, t, turn_over(q, t))
  for _, delivery in ipairs(deliveries) do
    local _, _, received_ms, _, group = parts_of_delivery(delivery or delivery_of(0, 0, t, 0, ''))
    if group ~= '' then
      if redis.call('HINCRBY', q.key .. ':held', group, -1) <= 0 then redis.call('HDEL', q.key .. ':held', group) end
      local spent_ms = math.max(t - received_ms, 0)
      redis.call('HINCRBY', q.key .. ':busy', group, spent_ms)
      redis.call('HINCRBY', q.key .. ':busy', '', spent_ms)
    end
  end
end

-- Takes messages of a fair queue, with their deliveries, out of flight.
local function land(q, t, sequences, deliveries)
  local landed = {}
  for i, delivery in ipairs(deliveries) do
    if redis.call('ZREM', q.inflight, sequences[i]) == 1 then landed[#landed + 1] = delivery end
  end
  let_go(q, t, landed)
end

-- Forgets old processing times. Returns when to come again, nil: nothing to wait for.
local function forget_busy(q, t)
  if not q.fair then return nil end
  local due = turn_over(q, t)
  return redis.call('EXISTS', q.key .. ':busy', q.key .. ':busy_before') > 0 and due or nil
end
