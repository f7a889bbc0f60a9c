#!lua name=quest
-- quest: the state of every queue, and every transition of a message. No HTTP, no JSON, no AWS texts in here.
--
-- A queue named `orders` lives in keys that share one hash tag, so every function touches one slot of a Redis Cluster.
-- Its functions get `quest:{orders}` as their key; `…` below stands for it.
--
--   quest:{q}       hash    attributes and tags under AWS's names; deadLetterTarget (a queue's name) and maxReceiveCount;
--                           created, modified (ms); version (incarnation and µs of the last change of these);
--                           incarnation, secret (what receipt handles are made of); sequence (of the last message);
--                           oldest (lowest sequence that may live); alarm (ms); transfer (number of the last move);
--                           purged_ms, purges (how many); redrive_stopped (the target was gone); dead_lettered (how
--                           many went there); paused (1: it hands nothing out); scope (of a FIFO queue's deduplication,
--                           as it was created); turn (of the last group); fair (it has groups); waits (`waiting` may
--                           have somebody); busy_since (ms); target_unmade (a list's dead-letter queue, in another
--                           slot); layout
--   …:messages      hash    sequence -> record: sent ms, MessageId, length of the head, head, body. Never changed
--   …:deliveries    hash    sequence -> receive count, first ms, received ms, mark, group: of messages once received, and
--                           of delayed ones in a FIFO queue. The mark: it has an entry in `visible` (FIFO: its visibility
--                           timeout was changed)
--   …:visible       list    visible messages, at most one entry each; entries of dead or hidden messages are skipped
--   …:inflight      zset    sequence -> ms when its visibility timeout ends
--   …:delayed       zset    sequence -> ms when its delay ends (FIFO: ms when it was sent; a new DelaySeconds counts at once)
--   …:groups        zset    FIFO: every group whose first message is visible -> its turn; fair: every group that has
--                           visible messages -> sequence of the first one
--   …:order         hash    FIFO: group -> every living message of it in order, in flight too, or the first ones (groups.lua)
--   …:group:<epoch>:<group> list  FIFO: those that follow; fair: as `visible`, of this group (fair.lua)
--   …:long          zset    FIFO: groups that have such a list
--   …:held          hash    fair: group -> how many in flight
--   …:busy, …:busy_before  hash  fair: group -> ms spent on its messages in this minute and the one before; '' -> on all
--   …:windows, …:windows_before  hash  digest -> until ms and what happened: sends and receives not to be repeated, of
--                           these five minutes and the ones before; '' -> their times (windows.lua)
--   …:poison        zset    exhausted and visible -> ms since when
--   …:arrived       zset    messages sent before they came here (dead letters) -> sent ms
--   …:outbox        list    messages leaving for another slot: "number incarnation target ", what undoes it, record
--   …:inbox         hash    incarnation of a source -> number of its last message taken
--   …:sources       set     names of queues that (once) named this one their dead-letter queue; outlives it, as they name
--                           whatever queue has its name
--   …:tasks         list    move tasks, newest first (tasks.lua)
--   …:waiting       zset    process -> ms until which it has long polls here
--   …:purged        list    epochs whose group lists are still to be unlinked, named in …:groups:<epoch>
--   …:deleted       string  ms when a queue of this name was deleted
--   quest:queues    zset    the names of all queues                                  } of no queue's slot:
--   quest:remains   zset    the names of deleted queues with something in `purged`   } a queue's function
--   quest:lease     string  "process ms": who does the background task, until when   } never needs them; of a primary
--                           of a Cluster quest:lease:{n}, in one of its slots
--
-- A message is visible, delayed or in flight. Its place among these follows from the clock, not from who looked last:
-- counts are HLEN(messages) minus what is in `inflight` and `delayed` with a time to come, right at every moment.
--   * A visible message has its entry in `visible`; one without is about to get it, because its time in `inflight` or
--     `delayed` has passed and the next receive or tick promotes it.
--   * The mark of a delivery says that the entry is there, so hiding and showing a message a thousand times makes one entry.
--   * Whoever makes the first message visible wakes one waiting process, and that one the next (longpoll.lua).
--   * `alarm` is never later than the earliest time anything of the queue falls due. Who lowers it says so on the
--     channel quest:alarm; the background task (background.lua) ticks the queue then. A receive promotes what is due
--     by itself, so the task makes things prompt and is never needed for them to be right.
--
-- Rules: one clock, read once a call. All checks, then the writes: nothing is rolled back. No rule relies on EXPIRE.
-- Numbers above 10^14 go through %d or straight to redis.call, never through tostring or `..`.

local VERSION = 3 -- of this library: a questd replaces an older one and leaves a newer one alone
local LAYOUT = 2 -- of the keys above, 1 was never released; who changes it makes `learn` bring an older queue up to it
local ENTRY = 6 -- arguments of each message that is sent: see quest_send
local WORK_LIMIT = 500 -- what one receive does in vain: a dead entry is 1, a dead letter 40 and more
local SPARSE = 1000 -- so few messages that looking at all of them is cheaper than stepping to the first
local BYTES_LIMIT = 1000000 -- of messages that one call moves or expires: more would block Redis for too long

