-- Dead letters: an exhausted message (received maxReceiveCount times in this queue) moves to the queue's target.
-- Where both live in one Redis the move is one step. In a Cluster they may be in two slots, and it is three: *out* to
-- the source's outbox, *in* on the target, *ack* on the source. Moves are numbered, a number is never used again
-- (at least the time in ms), and the target takes only numbers above the last one of a source: a repeated *in* is
-- harmless, and order is kept. If the target is gone, quest_take_back makes each message again what it was.

local FEW = 10 -- items of an outbox that are read at once: each may be a megabyte
local BACK_LIMIT = 100 -- messages that one call takes back
local CHANGING = {'ReceiveCount', 'FirstReceive_ms', 'DeadLetterQueueSource', 'SentTimestamp'} -- of a head that leaves

-- Puts a message that comes from elsewhere at the back of a queue, or of its group. In a FIFO queue its retention period
-- begins anew (contract 7.5), no deduplication may swallow it, and one without a group is a group of its own.
local function arrive(q, t, record)
  local queue = q.key
  local sequence = redis.call('HINCRBY', queue, 'sequence', 1)
  local sent_ms, id, _, body = parts_of(record)
  local head = head_of(record)
  if q.fifo then
    head.SentTimestamp = head.SentTimestamp or sent_ms
    head.MessageDeduplicationId = uuid_of(id)
    head.MessageGroupId = head.MessageGroupId or uuid_of(id)
    sent_ms = t
    redis.call('HSET', q.messages, sequence, record_of(bytes_of_ms(t), id, cmsgpack.pack(head), body))
    join(q, t, {head.MessageGroupId}, {[head.MessageGroupId] = {sequence}})
  else
    redis.call('HSET', q.messages, sequence, record)
    enlist(q, {sequence}, {head.MessageGroupId or ''})
    redis.call('ZADD', q.arrived, sent_ms, sequence)
    wake(q)
  end
  lower_alarm(q, t, sent_ms + q.retention_ms)
end

-- The record of a message as it leaves: with what it has been through.
local function leaving(queue, record, delivery)
  local sent_ms, id, _, body = parts_of(record)
  local head = head_of(record)
  local count, first_ms = parts_of_delivery(delivery)
  head.ReceiveCount = (head.ReceiveCount or 0) + count
  head.FirstReceive_ms = head.FirstReceive_ms or first_ms
  head.DeadLetterQueueSource = name_of(queue)
  return record_of(bytes_of_ms(sent_ms), id, cmsgpack.pack(head), body)
end

-- Another queue, opened once a call: 'gone', or 'elsewhere' when it is in another slot.
local function target_of(q, name)
  q.targets = q.targets or {[name_of(q.key)] = q} -- one opened twice would not know that the other lowered the alarm
  if not q.targets[name] then
    local target = key_of(name)
    local found = redis.pcall('EXISTS', target) -- an error: another slot
    q.targets[name] = found == 1 and open(target) or found == 0 and 'gone' or 'elsewhere'
  end
  return q.targets[name]
end

-- What a message was here that its record does not say any more when it leaves; `task` is the move task that moves it.
local function undo_of(sequence, record, delivery, task)
  local sent_ms, id = parts_of(record)
  local undo = {sequence = sequence, sent_ms = sent_ms, id = id, delivery = delivery or nil, task = task}
  local head = head_of(record)
  for _, name in ipairs(CHANGING) do undo[name] = head[name] end
  return cmsgpack.pack(undo)
end

