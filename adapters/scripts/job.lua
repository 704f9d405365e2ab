-- A job is the hash K.job and A.id its id. Every move writes state, event and counts together.
-- Counts of a tenant: jobs_queued (not runnable yet), jobs_running (runnable, or with a worker).

local MONTHS_MS = 90 * DAY_MS
local CLASS_ORDER = {high = 0, normal = 1, low = 2}

local function field(name)
  return redis.call('HGET', K.job, name)
end

local function missing_job()
  if field('tenant') ~= A.tenant then
    return refuse('JobNotFound', 'no job ' .. A.id, {name = 'jobs/' .. A.id})
  end
  return nil
end

local function fence_lost()
  local fence = field('fence')
  if tonumber(fence) ~= A.fence then
    return refuse('FenceLost', string.format('job %s has fence %s, not %.0f',
      A.id, fence or 'none', A.fence))
  end
  return nil
end

-- Why the job may not do `what`, unless its state is one of `allowed`.
local function wrong_state(allowed, what)
  local state = field('state')
  for _, name in ipairs(allowed) do
    if state == name then
      return nil
    end
  end
  return refuse('JobStateConflict', string.format('job %s is %s and cannot %s', A.id, state, what),
    {state = state})
end

-- Append an event; `body` is JSON text. Entries count from 1, so that a reader can tell a gap.
local function tell(kind, body)
  local number = redis.call('HINCRBY', K.job, 'num_events', 1)
  redis.call('XADD', K.job_events, 'MAXLEN', '~', 20000, whole(number) .. '-0',
    'kind', kind, 'time_ms', whole(now_ms()), 'body', body)
  redis.call('XADD', K.job_news, 'MAXLEN', '~', 1000, '*', 'job', A.id)
end

local function move(to, why)
  local from = field('state') or ''
  redis.call('HSET', K.job, 'state', to, 'phase', '', 'reason', why or '')
  local generation = redis.call('HINCRBY', K.job, 'generation', 1)
  tell('state', cjson.encode({from = from, to = to, reason = why or '', generation = generation}))
end

local function join_queue(job, id, class)
  local queue = redis.call('HGET', job, 'queues') .. class
  local entry = redis.call('XADD', queue, '*', 'job', id)
  redis.call('HSET', job, 'queue', queue, 'entry', entry, 'attempt', '0')
  redis.call('XADD', K.job_wake, 'MAXLEN', '~', 100, '*', 'job', id)
end

-- An acknowledged entry is deleted at once: on 6.2 a deleted one would come back without an id.
local function leave_queue()
  local entry = field('entry')
  if entry ~= '' then
    local queue = field('queue')
    redis.call('XACK', queue, 'workers', entry)
    redis.call('XDEL', queue, entry)
    redis.call('HSET', K.job, 'entry', '')
  end
end

local function count(name, by)
  return redis.call('HINCRBY', K.used, name, by)
end

local function has_room()
  local running = tonumber(redis.call('HGET', K.used, 'jobs_running') or 0)
  return running < (quota('jobs_running') or 1)
end

local function make_runnable(job, id)
  count('jobs_queued', -1)
  count('jobs_running', 1)
  redis.call('HSET', job, 'runnable', '1')
  join_queue(job, id, redis.call('HGET', job, 'class'))
end

-- Queue this job, or let it wait for the tenant's other jobs.
local function release()
  if has_room() then
    make_runnable(K.job, A.id)
  else
    local score = CLASS_ORDER[field('class')] * 1e13 + tonumber(field('created_ms'))
    redis.call('ZADD', K.waiting, whole(score), A.id)
  end
end

local function release_next()
  while has_room() do
    local first = redis.call('ZRANGE', K.waiting, 0, 0)[1]
    if not first then
      return
    end
    redis.call('ZREM', K.waiting, first)
    make_runnable(A.job_prefix .. first, first)
  end
end

local function finish(to, why)
  redis.call('UNLINK', K.lease) -- a permitted first write: ending works when Redis is full
  leave_queue()
  redis.call('ZREM', K.waiting, A.id)
  count(field('runnable') == '1' and 'jobs_running' or 'jobs_queued', -1)
  redis.call('HSET', K.job, 'ended_ms', whole(now_ms()), 'holder', '')
  move(to, why)
  redis.call('PEXPIRE', K.job, MONTHS_MS)
  redis.call('PEXPIRE', K.job_events, MONTHS_MS)
  release_next()
end
