-- Arguments: what each function takes, said where it is registered and looked at before it does anything. Whoever can
-- reach Redis can call any function with anything: he gets an error, and nothing has changed.

local ARGUMENTS = 4000 -- of one call at most: Lua unpacks some 8,000 values, and a send makes two out of six
local LARGEST = 2 ^ 53 -- whole numbers up to here keep every digit
local LATEST_MS = 10 ^ 14 -- times and lengths of time end here, in the year 5138: a record has six bytes for one

-- A kind of argument says what it is to be (`what`), and reads its text (`read`): nil or false when it is something else.
-- Redis gives a library that loads no `string` and no `ipairs`: see `offered`.
local TEXT = {} -- anything

local function is_whole(number, least, most)
  return number and number >= least and number <= most and number % 1 == 0
end

local function whole(least, most)
  return {what = 'a whole number from ' .. least .. ' to ' .. most, read = function(text)
    local number = tonumber(text)
    return is_whole(number, least, most) and number
  end}
end

local function like(pattern, what)
  return {what = what, read = function(text) return string.match(text, pattern) end}
end

local function either(word, kind)
  return {what = "'" .. word .. "' or " .. kind.what, read = function(text)
    return text == word and text or kind.read(text)
  end}
end

local NUMBER = whole(0, LARGEST)
local MS = whole(0, LATEST_MS)
local NAME = like('^[%w_.~/-]+$', 'a name')
local RECORD = {what = 'a message', read = function(text)
  if #text < 26 or #text - 26 < struct.unpack('>I4', text, 23) then return false end
  return (struct.unpack('>I4', text, 23) == 0 or next(head_of(text))) and text
end}

local register

do
  local function in_words(name, usage)
    local each = usage.each and ', then ' .. #usage.each .. ' for each' or ''
    local last = usage.last and ', then, if you like, ' .. usage.last.what or ''
    return 'ERR ' .. name .. ' takes ' .. usage.keys .. ' keys and ' .. #usage .. ' arguments' .. each .. last
  end

  -- Those of `kinds` that are to be read: a list of place and kind.
  local function read_at(kinds)
    local places = {}
    for place = 1, #kinds do
      if kinds[place].read then places[#places + 1] = {place, kinds[place]} end
    end
    return places
  end

  -- Says what is wrong with arguments, and puts what is read in their place: those of `places` after the first so many.
  local function read(name, args, places, after)
    for i = 1, #places do
      local place, kind = after + places[i][1], places[i][2]
      local value = kind.read(args[place])
      if not value then return string.format('ERR %s: argument %d must be %s', name, place, kind.what) end
      args[place] = value
    end
    return nil
  end

  -- Returns what reads the arguments of a function and says what is wrong with them; nil for what need not be read.
  local function reader(name, usage)
    local first, each = read_at(usage), read_at(usage.each or {})
    if #first + #each == 0 then return nil end
    return function(args)
      local wrong = read(name, args, first, 0)
      if #each == 0 then return wrong end
      for after = #usage, #args - 1, #usage.each do wrong = wrong or read(name, args, each, after) end
      return wrong
    end
  end

  -- Registers a function that takes what `usage` says: a list of kinds; `each`: those that follow, again and again;
  -- `last`: what may come behind those; `keys`: how many if not one; `optional`: how many texts may follow; `says`: to
  -- another number of arguments.
  -- Its failures reach the client as their bare text, without a script's name and line.
  register = function(name, flags, usage, callback)
    usage.keys = usage.keys or 1
    local key_count, least, width, most = usage.keys, #usage, 1, usage.optional or 0
    if usage.each then width, most = #usage.each, ARGUMENTS end
    local refusal, find_wrong = usage.says or in_words(name, usage), reader(name, usage)

    redis.register_function({
      function_name = name,
      flags = flags,
      callback = function(keys, args)
        if not string then redis, string, struct, math, ipairs, unpack, tonumber, pcall = offered() end
        local more = #args - least
        if more ~= 0 and (more < 0 or more > most or more % width ~= 0) or #keys ~= key_count then
          local last = usage.last and more % width == 1 and more <= most and usage.last.read(args[#args])
          if not last or #keys ~= key_count then return {err = refusal} end
          args[#args] = last
        end
        local wrong = find_wrong and find_wrong(args)
        if wrong then return {err = wrong} end
        local ok, reply = pcall(callback, keys, args)
        if ok then return reply end
        if type(reply) == 'table' then return {err = reply.failure} end
        if string.find(reply, '^user_function') then error(reply, 0) end -- a mistake of ours: with its line
        return {err = reply} -- what redis.call said; Redis's pcall makes a string of it
      end,
    })
  end
end
