-- Take a delivered job: a queued one, or one whose worker has let its lease end.
local function drop_entry()
  redis.call('XACK', K.queue, 'workers', A.entry)
  redis.call('XDEL', K.queue, A.entry)
  return answer({fence = 0})
end

local state = field('state')
if not state or field('entry') ~= A.entry then
  return drop_entry()
end
if redis.call('EXISTS', K.lease) == 1 then
  return answer({fence = 0})
end
if state == 'CANCELLING' then
  finish('CANCELLED', 'WORKER_LOST')
  return answer({fence = 0})
end
if tonumber(field('attempt')) >= A.max_attempts then
  local attempts = field('attempt')
  redis.call('UNLINK', K.lease)
  redis.call('XADD', K.dead, 'MAXLEN', '~', 10000, '*', 'job', A.id, 'reason', 'WORKER_LOST',
    'attempts', attempts)
  redis.call('HSET', K.job, 'error', cjson.encode({reason = 'WORKER_LOST',
    message = attempts .. ' workers took this job and none finished it'}))
  finish('FAILED', 'WORKER_LOST')
  return answer({fence = 0})
end
local fence = redis.call('HINCRBY', K.job, 'fence', 1)
local attempt = redis.call('HINCRBY', K.job, 'attempt', 1)
redis.call('SET', K.lease, whole(fence), 'PX', A.lease_ms)
redis.call('HSET', K.job, 'holder', A.holder)
if field('started_ms') == '0' then
  redis.call('HSET', K.job, 'started_ms', whole(now_ms()))
end
if state == 'QUEUED' then
  move('RUNNING')
elseif attempt > 1 then
  move(state, 'RECLAIMED')
end
return answer({fence = fence})
