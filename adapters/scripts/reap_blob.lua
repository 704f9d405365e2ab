-- Remove the record of a blob that nothing refers to, nobody leases and nobody asked for since
-- A.unless_asked_since_ms. Its bytes are listed in K.uploads until they are gone too.
local asked = redis.call('ZSCORE', K.blobs, A.digest)
if not asked or tonumber(asked) > A.unless_asked_since_ms or redis.call('SCARD', K.refs) > 0
  or leased(A.digest) then
  return answer({sid = ''})
end
local found = redis.call('HMGET', K.blob, 'sid', 'size')
redis.call('UNLINK', K.blob)
redis.call('ZREM', K.blobs, A.digest)
for _, tenant in ipairs(redis.call('SMEMBERS', K.owners)) do
  redis.call('SREM', A.own_prefix .. tenant, A.digest)
  redis.call('HINCRBY', A.used_prefix .. tenant, 'bytes', -tonumber(found[2]))
end
redis.call('UNLINK', K.owners)
redis.call('ZADD', K.uploads, whole(now_ms()), found[1])
return answer({sid = found[1]})
