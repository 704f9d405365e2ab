-- Record what a worker says of its job (phase, progress, checkpoint) and tell it; a warning is told.
local refused = fence_lost() or wrong_state({'VALIDATING', 'RUNNING', 'CANCELLING', 'PUBLISHING'},
  'take notes')
if refused then
  return refused
end
if A.kind ~= 'warning' then
  redis.call('HSET', K.job, A.kind, A.body)
end
tell(A.kind, A.body)
return answer({state = field('state')})
