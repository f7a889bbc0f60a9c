-- Grants: what the Redis user of a call may do. Functions run with their caller's permissions, so it needs every command
-- that they use; one that is refused in the middle of a function would leave half of its work.

-- Every command of the other files, with arguments that change nothing, but for those that make a key of their own.
local function uses(key)
  local hash, list, set = key .. ':hash', key .. ':list', key .. ':set'
  return {
    {'DEL', key}, {'EXISTS', key}, {'GET', key}, {'HDEL', key, 'f'}, {'HEXISTS', key, 'f'}, {'HGET', key, 'f'},
    {'HGETALL', key}, {'HINCRBY', hash, 'f', 1}, {'HKEYS', key}, {'HLEN', key}, {'HMGET', key, 'f'}, {'HSET', hash, 'f', 1},
    {'INFO', 'server'}, {'LINDEX', key, 0}, {'LLEN', key}, {'LPOP', key}, {'LPUSH', list, 1}, {'LRANGE', key, 0, 0},
    {'LREM', key, 1, 1}, {'LSET', key, 0, 1}, {'LTRIM', key, 0, 0}, {'PUBLISH', 'quest:grants', ''}, {'RENAME', key, key},
    {'RPUSH', list, 1}, {'SADD', set, 1}, {'SET', key, 1, 'XX'}, {'TIME'}, {'ZADD', key, 'XX', 1, 1}, {'ZCARD', key},
    {'ZCOUNT', key, 0, 0}, {'ZMSCORE', key, 1}, {'ZPOPMIN', key}, {'ZRANGE', key, 0, 0}, {'ZREM', key, 1},
    {'ZSCORE', key, 1}, {'UNLINK', hash, list, set},
  }
end

-- The rule of an ACL that would have allowed what failed so; nil when it failed for another reason.
local function rule_against(failure, command)
  if string.find(failure, 'channel', 1, true) then return '&quest:*' end
  if string.find(failure, 'access a key', 1, true) or string.find(failure, 'one of the keys', 1, true) then
    return '~quest:*'
  end
  if string.find(failure, "can't run this command", 1, true) or string.find(failure, 'no permissions to run', 1, true) then
    return '+' .. string.lower(command)
  end
  return nil
end

-- quest_grants: what the user of this call lacks to use the library.
-- KEYS  a key that is not there
-- Reply the rules of an ACL that it has not
register('quest_grants', {}, {}, function(keys)
  local key = keys[1]
  if not string.match(key, '^quest:lease.*:grants$') then fail('ERR the key is to be that of a lease and :grants') end
  local lacking = {}
  for _, use in ipairs(uses(key)) do
    local reply = redis.pcall(unpack(use))
    lacking[#lacking + 1] = type(reply) == 'table' and reply.err and rule_against(reply.err, use[1]) or nil
  end
  return lacking
end)
