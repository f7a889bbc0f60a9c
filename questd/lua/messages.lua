-- The functions of messages: sent, received, deleted, hidden and shown again. What differs between the kinds of queues is
-- in standard.lua and fifo.lua.

local TWELVE_HOURS_MS = 43200000
local PROMOTE_LIMIT = 100 -- what one receive does of the background task's work

-- Fails unless messages can be stored: see quest_send for `entries`.
local function check_messages(q, entries, first)
  local fifo = q.fifo
  for i = first, #entries, ENTRY do
    local id, delay_ms = entries[i], entries[i + 1]
    if #id ~= 16 then fail('ERR quest_send: a MessageId is 16 bytes') end
    if delay_ms ~= '' and not MS.read(delay_ms) then fail('ERR quest_send: a delay must be ' .. MS.what) end
    if fifo and (entries[i + 4] == '' or entries[i + 5] == '') then fail('ERR quest_send: no group, or no digest') end
  end
end

-- quest_send: put messages into a queue.
-- KEYS  the queue
-- ARGV  version, then of each message: MessageId (16 bytes), delay in ms ('' for the queue's; a FIFO queue has no other),
--       head, body, MessageGroupId and digest of its deduplication id ('' in a standard queue); then, if there is a
--       limit, how many messages the queue may have
-- Reply sequence of the last one; FIFO: sequence and MessageId of each, of the original for a repeated one; or 'facts'
-- Fails QueueDoesNotExist, QueueFull most: nothing was stored
register('quest_send', {}, {TEXT, each = {TEXT, TEXT, TEXT, TEXT, TEXT, TEXT}, last = NUMBER}, function(keys, args)
  local queue, version, most = keys[1], args[1], #args % ENTRY == 2 and table.remove(args)
  local q = open(queue)
  if q.version ~= version then return facts(queue) end
  check_messages(q, args, 2)
  reach(queue)
  if q.fifo then return fifo_send(q, now(), args, 2, most) end
  return {standard_send(q, now(), args, 2, most)}
end)

-- Hands out up to `max` visible messages to one receive after the other, up to `each` to one. Returns as receive does.
local function receive_in_turn(q, t, max, visibility_ms, receives, each)
  local hand = q.fifo and fifo_receive or standard_receive
  local given, shares = {}, {}
  while true do
    local most = math.min(each, max - #given)
    local some, more = hand(q, t, most, visibility_ms, most)
    for _, message in ipairs(some) do given[#given + 1] = message end
    shares[#shares + 1] = #some
    if #some == 0 or #given == max or #shares == receives then return given, more, shares end
  end
end

-- Hands out up to `max` visible messages to so many receives, in queues with groups up to `each` to one. Returns a list of
-- {sequence, record, receive count, first ms, received ms}, whether there may be more although it gave fewer, and in queues
-- with groups how many each receive got.
local function receive(q, t, max, visibility_ms, receives, each)
  local stopped = q.alarm and q.alarm <= t and promote(q, t, math.max(max, PROMOTE_LIMIT))
  local given, more, shares
  if q.fifo and visibility_ms > 0 then
    given, more, shares = fifo_receive(q, t, max, visibility_ms, each)
  elseif q.fifo or q.fair then
    given, more, shares = receive_in_turn(q, t, max, visibility_ms, receives, each)
  else
    given, more = standard_receive(q, t, max, visibility_ms)
  end
  return given, more or stopped and #given == 0, shares
end

local MOST = 1000 -- messages that one call hands out
local wanted_by

do
  local known_wants, count = {}, 0
  local LIMIT = 200 -- known at once; beyond it they are forgotten together

  local function read(args)
    local max, visibility_ms, limit, receives = tonumber(args[2]), tonumber(args[3]), tonumber(args[5]), tonumber(args[10])
    local wait_ms, others_ms = tonumber(args[8]), tonumber(args[9])
    if not (is_whole(max, 1, MOST) and is_whole(receives, 1, max) and limit
      and (visibility_ms and visibility_ms >= 0 and visibility_ms <= LATEST_MS or args[3] == '')
      and wait_ms and wait_ms <= LATEST_MS and others_ms and others_ms <= LATEST_MS) then
      fail('ERR quest_receive: the numbers make no sense')
    end
    return {max = max, visibility_ms = visibility_ms, limit = limit, wait_ms = wait_ms, others_ms = others_ms,
      receives = receives, each = math.floor(max / receives)}
  end

  -- The numbers among the arguments of quest_receive. Consumers want the same again and again: to read and check them each
  -- time was a fourteenth of a receive.
  wanted_by = function(args)
    local text = args[2] .. ' ' .. args[3] .. ' ' .. args[5] .. ' ' .. args[8] .. ' ' .. args[9] .. ' ' .. args[10]
    local wants = known_wants[text]
    if not wants then
      wants = read(args)
      if count >= LIMIT then known_wants, count = {}, 0 end
      if #text < 100 then known_wants[text], count = wants, count + 1 end
    end
    return wants
  end
end

-- How many receives got something, of how many messages each got.
local function count_served(shares)
  local served = 0
  for i = 1, #shares do served = shares[i] > 0 and served + 1 or served end
  return served
end

-- Adds to a reply of two parts how many messages each of several receives got, in a queue with groups. Returns how many
-- parts it has.
local function add_shares(reply, q, receives, shares)
  if receives == 1 or not (q.fifo or q.fair) then return 2 end
  for i = 1, receives do reply[2 + i] = shares and shares[i] or 0 end
  return 2 + receives
end

-- quest_receive: hand out visible messages.
-- KEYS  the queue
-- ARGV  version, how many at most, visibility timeout in ms ('' for the queue's), the server time after which nobody
--       wants them any more ('' for none), how many may be in flight, ReceiveRequestAttemptId ('' for none), then for a
--       long poll: process, ms that this receive waits when it gets nothing (0: it does not), ms that others of this
--       process wait; how many receives this is: that many messages are wanted at least, and in a queue with groups
--       each wants as many as the others
-- Reply server time, 1 when there is more to look at (2: those that got nothing and do not wait are to be told that too
--       many are in flight), for several receives in a queue with groups how many each of them got, then handle, record,
--       receive count, first ms of each; or 'facts'
-- Fails QueueDoesNotExist, TooManyInFlight, AttemptNotRetryable ReceiveRequestAttemptId
register('quest_receive', {'allow-oom'}, {TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT}, function(keys, args)
  local queue, version, wants, not_after, attempt, process = keys[1], args[1], wanted_by(args), tonumber(args[4]), args[6], args[7]
  if not not_after and args[4] ~= '' then fail('ERR quest_receive: the numbers make no sense') end
  local q, receives = open(queue), wants.receives
  if q.version ~= version then return facts(queue) end
  local server_ms = server_time()
  local t = at(server_ms)
  if not_after and server_ms > not_after then
    local reply = {server_ms, 1}
    add_shares(reply, q, receives)
    return reply
  end
  reach(queue)

  local visibility_ms, wait_ms, others_ms = wants.visibility_ms or q.visibility_ms, wants.wait_ms, wants.others_ms
  attempt = q.fifo and attempt ~= '' and not q.paused and attempt
  local given, more, room, shares = attempt and receive_again(q, t, attempt, visibility_ms) or {}, false, wants.max, nil
  if #given == 0 and not q.paused then
    room = room_for(q, t, wants.max, wants.limit)
    if room > 0 then
      given, more, shares = receive(q, t, room, visibility_ms, receives, wants.each)
      if attempt and #given > 0 then remember_attempt(q, t, attempt, given) end
    elseif wait_ms == 0 and not q.fifo then
      fail('TooManyInFlight')
    end
  end
  local served = shares and count_served(shares) or math.min(#given, receives)
  local stays_ms = served == receives and others_ms or math.max(wait_ms, others_ms)
  if stays_ms > 0 and not more then wait(q, process, stays_ms) end
  if q.waits and #given > 0 then hand_on(q) end -- after wait: the next one to wake may be of this process
  local full = served < receives and #given == room and wait_ms == 0 and not q.fifo
  local reply = slots(2 + 4 * #given)
  reply[1], reply[2] = server_ms, full and 2 or more and 1 or 0
  local size = add_shares(reply, q, receives, shares)
  for i = 1, #given do
    local message = given[i]
    local sequence, count, first_ms, received_ms = message[1], message[3], message[4], message[5]
    reply[size + 1], reply[size + 2] = handle_of(q, sequence, count, received_ms), message[2]
    reply[size + 3], reply[size + 4] = count, first_ms
    size = size + 4
  end
  return reply
end)

-- quest_pass: a process that was woken and has nobody waiting any more passes the wake on.
-- KEYS  the queue
-- Reply 1
-- Fails QueueDoesNotExist
register('quest_pass', {'allow-oom'}, {}, function(keys)
  local queue = keys[1]
  local q = open(queue)
  reach(queue)
  hand_on(q)
  return 1
end)

-- quest_delete: forget messages their consumer has finished with. Only the latest handle of a message deletes it; an
-- older one does nothing (contract 2.11), and in a FIFO queue it has expired, as the latest one has with its timeout.
-- KEYS  the queue
-- ARGV  version, handles
-- Reply for each handle 'OK', also when its message was gone already, or the name of an error; or 'facts'
-- Fails QueueDoesNotExist
register('quest_delete', {'allow-oom'}, {TEXT, each = {TEXT}}, function(keys, args)
  local queue, version = keys[1], args[1] -- and handles
  local q = open(queue)
  if q.version ~= version then return facts(queue) end
  local t = (q.fifo or q.fair) and now()
  reach(queue)

  local reply, sequences, deliveries, latest = spoken_of(q, args, 2)
  local gone, hidden = 0, q.fifo and are_hidden(q, sequences, t) -- so many move to the front of the sequences
  local taken = q.fifo and #reply > 1 and {} -- a sequence twice would be looked for in all of its group
  for i = 1, #reply do
    if hidden and deliveries[i] and not (latest[i] and hidden[i]) then
      reply[i] = 'ReceiptHandleExpired'
    elseif latest[i] and not (taken and taken[sequences[i]]) then
      if taken then taken[sequences[i]] = true end
      gone = gone + 1
      sequences[gone], deliveries[gone] = sequences[i], deliveries[i]
    end
  end
  if gone > 0 then
    local waits = q.waits
    for i = gone + 1, #reply do sequences[i], deliveries[i] = nil, nil end
    local groups = remove(q, t, sequences, deliveries, q.fifo)
    if q.fifo then refresh_all(q, t, groups) end
    if waits then hand_on(q) end -- for one that waits because too many were in flight
  end
  return reply
end)

-- What became of one change of visibility: 'OK' or the name of an error.
local function change_visibility(q, t, sequence, delivery, latest, timeout_ms)
  if not delivery then return 'MessageNotAvailable' end
  if q.fifo and not (latest and is_hidden(q, sequence, t)) then return 'ReceiptHandleExpired' end
  local count, first_ms, received_ms, _, group = parts_of_delivery(delivery)
  if t + timeout_ms > received_ms + TWELVE_HOURS_MS then return 'TotalVisibilityTimeoutBeyondLimit' end
  if timeout_ms > 0 then
    q.counted_ms = nil -- it may be one more
    hold(q, {t + timeout_ms, sequence}, {q.fair and group or ''})
    lower_alarm(q, t, t + timeout_ms)
  elseif q.fair then
    land(q, t, {sequence}, {delivery})
  else
    redis.call('ZREM', q.inflight, sequence)
  end
  if q.fifo then
    redis.call('HSET', q.deliveries, sequence, delivery_of(count, first_ms, received_ms, 1, group))
    refresh(q, t, group)
  elseif timeout_ms == 0 then
    -- A message named twice in a batch: its delivery as it is by now.
    show(q, t, {sequence}, {redis.call('HGET', q.deliveries, sequence)})
  end
  return 'OK'
end

-- quest_change_visibility: hide messages for another time from now on, or show them at once. Any handle ever given for
-- a living message will do (contract 2.13); in a FIFO queue only the latest, and before its timeout.
-- KEYS  the queue
-- ARGV  version, then handle and timeout in ms of each
-- Reply for each handle 'OK' or the name of an error; or 'facts'
-- Fails QueueDoesNotExist
register('quest_change_visibility', {'allow-oom'}, {TEXT, each = {TEXT, MS}}, function(keys, args)
  local queue, version = keys[1], args[1]
  local q = open(queue)
  if q.version ~= version then return facts(queue) end
  local t = now()
  local handles = {}
  for i = 2, #args, 2 do handles[#handles + 1] = args[i] end
  reach(queue)

  local reply, sequences, deliveries, latest = spoken_of(q, handles, 1)
  for i, told in ipairs(reply) do
    if told == 'OK' then
      reply[i] = change_visibility(q, t, sequences[i], deliveries[i], latest[i], args[2 * i + 1])
    end
  end
  return reply
end)

-- quest_give_back: undo a receive whose client had gone: the message is at the head again, with one receive less.
-- KEYS  the queue
-- ARGV  handles
-- Reply how many were given back
-- Fails QueueDoesNotExist
register('quest_give_back', {'allow-oom'}, {each = {TEXT}}, function(keys, handles)
  local queue = keys[1]
  local q = open(queue)
  local t = now()
  reach(queue)

  local back, groups = 0, {}
  local _, sequences, deliveries, latest = spoken_of(q, handles, 1)
  for i, sequence in ipairs(sequences) do
    if latest[i] then
      local count, first_ms, received_ms, mark, group = parts_of_delivery(deliveries[i])
      if q.fair then land(q, t, {sequence}, {deliveries[i]}) end
      redis.call('ZREM', q.inflight, sequence)
      if count == 1 then
        redis.call('HDEL', q.deliveries, sequence)
      else
        redis.call('HSET', q.deliveries, sequence,
          delivery_of(count - 1, first_ms, received_ms, q.fifo and mark or 1, group))
      end
      if not q.fifo and mark == 0 then enlist(q, {sequence}, {group}, 'LPUSH') end
      groups[group] = true
      back = back + 1
    end
  end
  if q.fifo then
    for group in pairs(groups) do refresh(q, t, group, 'front') end
  elseif back > 0 then
    wake(q)
  end
  return back
end)
