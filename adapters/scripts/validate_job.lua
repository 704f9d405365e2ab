-- The data set was read: the job may run, or is invalid.
local refused = fence_lost() or wrong_state({'VALIDATING'}, 'be validated')
if refused then
  return refused
end
redis.call('UNLINK', K.lease)
redis.call('HSET', K.job, 'report', A.report)
if K.report_refs then
  redis.call('SADD', K.report_refs, 'job:' .. A.id)
end
if not A.valid then
  redis.call('HSET', K.job, 'error', A.error)
  finish('INVALID', 'DATASET_INVALID')
  return answer({state = 'INVALID'})
end
leave_queue()
redis.call('HSET', K.job, 'holder', '', 'resolved', A.resolved)
redis.call('HINCRBY', K.job, 'fence', 1) -- a late heartbeat must not take the lease again
move('QUEUED')
release()
return answer({state = 'QUEUED'})
