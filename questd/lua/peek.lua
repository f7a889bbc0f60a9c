-- Peek: messages looked at where they are. Nobody receives them: nothing is counted, hidden or promoted, so a replica can
-- show them too. And messages dropped by somebody who looked, whatever their state.

local PEEK_STEPS = 1000 -- sequences that one look goes through, with or without a message

-- The sequences of all messages, or of those in flight or delayed when only these are wanted; nil when they are many.
local function few(q, states)
  local set = ({inflight = q.inflight, delayed = q.delayed})[states]
  if set and redis.call('ZCARD', set) <= SPARSE then return redis.call('ZRANGE', set, 0, -1) end
  if redis.call('HLEN', q.messages) <= SPARSE then return redis.call('HKEYS', q.messages) end
  return nil
end

-- Where a look that goes on behind the sequence `after` may find messages: sequences in order, and whether there are more.
-- Many are stepped through; few among many that are gone are looked up.
local function places(q, states, after)
  local first = math.max(after + 1, tonumber(redis.call('HGET', q.key, 'oldest')))
  local last, sequences = last_sequence(q.key), {}
  local listed = last - first >= PEEK_STEPS and few(q, states)
  if listed then
    for _, sequence in ipairs(listed) do
      if tonumber(sequence) >= first then sequences[#sequences + 1] = tonumber(sequence) end
    end
    table.sort(sequences)
    return sequences, false
  end
  for sequence = first, math.min(last, first + PEEK_STEPS - 1) do sequences[#sequences + 1] = sequence end
  return sequences, last - first >= PEEK_STEPS
end

-- The state of a living message, and the ms when that ends by itself (0: it does not). `delays` says whether any is delayed.
local function state_of(q, t, sequence, delays)
  local until_ms = tonumber(redis.call('ZSCORE', q.inflight, sequence) or 0)
  if until_ms > t then return 'inflight', until_ms end
  local delayed_ms = delays and redis.call('ZSCORE', q.delayed, sequence)
  until_ms = delayed_ms and delayed_ms + (q.fifo and q.delay_ms or 0) or 0
  if until_ms > t then return 'delayed', until_ms end
  return 'visible', 0
end

-- Whether the body in a record has a text in it.
local function has_text(record, text)
  local length, start = struct.unpack('>I4', record, 23)
  return text == '' or string.find(record, text, start + length, true) ~= nil
end

-- What a receive would show of messages in these states, but for those past their retention period: a list of {sequence,
-- record, receive count, first ms, state, until ms}; the sequence behind which to go on (0: that was all), and how many
-- messages in these states were looked at.
local function look(q, t, states, after, limit, text)
  local found, looked, bytes = {}, 0, 0
  local sequences, more = places(q, states, after)
  local delays = redis.call('EXISTS', q.delayed) == 1
  for i, sequence in ipairs(sequences) do
    local state, until_ms = state_of(q, t, sequence, delays) -- first: a record may be a megabyte
    local record = string.find(states, state, 1, true) and redis.call('HGET', q.messages, sequence)
    if record and sent_ms_of(record) + q.retention_ms > t then
      looked, bytes = looked + 1, bytes + #record
      if has_text(record, text) then
        local delivery, count, first_ms = redis.call('HGET', q.deliveries, sequence), 0, 0
        if delivery then count, first_ms = parts_of_delivery(delivery) end
        found[#found + 1] = {sequence, record, count, first_ms, state, until_ms}
      end
      if #found == limit or bytes >= BYTES_LIMIT then
        return found, (more or i < #sequences) and sequence or 0, looked
      end
    end
  end
  return found, more and sequences[#sequences] or 0, looked
end

-- quest_peek: look at messages in the order of their sequences, and leave everything as it is.
-- KEYS  the queue
-- ARGV  states ('visible', 'inflight', 'delayed', or several in one text), sequence behind which to begin (0 for the
--       oldest), how many at most (1 to 100), text that their bodies have in them ('' for any)
-- Reply sequence behind which to go on (0: that was all), how many messages were looked at, then sequence, record, receive
--       count, first ms (0: never received), state, ms when that ends by itself (0: it does not) of each
-- Fails QueueDoesNotExist
register('quest_peek', {'no-writes'}, {TEXT, NUMBER, whole(1, 100), TEXT}, function(keys, args)
  local queue, states, after, limit, text = keys[1], unpack(args, 1, 4)
  reach(queue) -- it reads several keys: in a half-moved slot some would look empty
  local q = open(queue)
  local found, next_after, looked = look(q, now(), states, after, limit, text)
  local reply = {next_after, looked}
  for _, message in ipairs(found) do
    for _, part in ipairs(message) do reply[#reply + 1] = part end
  end
  return reply
end)

-- quest_drop: forget messages that somebody looked at, whatever their state.
-- KEYS  the queue
-- ARGV  sequence and MessageId (16 bytes) of each, at most 500: a queue made anew has other messages under the sequences
-- Reply how many there were
-- Fails QueueDoesNotExist
register('quest_drop', {'allow-oom'}, {each = {NUMBER, TEXT}}, function(keys, args)
  local queue = keys[1]
  local q = open(queue)
  local t = now()
  local living = {}
  for i = 1, #args, 2 do
    local record = redis.call('HGET', q.messages, args[i])
    if record and select(2, parts_of(record)) == args[i + 1] then living[#living + 1] = args[i] end
  end
  reach(queue)

  if #living == 0 then return 0 end
  refresh_all(q, t, remove(q, t, living))
  drop_dead_heads(q, WORK_LIMIT)
  hand_on(q) -- for one that waits because too many were in flight
  return #living
end)
