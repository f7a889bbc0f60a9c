-- Receipt handles: made, read, and what they speak of.

-- A receipt handle: incarnation, sequence, receive count, received ms, and a MAC that proves it: any handle ever given
-- is known again, and nothing is stored for it.
-- The secret on both sides and half of the digest kept: neither can a text be made longer nor the MAC's state be known.
local function mac_of(q, text) return string.sub(redis.sha1hex(q.secret .. text .. q.secret), 1, 20) end

-- The digits of a time: of messages handed out in one ms, and so in one call, the same.
local digits_of_ms = lately(function(ms) return string.format('%d', ms) end)

-- What of a handle its MAC is of. `sequence` is a text.
local function text_of(q, sequence, count, received_ms)
  local digits = count == 1 and '1' or string.format('%d', count)
  return q.incarnation .. '-' .. sequence .. '-' .. digits .. '-' .. digits_of_ms(received_ms)
end

local function handle_of(q, sequence, count, received_ms)
  local text = text_of(q, sequence, count, received_ms)
  return text .. '-' .. mac_of(q, text)
end

-- 'OK' when a handle was ever given, or the name of what is wrong with it.
local function verdict_on(q, handle)
  local text, incarnation, mac = string.match(handle, '^((%x+)%-%d+%-%d+%-%d+)%-(%x+)$')
  if text and incarnation ~= q.incarnation then return 'ReceiptHandleOfAnotherQueue' end
  return text and mac == mac_of(q, text) and 'OK' or 'ReceiptHandleIsInvalid'
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
