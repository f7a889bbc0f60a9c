-- The three functions of Redis Quest, for redis-cli and any Redis client. They need no questd; their key is the list's
-- name. A list is a queue, made by the first sendMessage, with a dead-letter queue `<list>-dlq` after five tries.

local TRIES = 5
local MOST_GOT = 100 -- messages that one getMessage gives: a few ms of Redis
local ROUNDS = 4 -- receives that one getMessage may take before it says that there is nothing

-- The queue of a list and whether there is one; its name follows the rule for queue names (braces would change its slot).
local function queue_of(name)
  if not string.match(name, '^[%w_-]+$') or #name > 80 then
    fail('ERR a list name is 1 to 80 letters, digits, hyphens or underscores')
  end
  local queue = key_of(name)
  reach(queue) -- first: in a half-moved slot a queue may look as if it were not there
  return queue, redis.call('EXISTS', queue) == 1
end

-- `text` as ms; it is a number of seconds from 0 to `most`, fractions allowed.
local function ms_of(text, most, what)
  local seconds = tonumber(text)
  if not seconds or not (seconds >= 0 and seconds <= most) then
    fail(string.format('ERR %s must be a number of seconds from 0 to %d', what, most))
  end
  return math.floor(seconds * 1000)
end

-- 40 hex digits that nobody can guess: functions have no good source of chance, but the server's run id is secret.
local function secret_of(name)
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
  return redis.sha1hex(run_id .. name .. table.concat(redis.call('TIME'), '.'))
end

-- Makes the list's queue and its dead-letter queue. In a Cluster that one is in another slot, and so is the registry: the
-- background task hears of the new queue, makes the other and registers both.
local function create_list(name, t)
  local dead = name .. '-dlq'
  if #dead > 80 then fail('ERR a list name is at most 76 characters: its dead-letter queue is named <list>-dlq') end

  local found = redis.pcall('EXISTS', key_of(dead))
  if found == 0 then create(key_of(dead), secret_of(dead), t, {}) end
  local unmade = type(found) == 'table' and 1 or ''
  local registered = create(key_of(name), secret_of(name), t,
    {'deadLetterTarget', dead, 'maxReceiveCount', TRIES, 'target_unmade', unmade})
  redis.pcall('SADD', key_of(dead) .. ':sources', name) -- refused in a Cluster
  if unmade == 1 or not registered then redis.pcall('PUBLISH', 'quest:alarm', 'new ' .. key_of(name)) end
end

local SEND = {TEXT, optional = 1, says = 'ERR usage: FCALL sendMessage 1 <list> <value> [seconds before it is visible]'}

-- sendMessage: put a value into a list, which is made when there is none.
-- KEYS  name of the list
-- ARGV  value, seconds before it is visible (default: the queue's DelaySeconds, 0)
-- Reply its uuid
register('sendMessage', {}, SEND, function(keys, args)
  local name, value, seconds = keys[1], args[1], args[2]
  if value == '' or #value > MESSAGE_SIZE then fail('ERR a value is 1 to ' .. MESSAGE_SIZE .. ' bytes') end
  local delay_ms = seconds and ms_of(seconds, 900, 'the delay') or ''
  local queue, found = queue_of(name)
  local t = now()

  if not found then create_list(name, t) end
  local q = open(queue)
  local id = id_of(string.format('%s id %d', q.secret, last_sequence(queue) + 1))
  standard_send(q, t, {id, delay_ms, '', value, '', ''}, 1)
  return uuid_of(id)
end)

local GET = {TEXT, optional = 1, says = 'ERR usage: FCALL getMessage 1 <list> <count> [seconds to process them]'}

-- getMessage: receive from a list.
-- KEYS  name of the list
-- ARGV  how many at most (1 to 100), seconds to process them (default: the queue's VisibilityTimeout, 30)
-- Reply the items, each a flat list: uuid, value, tries (deliveries before this one), in_flight, list, handle;
--       an empty list when there is nothing, or no such list, or it is paused
register('getMessage', {'allow-oom'}, GET, function(keys, args)
  local name, count, seconds = keys[1], tonumber(args[1]), args[2]
  if not count or count ~= math.floor(count) or count < 1 or count > MOST_GOT then
    fail(string.format('ERR the count must be a whole number from 1 to %d', MOST_GOT))
  end
  local visibility_ms = seconds and ms_of(seconds, 43200, 'the timeout')
  local queue, found = queue_of(name)
  if not found then return {} end
  local q = open(queue)
  if q.paused then return {} end
  local t = now()

  visibility_ms = visibility_ms or q.visibility_ms
  local items, rounds = {}, 0
  local given, more
  repeat
    rounds = rounds + 1
    given, more = receive(q, t, count, visibility_ms, 1, count)
  until #given > 0 or not more or rounds == ROUNDS
  for i, message in ipairs(given) do
    local sequence, record, tries = unpack(message)
    local _, id, _, body = parts_of(record)
    local before = head_of(record).ReceiveCount or 0
    items[i] = {'uuid', uuid_of(id), 'value', body, 'tries', before + tries - 1,
      'in_flight', visibility_ms > 0 and 1 or 0, 'list', name, 'handle', handle_of(q, sequence, tries, t)}
  end
  if #items > 0 then hand_on(q) end
  return items
end)

local DELETE = {TEXT, says = 'ERR usage: FCALL deleteMessage 1 <list> <handle>'}

-- deleteMessage: forget a message while its delivery is running.
-- KEYS  name of the list
-- ARGV  handle
-- Reply OK
register('deleteMessage', {'allow-oom'}, DELETE, function(keys, args)
  local name, handle = keys[1], args[1]
  local queue, found = queue_of(name)
  if not found then fail('Message not in flight') end
  local q = open(queue)
  local t = now()
  local _, sequences, deliveries, latest = spoken_of(q, {handle}, 1)
  if not latest[1] or not is_hidden(q, sequences[1], t) then fail('Message not in flight') end

  remove(q, t, sequences, deliveries)
  return redis.status_reply('OK')
end)
