-- A worker ends its job without publishing.
local FROM = {
  SUCCEEDED = {'PUBLISHING'},
  FAILED = {'VALIDATING', 'RUNNING', 'CANCELLING', 'PUBLISHING'},
  CANCELLED = {'CANCELLING'},
}
local refused = fence_lost() or wrong_state(FROM[A.to], 'become ' .. A.to)
if refused then
  return refused
end
redis.call('UNLINK', K.lease)
redis.call('HSET', K.job, 'result', A.result)
if A.error then
  redis.call('HSET', K.job, 'error', A.error)
  tell('error', A.error)
end
finish(A.to, A.why)
return answer({state = A.to})
