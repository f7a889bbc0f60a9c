-- Move tasks: the background task moves a dead-letter queue's messages back to where they came from, or elsewhere, as
-- new messages. A queue has one running task at most; it is the newest of the few that are remembered, each a map:
-- id, destination ('' for each message's source), rate (a second, 0 for none), status, started_ms, to_move, moved, failure.

local TASKS = 10 -- that are remembered

local function task_of(packed) return packed and cmsgpack.unpack(packed) or nil end

local function newest_task(queue) return task_of(redis.call('LINDEX', queue .. ':tasks', 0)) end

local function keep_task(queue, task) redis.call('LSET', queue .. ':tasks', 0, cmsgpack.pack(task)) end

-- quest_start_move: begin to move a queue's messages.
-- KEYS  the source
-- ARGV  id of the task, name of the destination ('' for the source of each message), messages a second (0: no limit)
-- Reply 1
-- Fails QueueDoesNotExist, TaskIsRunning
register('quest_start_move', {}, {NAME, either('', NAME), NUMBER}, function(keys, args)
  local queue, id, destination, rate = keys[1], args[1], args[2], args[3]
  local q = open(queue)
  local t = now()
  local latest = newest_task(queue)
  if latest and latest.status == 'RUNNING' then fail('TaskIsRunning') end
  reach(queue)

  local to_move = counts_of(q, t)
  redis.call('LPUSH', queue .. ':tasks', cmsgpack.pack({
    id = id, destination = destination, rate = rate, status = 'RUNNING', started_ms = t, to_move = to_move, moved = 0,
    failure = '',
  }))
  redis.call('LTRIM', queue .. ':tasks', 0, TASKS - 1)
  lower_alarm(q, t, t)
  return 1
end)

-- quest_tasks: the move tasks of a queue, newest first.
-- KEYS  the source
-- Reply the map of each, packed
-- Fails QueueDoesNotExist
register('quest_tasks', {'no-writes'}, {}, function(keys)
  local queue = keys[1]
  open(queue)
  return redis.call('LRANGE', queue .. ':tasks', 0, -1)
end)

-- quest_cancel_move: end the running task.
-- KEYS  the source
-- ARGV  id of the task
-- Reply how many messages it moved
-- Fails QueueDoesNotExist, TaskDoesNotExist
register('quest_cancel_move', {'allow-oom'}, {TEXT}, function(keys, args)
  local queue, id = keys[1], args[1]
  open(queue)
  reach(queue)
  local task = newest_task(queue)
  if not task or task.id ~= id or task.status ~= 'RUNNING' then fail('TaskDoesNotExist') end
  task.status = 'CANCELLED'
  keep_task(queue, task)
  return task.moved
end)

-- The record of a message as a task moves it: a new message with another id, nothing of what it has been through.
local function renewed(q, t, task, record)
  local _, _, _, body = parts_of(record)
  local head = head_of(record)
  head.ReceiveCount, head.FirstReceive_ms, head.DeadLetterQueueSource, head.SentTimestamp = nil, nil, nil, nil
  local id = id_of(string.format('%s %s %d', q.secret, task.id, task.moved))
  return record_of(bytes_of_ms(t), id, next(head) and cmsgpack.pack(head) or '', body)
end

-- The next message to move, off the visible ones: {sequence, record, …, group}; or nil, and whether to look again.
local function next_visible(q, t)
  if not q.fifo then
    local taken, more = take(q, t, 1)
    return taken[1], more
  end
  local group = redis.call('ZRANGE', q.groups, 0, 0)[1]
  if not group then return nil, false end
  local taken = {}
  prefix(q, t, group, 1, 0, taken)
  if #taken == 0 then refresh(q, t, group) end
  return taken[1], true
end

-- Moves one message. Returns its size; or nil, and the status of the task.
local function move_one(q, t, task)
  local message, more = next_visible(q, t)
  if not message then return nil, more and 'RUNNING' or 'COMPLETED' end
  local sequence, record, _, _, group = unpack(message, 1, 5)
  local name = task.destination ~= '' and task.destination or head_of(record).DeadLetterQueueSource
  local target = name and target_of(q, name)
  if not name or target == 'gone' then
    if not q.fifo then enlist(q, {sequence}, {group or ''}, 'LPUSH') end
    return nil, 'FAILED', name and 'AWS.SimpleQueueService.NonExistentQueue' or 'CouldNotDetermineMessageSource'
  end
  local undo = undo_of(sequence, record, redis.call('HGET', q.deliveries, sequence), task.id)
  refresh_all(q, t, remove(q, t, {sequence}))
  pass_on(q, t, name, target, renewed(q, t, task, record), undo)
  return #record
end

-- Goes on with the running task, at most `limit` messages. Returns when to come again, nil: no task runs.
local function go_on_moving(q, t, limit)
  local task = newest_task(q.key)
  if not task or task.status ~= 'RUNNING' then return nil end
  local allowed = limit
  if task.rate > 0 then
    allowed = math.min(limit, math.floor((t - task.started_ms) * task.rate / 1000) + 1 - task.moved)
  end
  local bytes = 0
  while allowed > 0 and bytes < BYTES_LIMIT and task.status == 'RUNNING' do
    local size, status, failure = move_one(q, t, task)
    if size then
      task.moved, bytes, allowed = task.moved + 1, bytes + size, allowed - 1
      if task.moved == task.to_move then task.status = 'COMPLETED' end
    else
      task.status, task.failure, allowed = status, failure or '', 0
    end
  end
  keep_task(q.key, task)
  if task.status ~= 'RUNNING' then return nil end
  if task.rate == 0 then return t end
  return task.started_ms + math.ceil(task.moved * 1000 / task.rate)
end

-- The record of a message as it was before it left, and its group.
local function old_record(undo, record)
  local _, _, _, body = parts_of(record)
  local head = head_of(record)
  for _, name in ipairs(CHANGING) do head[name] = undo[name] end
  local packed = next(head) and cmsgpack.pack(head) or ''
  return record_of(bytes_of_ms(undo.sent_ms), undo.id, packed, body), head.MessageGroupId or ''
end

-- Puts a message that had left back into its old place.
local function restore(q, t, undo, left)
  local record, group = old_record(undo, left)
  local queue, sequence = q.key, undo.sequence
  redis.call('HSET', q.messages, sequence, record)
  if undo.delivery then
    local count, first_ms, received_ms = parts_of_delivery(undo.delivery)
    redis.call('HSET', q.deliveries, sequence, delivery_of(count, first_ms, received_ms, q.fifo and 0 or 1, group))
  end
  redis.call('HSET', queue, 'oldest', math.min(tonumber(redis.call('HGET', queue, 'oldest')), tonumber(sequence)))
  lower_alarm(q, t, undo.sent_ms + q.retention_ms)
  if q.fifo then
    put_first(q, group, sequence)
    refresh(q, t, group, nil, sequence)
  else
    redis.call('ZADD', q.arrived, undo.sent_ms, sequence)
    enlist(q, {sequence}, {group}, 'LPUSH')
    local count = undo.delivery and parts_of_delivery(undo.delivery) or 0
    if is_exhausted(q, count) then note_poison(q, t, {sequence}) end
    wake(q)
  end
end

-- The task that moved a message has failed with it.
local function fail_task(queue, id)
  local task = newest_task(queue)
  if not task or task.id ~= id then return end
  task.moved, task.failure = task.moved - 1, 'AWS.SimpleQueueService.NonExistentQueue'
  if task.status ~= 'CANCELLED' then task.status = 'FAILED' end
  keep_task(queue, task)
end

-- quest_take_back: the target is gone: its messages are here again as if they had never left, and redrive stops until the
-- policy changes.
-- KEYS  the source
-- ARGV  name of the target
-- Reply how many came back; there may be more when it is not 0
-- Fails QueueDoesNotExist
register('quest_take_back', {'allow-oom'}, {TEXT}, function(keys, args)
  local queue, target = keys[1], args[1]
  local q = open(queue)
  local t = now()
  local items, bytes = {}, 0
  each_leaving(queue, function(item)
    if select(3, parts_of_item(item)) == target then
      items[#items + 1] = item
      bytes = bytes + #item
    end
    return #items == BACK_LIMIT or bytes >= BYTES_LIMIT
  end)
  reach(queue)

  if q.target == target then
    redis.call('HSET', queue, 'redrive_stopped', 1)
    renew(q)
    q.target = false
  end
  for i = #items, 1, -1 do -- each goes in front of the one that left after it
    local _, incarnation, _, undo, record = parts_of_item(items[i])
    undo = cmsgpack.unpack(undo)
    redis.call('LREM', queue .. ':outbox', 1, items[i])
    if incarnation == q.incarnation then
      restore(q, t, undo, record)
    else -- the queue has been made anew since: there is no old place
      arrive(q, t, (old_record(undo, record)))
    end
    if undo.task then fail_task(queue, undo.task) end
  end
  return #items
end)