-- What Lua and Redis offer, as locals: a global is looked for in two tables each time, which was a fortieth of every call.
-- Redis shows a library that loads nothing but `redis`, so the first call fetches them (arguments.lua).
local function offered() return redis, string, struct, math, ipairs, unpack, tonumber, pcall end
local redis, string, struct, math, ipairs, unpack, tonumber, pcall = redis, nil, nil, nil, nil, nil, nil, nil

-- A function of one value that keeps its last result. Calls come many in a ms: knowing what follows from it is 3 % of each.
local function lately(compute)
  local known_of, known_result = nil, nil
  return function(value)
    if value ~= known_of then known_of, known_result = value, compute(value) end
    return known_result
  end
end

local slots

do
  local ZEROS, most = {}, 0

  -- A table with room for so many values: one that grows to twenty is made anew five times, 1 % of a batch of ten.
  slots = function(count)
    if count == 2 then return {0, 0} elseif count == 1 then return {0} end
    if count > most then
      if count > 1000 then return {} end
      for i = most + 1, count do ZEROS[i] = 0 end
      most = count
    end
    return {unpack(ZEROS, 1, count)}
  end
end

local server_time

do
  local second, second_ms = nil, 0 -- the last one seen, which few calls find over

  -- The server's own clock in ms.
  server_time = function()
    local time = redis.call('TIME')
    if time[1] ~= second then second, second_ms = time[1], time[1] * 1000 end
    return second_ms + math.floor(time[2] / 1000)
  end
end

-- The clock of every rule, in ms, of a server time. In test mode clock.lua puts one here that can be moved.
local at = function(server_ms) return server_ms end

local function now() return at(server_time()) end

-- Ends the call with an error: the first word names a class in errors.py, the rest are its values.
local function fail(name, ...) error({failure = table.concat({name, ...}, ' ')}) end

local function key_of(name) return 'quest:{' .. name .. '}' end

local function name_of(queue) return string.match(queue, '{(.*)}') end

local known, known_count = {}, 0 -- what changes only with a queue's version, so that a call need not read it
local KNOWN_LIMIT = 2000 -- queues known at once; beyond it they are forgotten together

local function learn(queue, version)
  local field = redis.call('HMGET', queue, 'incarnation', 'secret', 'DelaySeconds', 'VisibilityTimeout',
    'MessageRetentionPeriod', 'deadLetterTarget', 'maxReceiveCount', 'redrive_stopped', 'FifoQueue', 'fair', 'purges',
    'paused', 'layout')
  if tonumber(field[13]) ~= LAYOUT then fail('OtherLayout', name_of(queue), field[13] or 'none', LAYOUT) end
  if known_count >= KNOWN_LIMIT then known, known_count = {}, 0 end
  if not known[queue] then known_count = known_count + 1 end
  local q = {
    key = queue, messages = queue .. ':messages', deliveries = queue .. ':deliveries', visible = queue .. ':visible',
    inflight = queue .. ':inflight', version = version, incarnation = field[1], secret = field[2],
    delay_ms = field[3] * 1000, visibility_ms = field[4] * 1000, retention_ms = field[5] * 1000,
    target = not field[8] and field[7] and field[6], max_receive_count = tonumber(field[7]), fifo = field[9] == 'true',
    fair = field[10] == '1', epoch = field[1] .. '.' .. (field[11] or '0'), paused = field[12] == '1',
    groups = queue .. ':groups', windows = queue .. ':windows', windows_before = queue .. ':windows_before',
    order = queue .. ':order', long = queue .. ':long', delayed = queue .. ':delayed', arrived = queue .. ':arrived',
    poison = queue .. ':poison', handle_start = field[1] .. '-', mac_secret = string.sub(field[2], 1, 28),
  }
  q.group_lists = queue .. ':group:' .. q.epoch .. ':'
  known[queue] = q
  return q
end

-- What the functions of messages need of a queue. `alarm` is nil when nothing is due; `target` is false when nothing is
-- redriven; `waits` says whether somebody may. With `known` a call takes a quarter fewer instructions than when it read
-- all of it.
local function open(queue)
  local field = redis.call('HMGET', queue, 'version', 'alarm', 'waits')
  local version = field[1]
  if not version then fail('QueueDoesNotExist') end
  local q = known[queue]
  if not q or q.version ~= version then q = learn(queue, version) end
  if field[2] ~= q.alarm_text then q.alarm_text, q.alarm_ms = field[2], tonumber(field[2]) end -- mostly as it was
  q.alarm, q.waits, q.targets = q.alarm_ms, field[3] == '1', nil
  return q
end

-- Makes everybody who knows a queue by its version learn it anew. The number is never used again, also when Redis has lost
-- its last second.
local function renew(q)
  local time = redis.call('TIME')
  local number = math.max(tonumber(string.match(q.version, '%.(%d+)$')) + 1, time[1] * 1000000 + time[2])
  redis.call('HSET', q.key, 'version', string.format('%s.%d', q.incarnation, number))
end

