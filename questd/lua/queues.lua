-- Queues: made, described, changed, paused, emptied, deleted.

local MESSAGE_SIZE = 1048576

-- What a queue has when nobody says otherwise (AWS's defaults, contract 3.1).
local DEFAULTS = {
  'DelaySeconds', 0, 'KmsDataKeyReusePeriodSeconds', 300, 'MaximumMessageSize', MESSAGE_SIZE,
  'MessageRetentionPeriod', 345600, 'ReceiveMessageWaitTimeSeconds', 0, 'SqsManagedSseEnabled', 'true',
  'VisibilityTimeout', 30,
}

local FIFO_DEFAULTS = {
  'ContentBasedDeduplication', 'false', 'DeduplicationScope', 'queue', 'FifoThroughputLimit', 'perQueue',
}

-- Fields that are parts of an attribute, and which: for the error that names an attribute.
local ATTRIBUTE = {deadLetterTarget = 'RedrivePolicy', maxReceiveCount = 'RedrivePolicy'}

-- What fields may be: those that a queue keeps for itself are nobody's to set, and any other is a text.
local SECONDS = {what = 'a number of seconds', read = function(text)
  local number = tonumber(text)
  return number and number >= 0 and number <= LATEST_MS / 10000 and number
end}
local FIELDS = {
  DelaySeconds = SECONDS, VisibilityTimeout = SECONDS, MessageRetentionPeriod = SECONDS,
  ReceiveMessageWaitTimeSeconds = SECONDS, KmsDataKeyReusePeriodSeconds = SECONDS, MaximumMessageSize = NUMBER,
  maxReceiveCount = either('', whole(1, 1000)), deadLetterTarget = either('', NAME), FifoQueue = either('', like('^true$', "'true'")),
}
local OWN = ' version alarm waits sequence layout created modified incarnation secret oldest transfer purged_ms purges '
  .. 'redrive_stopped scope turn fair busy_since target_unmade paused dead_lettered '

-- Fails unless `fields`, from `first` on names and values, are what a queue may be given.
local function check_fields(fields, first)
  for i = first, #fields, 2 do
    local name, kind = fields[i], FIELDS[fields[i]]
    if string.find(OWN, ' ' .. name .. ' ', 1, true) then fail('ERR ' .. name .. " is the queue's own") end
    if kind and not kind.read(fields[i + 1]) then fail(string.format('ERR %s must be %s', name, kind.what)) end
  end
end

-- The registry is in a slot of its own: in a Cluster these fail and questd keeps it with calls of its own.
local function enrol(queue) return type(redis.pcall('ZADD', 'quest:queues', 0, name_of(queue))) == 'number' end
local function strike(queue) redis.pcall('ZREM', 'quest:queues', name_of(queue)) end
local function leave_remains(queue) redis.pcall('ZADD', 'quest:remains', 0, name_of(queue)) end
local function strike_remains(queue) redis.pcall('ZREM', 'quest:remains', name_of(queue)) end

-- Makes a queue: `fields` are pairs of names and values, '' for none. Returns whether it could be registered.
local function create(queue, secret, t, fields)
  local incarnation = string.sub(redis.sha1hex('incarnation' .. secret), 1, 12)
  -- What every call needs comes first: Redis looks for the fields of a small hash one after the other.
  redis.call('HSET', queue, 'version', incarnation .. '.1', 'alarm', '', 'waits', '', 'sequence', 0, 'turn', 0, 'layout', LAYOUT,
    'created', t, 'modified', t, 'incarnation', incarnation, 'secret', secret, 'oldest', 1, unpack(DEFAULTS))
  for i = 1, #fields, 2 do
    if fields[i] == 'FifoQueue' then redis.call('HSET', queue, unpack(FIFO_DEFAULTS)) end
  end
  for i = 1, #fields, 2 do
    if fields[i + 1] ~= '' then redis.call('HSET', queue, fields[i], fields[i + 1]) end
  end
  local scope = redis.call('HGET', queue, 'DeduplicationScope')
  if scope then redis.call('HSET', queue, 'scope', scope) end -- a later change has no effect (contract 11.16)
  redis.call('UNLINK', queue .. ':deleted')
  -- After FLUSHALL nothing here knows who waits on a queue of this name: they hear of the new one, and ask it.
  redis.pcall('PUBLISH', 'quest:made', 'new ' .. queue)
  return enrol(queue)
end

-- Fails unless a queue has these fields, tags aside.
local function compare(queue, fields)
  for i = 1, #fields, 2 do
    if fields[i] ~= 'tags' and (redis.call('HGET', queue, fields[i]) or '') ~= fields[i + 1] then
      fail('QueueNameExists', ATTRIBUTE[fields[i]] or fields[i])
    end
  end
end

-- quest_compare: check that a queue has the values given.
-- KEYS  the queue
-- ARGV  name and value of each field
-- Reply 1
-- Fails QueueDoesNotExist, QueueNameExists attribute
register('quest_compare', {'no-writes'}, {each = {TEXT, TEXT}}, function(keys, args)
  local queue, fields = keys[1], args
  open(queue)
  compare(queue, fields)
  return 1
end)

-- Whether less than `wait_ms` have passed since a time, false for none. One to come is of a clock that has been put back.
local function is_too_soon(t, since_ms, wait_ms)
  return since_ms and t - since_ms >= 0 and t - since_ms < wait_ms
end

-- quest_create: make a queue; one that is there already must have the values given.
-- KEYS  the queue
-- ARGV  secret (random, hex), ms to wait after a queue of this name was deleted, MaximumMessageSize and
--       MessageRetentionPeriod of a new queue that has none among its fields, then name and value of each field
-- Reply 1 when it was made, 0 when it was there
-- Fails QueueNameExists attribute, QueueDeletedRecently
register('quest_create', {}, {TEXT, MS, NUMBER, SECONDS, each = {TEXT, TEXT}}, function(keys, args)
  local queue, secret, wait_ms, size, retention = keys[1], unpack(args, 1, 4)
  local fields = {unpack(args, 5)}
  if not NAME.read(name_of(queue) or '') or key_of(name_of(queue)) ~= queue then fail('ERR the key is to be quest:{name}') end
  check_fields(fields, 1)
  local t = now()
  if redis.call('EXISTS', queue) == 1 then
    open(queue)
    compare(queue, fields)
    return 0
  end
  if is_too_soon(t, redis.call('GET', queue .. ':deleted'), wait_ms) then fail('QueueDeletedRecently') end
  reach(queue)

  create(queue, secret, t, {'MaximumMessageSize', size, 'MessageRetentionPeriod', retention, unpack(fields)})
  return 1
end)

-- quest_target_made: the dead-letter queue of a list has been made, in another slot (quest_api.lua).
-- KEYS  the list's queue
-- Reply 1
-- Fails QueueDoesNotExist
register('quest_target_made', {'allow-oom'}, {}, function(keys)
  local queue = keys[1]
  open(queue)
  reach(queue)
  redis.call('HDEL', queue, 'target_unmade')
  return 1
end)

-- quest_attributes: everything a queue's hash holds, and its counts.
-- KEYS  the queue
-- Reply visible, in flight, delayed, {field, value, …}
-- Fails QueueDoesNotExist
register('quest_attributes', {'no-writes'}, {}, function(keys)
  local queue = keys[1]
  reach(queue) -- it reads several keys: in a half-moved slot some would look empty
  local fields = redis.call('HGETALL', queue)
  if #fields == 0 then fail('QueueDoesNotExist') end
  local visible, inflight, delayed = counts_of(open(queue), now())
  return {visible, inflight, delayed, fields}
end)

-- quest_facts: what a process keeps of a queue.
-- KEYS  the queue
-- Reply 'facts', {field, value, …}
-- Fails QueueDoesNotExist
register('quest_facts', {'no-writes'}, {}, function(keys)
  local queue = keys[1]
  open(queue)
  return facts(queue)
end)

-- quest_set_attributes: change fields of a queue; an empty value takes the field away.
-- KEYS  the queue
-- ARGV  version, name and value of each field
-- Reply 1; or 'facts'
-- Fails QueueDoesNotExist
register('quest_set_attributes', {}, {TEXT, each = {TEXT, TEXT}}, function(keys, args)
  local queue, version = keys[1], args[1]
  local q = open(queue)
  if q.version ~= version then return facts(queue) end
  check_fields(args, 2)
  for i = 2, #args, 2 do
    if args[i] == 'FifoQueue' and args[i + 1] ~= (q.fifo and 'true' or '') then fail('ERR FifoQueue does not change') end
  end
  local t = now()
  reach(queue)

  renew(q)
  redis.call('HSET', queue, 'modified', t)
  for i = 2, #args, 2 do
    if args[i] == 'deadLetterTarget' then redis.call('HDEL', queue, 'redrive_stopped') end
    if args[i + 1] == '' then
      redis.call('HDEL', queue, args[i])
    else
      redis.call('HSET', queue, args[i], args[i + 1])
    end
  end
  lower_alarm(q, t, t) -- a shorter retention period may make messages due
  wake_all(q)
  return {1}
end)

-- quest_pause: let a queue hand nothing out, or hand out again. Messages come in, time out and move on as ever; receives
-- wait or get nothing.
-- KEYS  the queue
-- ARGV  1 to pause it, 0 to go on
-- Reply 1 when that changed something
-- Fails QueueDoesNotExist
register('quest_pause', {'allow-oom'}, {whole(0, 1)}, function(keys, args)
  local queue, paused = keys[1], args[1] == 1
  local q = open(queue)
  reach(queue)

  if q.paused == paused then return 0 end
  q.paused = paused
  renew(q) -- so that no other call has to look
  if paused then
    redis.call('HSET', queue, 'paused', 1)
  else
    redis.call('HDEL', queue, 'paused')
    wake_all(q)
  end
  return 1
end)

-- Drops every message and what is known of them; the queue, its transfers and who waits for it stay.
local function empty(q, t)
  local queue = q.key
  abandon(q, t)
  redis.call('UNLINK', q.messages, q.deliveries, q.visible, q.inflight, q.delayed, q.poison, q.arrived, q.windows,
    q.windows_before, queue .. ':held', queue .. ':busy', queue .. ':busy_before')
end

-- quest_purge: forget every message of a queue.
-- KEYS  the queue
-- ARGV  ms to wait between two purges
-- Reply 1
-- Fails QueueDoesNotExist, PurgeQueueInProgress and its bare name
register('quest_purge', {'allow-oom'}, {MS}, function(keys, args)
  local queue, wait_ms = keys[1], args[1]
  local q = open(queue)
  local t = now()
  if is_too_soon(t, redis.call('HGET', queue, 'purged_ms'), wait_ms) then
    fail('PurgeQueueInProgress', string.match(name_of(queue), '[^/]*$'))
  end
  reach(queue)

  empty(q, t)
  redis.call('HINCRBY', queue, 'purges', 1)
  redis.call('HSET', queue, 'purged_ms', t, 'oldest', last_sequence(queue) + 1)
  renew(q)
  return 1
end)

-- quest_delete_queue: forget a queue and its messages. Messages on their way to another slot still arrive there.
-- KEYS  the queue
-- Reply 1
-- Fails QueueDoesNotExist
register('quest_delete_queue', {'allow-oom'}, {}, function(keys)
  local queue = keys[1]
  local q = open(queue)
  local t = now()
  reach(queue)

  wake_all(q)
  empty(q, t)
  -- In a Cluster questd has noted that something may remain: the tick that finds nothing lets it forget that.
  if clustered or redis.call('EXISTS', queue .. ':outbox') == 1 then lower_alarm(q, t, t) end
  redis.call('UNLINK', queue, queue .. ':inbox', queue .. ':tasks')
  redis.call('SET', queue .. ':deleted', t, 'PX', 60000) -- its time is the rule; PX only tidies up
  if redis.call('EXISTS', queue .. ':purged') == 1 then leave_remains(queue) end
  strike(queue)
  return 1
end)
