-- The background task's part: what falls due in a queue, and who does the task. It makes things prompt: receives are
-- right without it. Ticks are idempotent, so two processes doing them do no harm.

local TICK_LIMIT = 250 -- of each kind of transition a tick: a few ms of Redis in all
local MOVE_LIMIT = 10 -- dead letters a tick, and messages of a move task
local GROUPED_LIMIT = 125 -- the same where each has a group to be looked at
local ABANDON_LIMIT = 500 -- lists of groups that one tick unlinks
local RELAY_MS = 1000 -- between two looks at an outbox that is not empty
local REST_MS = 50 -- between two ticks that only step over sequences of messages long gone

-- The lowest sequence of a queue of few messages.
local function lowest(q)
  local first = math.huge
  for _, sequence in ipairs(redis.call('HKEYS', q.messages)) do
    first = math.min(first, tonumber(sequence))
  end
  return first
end

-- Forgets messages past their retention period. Sequence order is send order, so it starts at `oldest` and stops at
-- the first message that may live on; messages sent before they came here are in `arrived`.
-- Returns when to come again (nil: nothing to wait for).
local function expire(q, t, limit)
  local queue = q.key
  local length, last = redis.call('HLEN', q.messages), last_sequence(queue)
  local oldest = tonumber(redis.call('HGET', queue, 'oldest'))
  if length == 0 then
    oldest = last + 1
  elseif length <= SPARSE and last - oldest > 4 * SPARSE then
    oldest = lowest(q)
  end
  local steps, bytes, due, gone = 0, 0, nil, {}
  while oldest <= last and not due do
    if steps == limit or bytes >= BYTES_LIMIT then
      due = #gone > 0 and t or t + REST_MS
    else
      local record = redis.call('HGET', q.messages, oldest)
      if record then
        local ends_ms = sent_ms_of(record) + q.retention_ms
        if ends_ms > t then due = ends_ms else gone[#gone + 1] = oldest end
        bytes = bytes + #record
      end
      if not due then oldest = oldest + 1 end
      steps = steps + 1
    end
  end
  redis.call('HSET', queue, 'oldest', oldest)
  if #gone > 0 then refresh_all(q, t, remove(q, t, gone)) end
  local early = redis.call('ZRANGE', q.arrived, '-inf', t - q.retention_ms, 'BYSCORE', 'LIMIT', 0, limit)
  if #early > 0 then remove(q, t, early) end
  local arrived_ms = tonumber(redis.call('ZRANGE', q.arrived, 0, 0, 'WITHSCORES')[2])
  if arrived_ms then due = math.min(due or math.huge, arrived_ms + q.retention_ms) end
  if #gone + #early > 0 then drop_dead_heads(q, limit) end
  return due
end

-- quest_tick: do what is due in a queue, as much as one call may.
-- KEYS  the queue
-- ARGV  ms that an exhausted message stays before it is dead-lettered, or 'never'
-- Reply ms until the next tick (-1: no need), how many messages wait to move to another slot
-- Fails QueueDoesNotExist, unless a deleted queue of this name left something to be unlinked or handed on
register('quest_tick', {'allow-oom'}, {either('never', MS)}, function(keys, args)
  local queue, poison_after_ms = keys[1], args[1]
  reach(queue)
  local q = redis.call('EXISTS', queue) == 1 and open(queue)
  local t = now()
  local due = {}
  local more_abandoned = unlink_abandoned(queue, ABANDON_LIMIT)
  if more_abandoned then due[1] = t elseif more_abandoned == false then strike_remains(queue) end
  if not q then
    local leaving_count = redis.call('LLEN', queue .. ':outbox')
    if due[1] then return {0, leaving_count} end
    if leaving_count > 0 then return {RELAY_MS, leaving_count} end
    fail('QueueDoesNotExist')
  end
  local limit = (q.fifo or q.fair) and GROUPED_LIMIT or TICK_LIMIT

  promote(q, t, limit)
  move_poison(q, t, poison_after_ms, MOVE_LIMIT)
  due[#due + 1] = go_on_moving(q, t, MOVE_LIMIT)
  due[#due + 1] = forget_windows(q, t)
  due[#due + 1] = forget_busy(q, t)
  due[#due + 1] = expire(q, t, limit)
  due[#due + 1] = next_due(q, poison_after_ms)
  local leaving_count = redis.call('LLEN', queue .. ':outbox')
  if leaving_count > 0 then due[#due + 1] = t + RELAY_MS end
  if #due == 0 then
    redis.call('HSET', queue, 'alarm', '')
    return {-1, leaving_count}
  end
  local alarm = math.min(unpack(due))
  redis.call('HSET', queue, 'alarm', alarm)
  return {math.max(alarm - t, 0), leaving_count}
end)

-- quest_alarm: when a queue wants its next tick.
-- KEYS  the queue
-- Reply ms until then, -1 for never or no queue
register('quest_alarm', {'no-writes'}, {}, function(keys)
  local queue = keys[1]
  local alarm = tonumber(redis.call('HGET', queue, 'alarm'))
  if redis.call('EXISTS', queue .. ':purged') == 1 then return 0 end
  if not alarm and redis.call('EXISTS', queue .. ':outbox') == 1 then return 0 end
  return alarm and math.max(alarm - now(), 0) or -1
end)

-- Who does the task at the time `t`, nil for nobody.
local function holder_of(lease, t)
  local holder, until_ms = string.match(redis.call('GET', lease) or '', '^(%S+) (%d+)$')
  return holder and tonumber(until_ms) > t and holder or nil
end

-- quest_lease: take or keep the background task for a while; 0 ms gives it up.
-- KEYS  quest:lease
-- ARGV  process, ms
-- Reply 1 when the process has it now
register('quest_lease', {'allow-oom'}, {like('^%S+$', 'a process'), MS}, function(keys, args)
  local lease, process, lease_ms = keys[1], args[1], args[2]
  if not string.match(lease, '^quest:lease') then fail('ERR the key is to be quest:lease') end
  local t = server_time()
  local holder = holder_of(lease, t)
  if holder and holder ~= process then return 0 end
  if lease_ms == 0 then
    redis.call('DEL', lease)
    return 0
  end
  -- Its time is the rule; PX only tidies up.
  redis.call('SET', lease, string.format('%s %d', process, t + lease_ms), 'PX', 60000)
  return 1
end)

-- quest_holder: which process does the background task.
-- KEYS  quest:lease
-- Reply the process, '' for none
register('quest_holder', {'no-writes'}, {}, function(keys)
  local lease = keys[1]
  return holder_of(lease, server_time()) or ''
end)

-- quest_version: of this library and of the layout of its keys.
-- KEYS  none
-- Reply library, layout
register('quest_version', {'no-writes'}, {keys = 0}, function() return {VERSION, LAYOUT} end)
