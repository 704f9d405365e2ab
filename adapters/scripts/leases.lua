local function leased(digest)
  for _, holder in ipairs(redis.call('SMEMBERS', K.holders)) do
    local lease = A.lease_prefix .. holder
    if redis.call('EXISTS', lease) == 0 then
      redis.call('SREM', K.holders, holder)
    elseif redis.call('HEXISTS', lease, digest) == 1 then
      return true
    end
  end
  return false
end