-- Hands a record to another queue: at once, or by the outbox when it is in another slot, with what undoes it.
local function pass_on(q, t, name, target, record, undo)
  if target ~= 'elsewhere' then
    arrive(target, t, record)
  else
    local number = math.max(tonumber(redis.call('HGET', q.key, 'transfer') or 0) + 1, server_time())
    redis.call('HSET', q.key, 'transfer', number)
    local item = string.format('%d %s %s ', number, q.incarnation, name) .. struct.pack('>I4', #undo) .. undo .. record
    redis.call('RPUSH', q.key .. ':outbox', item)
    lower_alarm(q, t, t)
  end
end

-- An item of an outbox: number, incarnation of the source, name of the target, what undoes it, record.
local function parts_of_item(item)
  local number, incarnation, target, start = string.match(item, '^(%d+) (%S+) (%S+) ()')
  local length, first = struct.unpack('>I4', item, start)
  return number, incarnation, target, string.sub(item, first, first + length - 1), string.sub(item, first + length)
end

-- Shows `see` each item of an outbox in order, until it returns true.
local function each_leaving(queue, see)
  local place = 0
  repeat
    local items = redis.call('LRANGE', queue .. ':outbox', place, place + FEW - 1)
    for _, item in ipairs(items) do
      if see(item) then return end
    end
    place = place + #items
  until #items < FEW
end

-- Moves a message to its dead-letter queue. False when that queue is gone: then the message stays where it is. Returns
-- the groups to be refreshed.
local function dead_letter(q, t, sequence, record, delivery)
  local target = target_of(q, q.target)
  if target == 'gone' then return false end
  local left, undo = leaving(q.key, record, delivery), undo_of(sequence, record, delivery)

  local groups = remove(q, t, {sequence}, {delivery})
  pass_on(q, t, q.target, target, left, undo)
  redis.call('HINCRBY', q.key, 'dead_lettered', 1)
  return groups
end

-- Whether a message could be dead-lettered now: visible, and the first of its group.
local function is_movable(q, t, sequence, delivery)
  local count, _, _, _, group = parts_of_delivery(delivery)
  return is_exhausted(q, count) and not is_hidden(q, sequence, t)
    and not (q.fifo and first_of(q, group) ~= sequence)
end

-- Moves what has been visible and exhausted for `after_ms` ('never': leave it to the next receive), at most
-- `limit` of them.
local function move_poison(q, t, after_ms, limit)
  local poison = q.poison
  if after_ms == 'never' or not q.target then
    redis.call('UNLINK', poison)
    return
  end
  local due = redis.call('ZRANGE', poison, '-inf', t - after_ms, 'BYSCORE', 'LIMIT', 0, limit)
  local bytes = 0
  for _, sequence in ipairs(due) do
    if bytes >= BYTES_LIMIT then return end
    redis.call('ZREM', poison, sequence)
    local delivery = redis.call('HGET', q.deliveries, sequence)
    if delivery and is_movable(q, t, sequence, delivery) then
      local record = redis.call('HGET', q.messages, sequence)
      refresh_all(q, t, dead_letter(q, t, sequence, record, delivery) or {})
      bytes = bytes + #record
    end
  end
end

-- quest_add_source: remember that a queue names this one as its dead-letter queue.
-- KEYS  the dead-letter queue
-- ARGV  name of the source
-- Reply 1
-- Fails QueueDoesNotExist
register('quest_add_source', {}, {NAME}, function(keys, args)
  local queue, source = keys[1], args[1]
  open(queue)
  reach(queue)
  redis.call('SADD', queue .. ':sources', source)
  return 1
end)

-- quest_outbox: the messages that wait to move to another slot, oldest first.
-- KEYS  the source
-- ARGV  how many at most, number after which to begin
-- Reply number, incarnation of the source, name of the target, record of each
register('quest_outbox', {'no-writes'}, {whole(1, 1000), NUMBER}, function(keys, args)
  local queue, limit, after = keys[1], args[1], args[2]
  local reply, bytes = {}, 0
  each_leaving(queue, function(item)
    if tonumber(string.match(item, '^%d+')) <= after then return false end
    local number, incarnation, target, _, record = parts_of_item(item)
    for _, part in ipairs({number, incarnation, target, record}) do reply[#reply + 1] = part end
    bytes = bytes + #record
    return #reply == 4 * limit or bytes >= BYTES_LIMIT
  end)
  return reply
end)

-- quest_arrive: take over messages from another slot, each once, however often it is offered.
-- KEYS  the target
-- ARGV  incarnation of the source, then number and record of each, in order
-- Reply number of the last one taken, now or before
-- Fails QueueDoesNotExist
register('quest_arrive', {}, {TEXT, each = {NUMBER, RECORD}}, function(keys, args)
  local queue, incarnation = keys[1], args[1]
  local q = open(queue)
  local t = now()
  local last = tonumber(redis.call('HGET', queue .. ':inbox', incarnation) or 0)
  reach(queue)

  for i = 2, #args, 2 do
    local number = args[i]
    if number > last then
      arrive(q, t, args[i + 1])
      last = number
    end
  end
  redis.call('HSET', queue .. ':inbox', incarnation, last)
  return last
end)

-- quest_ack: forget the messages that have arrived.
-- KEYS  the source
-- ARGV  number of the last one that arrived
-- Reply how many were forgotten
register('quest_ack', {'allow-oom'}, {NUMBER}, function(keys, args)
  local queue, last = keys[1], args[1]
  local arrived = 0
  each_leaving(queue, function(item)
    if tonumber(string.match(item, '^%d+')) > last then return true end
    arrived = arrived + 1
  end)
  reach(queue)
  if arrived > 0 then redis.call('LTRIM', queue .. ':outbox', arrived, -1) end
  return arrived
end)
