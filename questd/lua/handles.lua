-- Receipt handles: made, read, and what they speak of.

-- A receipt handle: incarnation, sequence, receive count, received ms, and a MAC that proves it: any handle ever given
-- is known again, and nothing is stored for it.
-- A secret of 112 bits in front, and half of the digest kept: neither can the secret be guessed nor the digest be gone on
-- with. Secret and text are one block of SHA-1: with all of the secret on both sides they were two, which took 2 % of a
-- receive and 3 % of a delete.
local handle_of

do
  local known_ms, digits_of_ms = nil, nil -- of messages handed out in one ms, and so in one call, the same

  -- `sequence` is a text.
  handle_of = function(q, sequence, count, received_ms)
    if received_ms ~= known_ms then known_ms, digits_of_ms = received_ms, string.format('%d', received_ms) end
    local text = sequence .. '-' .. (count == 1 and '1' or string.format('%d', count)) .. '-' .. digits_of_ms
    return q.handle_start .. text .. '-' .. string.sub(redis.sha1hex(q.mac_secret .. text), 1, 20)
  end
end

-- 'OK' when a handle was ever given, or the name of what is wrong with it.
local function verdict_on(q, handle)
  local incarnation, text, mac = string.match(handle, '^(%x+)%-(%d+%-%d+%-%d+)%-(%x+)$')
  if text and incarnation ~= q.incarnation then return 'ReceiptHandleOfAnotherQueue' end
  return text and mac == string.sub(redis.sha1hex(q.mac_secret .. text), 1, 20) and 'OK' or 'ReceiptHandleIsInvalid'
end

-- What `handles`, from `first` on, speak of, a list of each: 'OK' or the name of what is wrong with the handle; sequence;
-- delivery, false when the message is gone; whether nobody received it later.
local function spoken_of(q, handles, first)
  if first > #handles then return {}, {}, {}, {} end
  local count_of_all, start = #handles - first + 1, #q.incarnation + 2
  local told, sequences, latest = slots(count_of_all), slots(count_of_all), slots(count_of_all)
  for i = 1, count_of_all do sequences[i] = string.match(handles[first + i - 1], '^%d+', start) or 0 end
  local deliveries = redis.call('HMGET', q.deliveries, unpack(sequences))
  for i = 1, #sequences do
    local handle, delivery, given = handles[first + i - 1], deliveries[i], nil
    if delivery then -- the handle of this delivery is made anew: that is less work than to take the other one apart
      local count, _, received_ms = struct.unpack('>I4I6I6', delivery)
      given = handle_of(q, sequences[i], count, received_ms)
    end
    told[i], latest[i] = 'OK', handle == given
    if not latest[i] then
      told[i] = verdict_on(q, handle)
      if told[i] ~= 'OK' then sequences[i], deliveries[i] = 0, false end
    end
  end
  return told, sequences, deliveries, latest
end