local function last_sequence(queue) return tonumber(redis.call('HGET', queue, 'sequence')) end

-- What a process keeps of a queue, for a call that came with another version: nothing was done.
local function facts(queue) return {'facts', redis.call('HGETALL', queue)} end

-- Fails when a queue would have more than `most` messages with `count` new ones; false: it may have any number.
local function check_room(q, count, most)
  if most and redis.call('HLEN', q.messages) + count > most then fail('QueueFull', string.format('%d', most)) end
end

local clustered = nil

-- In a Redis Cluster a slot may be half moved: one look at every key that a function may write makes it fail before
-- the first write, not between two. Costs nothing elsewhere.
local function reach(queue)
  if clustered == nil then
    local info = redis.pcall('INFO', 'server')
    clustered = type(info) ~= 'string' or string.find(info, '_mode:cluster', 1, true) ~= nil
  end
  if clustered then
    redis.call('EXISTS', queue, queue .. ':messages', queue .. ':deliveries', queue .. ':visible', queue .. ':inflight',
      queue .. ':delayed', queue .. ':poison', queue .. ':arrived', queue .. ':outbox', queue .. ':inbox',
      queue .. ':sources', queue .. ':waiting', queue .. ':deleted', queue .. ':groups', queue .. ':windows',
      queue .. ':windows_before', queue .. ':purged', queue .. ':tasks', queue .. ':held', queue .. ':busy', queue .. ':busy_before',
      queue .. ':order', queue .. ':long')
  end
end

-- Remembers that something of the queue falls due, and tells the background task when that is news.
local function lower_alarm(q, t, due)
  if q.alarm and q.alarm <= due then return end
  q.alarm = due
  redis.call('HSET', q.key, 'alarm', due)
  redis.pcall('PUBLISH', 'quest:alarm', string.format('%d %s', math.max(due - t, 0), q.key))
end

local bytes_of_ms = lately(function(ms) return struct.pack('>I6', ms) end)
local bytes_of_length = lately(function(length) return struct.pack('>I4', length) end)

-- A stored message: what it is made of (`sent` is the bytes of its ms, the id is 16 bytes), and back: sent_ms, id, head, body.
local function record_of(sent, id, head, body)
  return sent .. id .. bytes_of_length(#head) .. head .. body
end

local function parts_of(record)
  local sent_ms, id, length, start = struct.unpack('>I6c16I4', record)
  return sent_ms, id, string.sub(record, start, start + length - 1), string.sub(record, start + length)
end

local function sent_ms_of(record) return (struct.unpack('>I6', record)) end

-- What functions use of a head, and its type.
local HEAD = {
  MessageGroupId = 'string', DeadLetterQueueSource = 'string', ReceiveCount = 'number', FirstReceive_ms = 'number',
  SentTimestamp = 'number',
}

-- What is stored of a message beside its body: a map under AWS's names. A send takes its head as it comes: what is no
-- such map is none.
local function head_of(record)
  local length, start = struct.unpack('>I4', record, 23)
  if length == 0 then return {} end
  local ok, head = pcall(cmsgpack.unpack, string.sub(record, start, start + length - 1))
  if not ok or type(head) ~= 'table' then return {} end
  for name, kind in pairs(HEAD) do
    if head[name] ~= nil and type(head[name]) ~= kind then return {} end
  end
  return head
end

-- A MessageId as text.
local UUID = '%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x'

local function uuid_of(id) return string.format(UUID, string.byte(id, 1, 16)) end

-- A version 4 UUID, 16 bytes, that follows from a text.
local function id_of(text)
  local hex = redis.sha1hex(text)
  hex = string.sub(hex, 1, 12) .. '4' .. string.sub(hex, 14, 16) .. '8' .. string.sub(hex, 18, 32)
  local words = {}
  for i = 1, 4 do words[i] = tonumber(string.sub(hex, 8 * i - 7, 8 * i), 16) end
  return struct.pack('>I4I4I4I4', unpack(words))
end

-- A delivery: its receive count in this queue, when it was received first and last, its mark (0 or 1), its group.
local function delivery_of(count, first_ms, received_ms, mark, group)
  return struct.pack('>I4I6I6B', count, first_ms, received_ms, mark) .. group
end

-- The reverse: count, first_ms, received_ms, mark, group.
local function parts_of_delivery(delivery)
  local count, first_ms, received_ms, mark, start = struct.unpack('>I4I6I6B', delivery)
  return count, first_ms, received_ms, mark, string.sub(delivery, start)
end

local function group_of_delivery(delivery) return string.sub(delivery, 18) end

-- Whether a message that was received `count` times in this queue has no tries left.
local function is_exhausted(q, count) return q.target and count >= q.max_receive_count end

-- Notes that messages have become visible with nothing left to try: the background task moves them when they are due.
local function note_poison(q, t, sequences)
  local poison = {}
  for _, sequence in ipairs(sequences) do
    poison[#poison + 1] = t
    poison[#poison + 1] = sequence
  end
  if #poison == 0 then return end
  redis.call('ZADD', q.poison, unpack(poison))
  lower_alarm(q, t, t)
end
