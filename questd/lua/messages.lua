-- Messages of a standard queue: sent, received, deleted, hidden and shown again.

local IN_FLIGHT_LIMIT = 120000 -- AWS's, contract 5.6
local TWELVE_HOURS_MS = 43200000
local PROMOTE_LIMIT = 100 -- what one receive does of the background task's work
local TOGETHER = 10 -- entries of `visible` that a receive takes at once
local WORK_LIMIT = 500 -- what one receive does in vain: a dead entry is 1, a dead letter 40 and more

-- A receipt handle: incarnation, sequence, receive count, received ms, and a MAC that proves it: any handle ever given
-- is known again, and nothing is stored for it.
local function mac_of(q, text)
  return string.sub(redis.sha1hex(q.secret .. redis.sha1hex(q.secret .. text)), 1, 20)
end

local function handle_of(q, sequence, count, received_ms)
  local text = string.format('%s-%d-%d-%d', q.incarnation, sequence, count, received_ms)
  return text .. '-' .. mac_of(q, text)
end

-- The reverse: sequence, count, received_ms; or nil and the name of what is wrong with the handle.
local function parts_of_handle(q, handle)
  local text, incarnation, sequence, count, received_ms, mac =
    string.match(handle, '^((%x+)%-(%d+)%-(%d+)%-(%d+))%-(%x+)$')
  if not text then return nil, 'ReceiptHandleIsInvalid' end
  if incarnation ~= q.incarnation then return nil, 'ReceiptHandleOfAnotherQueue' end
  if mac ~= mac_of(q, text) then return nil, 'ReceiptHandleIsInvalid' end
  return sequence, tonumber(count), tonumber(received_ms)
end

-- What `handles` speak of: a list of {sequence, latest, delivery}, or {error = name}. `latest` says that nobody
-- received the message later; `delivery` is false when the message is gone.
local function spoken_of(q, handles)
  local entries, sequences = {}, {}
  for i, handle in ipairs(handles) do
    local sequence, count, received_ms = parts_of_handle(q, handle)
    entries[i] = sequence and {sequence = sequence, count = count, received_ms = received_ms} or {error = count}
    sequences[i] = sequence or 0
  end
  if #entries == 0 then return entries end
  local deliveries = redis.call('HMGET', q.key .. ':deliveries', unpack(sequences))
  for i, entry in ipairs(entries) do
    entry.delivery = deliveries[i]
    if entry.delivery and not entry.error then
      local count, _, received_ms = parts_of_delivery(entry.delivery)
      entry.latest = count == entry.count and received_ms == entry.received_ms
    end
  end
  return entries
end

local function is_hidden(queue, sequence, t)
  local until_ms = redis.call('ZSCORE', queue .. ':inflight', sequence)
  return until_ms and tonumber(until_ms) > t
end

