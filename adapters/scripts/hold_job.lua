-- Keep the lease and the delivery; both work when Redis is full, unless the lease has ended.
local refused = fence_lost() or wrong_state({'VALIDATING', 'RUNNING', 'CANCELLING', 'PUBLISHING'},
  'be held')
if refused then
  return refused
end
if redis.call('PEXPIRE', K.lease, A.lease_ms) == 0 then
  redis.call('SET', K.lease, whole(A.fence), 'PX', A.lease_ms)
end
redis.call('XCLAIM', field('queue'), 'workers', A.holder, 0, field('entry'), 'JUSTID')
return answer({state = field('state')})