-- Gives messages that were received before their entry in `visible` back, and notes those that have no tries left.
-- `shown` is a list of {sequence, delivery}.
local function show(q, t, shown)
  local entries, deliveries, exhausted = {}, {}, {}
  for _, message in ipairs(shown) do
    local sequence, delivery = message[1], message[2]
    local count, first_ms, received_ms, queued = parts_of_delivery(delivery)
    if queued == 0 then
      entries[#entries + 1] = sequence
      deliveries[#deliveries + 1] = sequence
      deliveries[#deliveries + 1] = delivery_of(count, first_ms, received_ms, 1)
    end
    if is_exhausted(q, count) then exhausted[#exhausted + 1] = sequence end
  end
  if #entries > 0 then
    redis.call('HSET', q.key .. ':deliveries', unpack(deliveries))
    redis.call('RPUSH', q.key .. ':visible', unpack(entries))
    wake(q.key)
  end
  note_poison(q, t, exhausted)
end

-- Makes visible what has timed out or is no longer delayed, at most `limit` of each.
local function promote(q, t, limit)
  local queue = q.key
  local due = redis.call('ZRANGE', queue .. ':inflight', '-inf', t, 'BYSCORE', 'LIMIT', 0, limit)
  if #due > 0 then
    local shown = {}
    for i, delivery in ipairs(redis.call('HMGET', queue .. ':deliveries', unpack(due))) do
      if delivery then shown[#shown + 1] = {due[i], delivery} end
    end
    redis.call('ZREM', queue .. ':inflight', unpack(due))
    show(q, t, shown)
  end
  local ready = redis.call('ZRANGE', queue .. ':delayed', '-inf', t, 'BYSCORE', 'LIMIT', 0, limit)
  if #ready > 0 then
    redis.call('ZREM', queue .. ':delayed', unpack(ready))
    redis.call('RPUSH', queue .. ':visible', unpack(ready))
    wake(queue)
  end
end

-- The earliest time anything of the queue falls due, but for retention; nil when nothing does.
local function next_due(queue, poison_after_ms)
  local earliest = nil
  for _, key in ipairs({':inflight', ':delayed', ':poison'}) do
    local due = tonumber(redis.call('ZRANGE', queue .. key, 0, 0, 'WITHSCORES')[2])
    if due and key == ':poison' then due = poison_after_ms ~= 'never' and due + poison_after_ms or nil end
    if due and (not earliest or due < earliest) then earliest = due end
  end
  return earliest
end

-- Drops the dead entries at the head of `visible`, at most `limit`; without messages it drops them all at once, which
-- is no work. Returns how many.
local function drop_dead(queue, limit)
  if redis.call('HLEN', queue .. ':messages') == 0 then
    redis.call('UNLINK', queue .. ':visible')
    return 0
  end
  local dead = 0
  for _, sequence in ipairs(redis.call('LRANGE', queue .. ':visible', 0, limit - 1)) do
    if redis.call('HEXISTS', queue .. ':messages', sequence) == 1 then break end
    dead = dead + 1
  end
  if dead > 0 then redis.call('LTRIM', queue .. ':visible', dead, -1) end
  return dead
end

-- Stores new messages: `entries` from `first` on are MessageId, delay in ms ('' for the queue's), head and body of each.
-- Returns the sequence of the last one.
local function send(q, t, entries, first)
  local queue = q.key
  local count = (#entries - first + 1) / 4
  if count == 0 then return q.sequence end
  local last = redis.call('HINCRBY', queue, 'sequence', count)
  local records, visible, delayed, due = {}, {}, {}, t + q.retention_ms
  for i = 1, count do
    local id, delay_ms, head, body = unpack(entries, first + 4 * i - 4, first + 4 * i - 1)
    local sequence = last - count + i
    records[2 * i - 1], records[2 * i] = sequence, record_of(t, id, head, body)
    local ready_ms = t + (tonumber(delay_ms) or q.delay_ms)
    if ready_ms > t then
      delayed[#delayed + 1] = ready_ms
      delayed[#delayed + 1] = sequence
      due = math.min(due, ready_ms)
    else
      visible[#visible + 1] = sequence
    end
  end
  redis.call('HSET', queue .. ':messages', unpack(records))
  if #delayed > 0 then redis.call('ZADD', queue .. ':delayed', unpack(delayed)) end
  lower_alarm(q, t, due)
  if #visible > 0 then
    redis.call('RPUSH', queue .. ':visible', unpack(visible))
    wake(queue)
  end
  return last
end

-- Takes entries off `visible` until it has found `max` messages to hand out. Returns a list of {sequence, record, receive
-- count so far, first ms or nil}, and whether it stopped for its work limit with entries left to look at.
local function take(q, t, max)
  local queue, taken, work = q.key, {}, 0
  while #taken < max and work < WORK_LIMIT do
    local sequences = redis.call('LPOP', queue .. ':visible', math.min(max - #taken, TOGETHER))
    if not sequences then return taken, false end
    local records = redis.call('HMGET', queue .. ':messages', unpack(sequences))
    local deliveries = redis.call('HMGET', queue .. ':deliveries', unpack(sequences))
    local dead = 0
    for i, sequence in ipairs(sequences) do
      local record, delivery, count, first_ms, received_ms = records[i], deliveries[i], 0, nil, nil
      if delivery then count, first_ms, received_ms = parts_of_delivery(delivery) end
      if not record then
        dead = dead + 1
      elseif delivery and is_hidden(queue, sequence, t) then
        redis.call('HSET', queue .. ':deliveries', sequence, delivery_of(count, first_ms, received_ms, 0))
        work = work + 10
      elseif sent_ms_of(record) + q.retention_ms <= t then
        remove(queue, {sequence})
        work = work + 10
      elseif is_exhausted(q, count) and dead_letter(q, t, sequence, record, delivery) then
        work = work + 40 + #record * WORK_LIMIT / BYTES_LIMIT
      else
        taken[#taken + 1] = {sequence, record, count, first_ms}
      end
    end
    work = work + dead
    if dead == #sequences then work = work + drop_dead(queue, WORK_LIMIT) end
  end
  return taken, #taken < max
end

-- Hands out up to `max` visible messages and hides them for `visibility_ms`. Returns a list of {sequence, record, receive
-- count, first_ms}, and whether there may be more although it gave fewer.
local function receive(q, t, max, visibility_ms)
  if q.alarm and q.alarm <= t then promote(q, t, math.max(max, PROMOTE_LIMIT)) end
  local given, more = take(q, t, max)
  if #given == 0 then return given, more end
  local deliveries, hidden, again, exhausted = {}, {}, {}, {}
  for i, message in ipairs(given) do
    local sequence, count = message[1], message[3] + 1
    message[3], message[4] = count, message[4] or t
    deliveries[2 * i - 1] = sequence
    deliveries[2 * i] = delivery_of(count, message[4], t, visibility_ms == 0 and 1 or 0)
    hidden[2 * i - 1], hidden[2 * i] = t + visibility_ms, sequence
    again[i] = sequence
    if is_exhausted(q, count) then exhausted[#exhausted + 1] = sequence end
  end
  redis.call('HSET', q.key .. ':deliveries', unpack(deliveries))
  if visibility_ms > 0 then
    redis.call('ZADD', q.key .. ':inflight', unpack(hidden))
    lower_alarm(q, t, t + visibility_ms)
  else
    redis.call('RPUSH', q.key .. ':visible', unpack(again)) -- only now, or one call would give a message twice
    note_poison(q, t, exhausted)
  end
  return given, more
end

-- quest_send: put messages into a queue.
-- KEYS  the queue
-- ARGV  version, then MessageId (16 bytes), delay in ms ('' for the queue's), head, body of each
-- Reply sequence of the last one; or 'facts'
-- Fails QueueDoesNotExist
register('quest_send', {}, function(keys, args)
  local queue, version = keys[1], args[1]
  local q = open(queue)
  if q.version ~= version then return facts(queue) end
  reach(queue)
  return {send(q, now(), args, 2)}
end)

-- quest_receive: hand out visible messages.
-- KEYS  the queue
-- ARGV  version, how many at most, visibility timeout in ms ('' for the queue's), the server time after which nobody
--       wants them any more ('' for none), then for a long poll: process, ms that this receive waits when it gets
--       nothing (0: it does not), ms that others of this process wait
-- Reply server time, 1 when there is more to look at, then handle, record, receive count, first ms of each; or 'facts'
-- Fails QueueDoesNotExist, TooManyInFlight
register('quest_receive', {'allow-oom'}, function(keys, args)
  local queue, version, max, visibility_ms, not_after = keys[1], args[1], tonumber(args[2]), tonumber(args[3]), args[4]
  local process, wait_ms, others_ms = args[5], tonumber(args[6]), tonumber(args[7])
  local q = open(queue)
  if q.version ~= version then return facts(queue) end
  local server_ms = server_time()
  local t = at(server_ms)
  if not_after ~= '' and server_ms > tonumber(not_after) then return {server_ms, 1} end
  reach(queue)

  local given, more = {}, false
  if redis.call('ZCARD', queue .. ':inflight') < IN_FLIGHT_LIMIT
    or redis.call('ZCOUNT', queue .. ':inflight', string.format('(%d', t), '+inf') < IN_FLIGHT_LIMIT then
    given, more = receive(q, t, max, visibility_ms or q.visibility_ms)
  elseif wait_ms == 0 then
    fail('TooManyInFlight')
  end
  local stays_ms = #given > 0 and others_ms or math.max(wait_ms, others_ms)
  if stays_ms > 0 and not more then wait(queue, process, stays_ms) end
  if #given > 0 then hand_on(queue) end -- after wait: the next one to wake may be of this process
  local reply = {server_ms, more and 1 or 0}
  for _, message in ipairs(given) do
    local sequence, record, count, first_ms = unpack(message)
    local size = #reply
    reply[size + 1], reply[size + 2] = handle_of(q, sequence, count, t), record
    reply[size + 3], reply[size + 4] = count, first_ms
  end
  return reply
end)

-- quest_delete: forget messages their consumer has finished with. Only the latest handle of a message deletes it, timed
-- out or not; an older one does nothing (contract 2.11).
-- KEYS  the queue
-- ARGV  version, handles
-- Reply for each handle 'OK', also when its message was gone already, or the name of an error; or 'facts'
-- Fails QueueDoesNotExist
register('quest_delete', {'allow-oom'}, function(keys, args)
  local queue, version, handles = keys[1], args[1], {unpack(args, 2)}
  local q = open(queue)
  if q.version ~= version then return facts(queue) end
  reach(queue)

  local reply, gone = {}, {}
  for i, entry in ipairs(spoken_of(q, handles)) do
    reply[i] = entry.error or 'OK'
    if entry.latest then gone[#gone + 1] = entry.sequence end
  end
  if #gone > 0 then
    local full = redis.call('ZCARD', queue .. ':inflight') >= IN_FLIGHT_LIMIT
    remove(queue, gone)
    if full then hand_on(queue) end
  end
  return reply
end)

-- What became of one change of visibility: 'OK' or the name of an error. The messages to show are added to `shown`.
local function change_visibility(q, t, entry, timeout_ms, shown)
  if entry.error then return entry.error end
  if not entry.delivery then return 'MessageNotAvailable' end
  local _, _, received_ms = parts_of_delivery(entry.delivery)
  if t + timeout_ms > received_ms + TWELVE_HOURS_MS then return 'TotalVisibilityTimeoutBeyondLimit' end
  if timeout_ms > 0 then
    redis.call('ZADD', q.key .. ':inflight', t + timeout_ms, entry.sequence)
    lower_alarm(q, t, t + timeout_ms)
  else
    redis.call('ZREM', q.key .. ':inflight', entry.sequence)
    shown[#shown + 1] = {entry.sequence, entry.delivery}
  end
  return 'OK'
end

-- quest_change_visibility: hide messages for another time from now on, or show them at once. Any handle ever given for
-- a living message will do (contract 2.13).
-- KEYS  the queue
-- ARGV  version, then handle and timeout in ms of each
-- Reply for each handle 'OK' or the name of an error; or 'facts'
-- Fails QueueDoesNotExist
register('quest_change_visibility', {'allow-oom'}, function(keys, args)
  local queue, version = keys[1], args[1]
  local q = open(queue)
  if q.version ~= version then return facts(queue) end
  local t = now()
  local handles, reply = {}, {}
  for i = 2, #args, 2 do handles[#handles + 1] = args[i] end
  reach(queue)

  for i, entry in ipairs(spoken_of(q, handles)) do
    local shown = {}
    reply[i] = change_visibility(q, t, entry, tonumber(args[2 * i + 1]), shown)
    if shown[1] then
      -- A message named twice in a batch: its delivery as it is by now.
      shown[1][2] = redis.call('HGET', queue .. ':deliveries', entry.sequence)
      show(q, t, shown)
    end
  end
  return reply
end)

-- quest_give_back: undo a receive whose client had gone: the message is at the head again, with one receive less.
-- KEYS  the queue
-- ARGV  handles
-- Reply how many were given back
-- Fails QueueDoesNotExist
register('quest_give_back', {'allow-oom'}, function(keys, handles)
  local queue = keys[1]
  local q = open(queue)
  reach(queue)

  local back = 0
  for _, entry in ipairs(spoken_of(q, handles)) do
    if entry.latest then
      local count, first_ms, received_ms, queued = parts_of_delivery(entry.delivery)
      if count == 1 then
        redis.call('HDEL', queue .. ':deliveries', entry.sequence)
      else
        redis.call('HSET', queue .. ':deliveries', entry.sequence, delivery_of(count - 1, first_ms, received_ms, 1))
      end
      redis.call('ZREM', queue .. ':inflight', entry.sequence)
      if queued == 0 then redis.call('LPUSH', queue .. ':visible', entry.sequence) end
      back = back + 1
    end
  end
  if back > 0 then wake(queue) end
  return back
end)
