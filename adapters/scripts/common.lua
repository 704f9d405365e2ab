-- K: keys by name. A: arguments by name; an absent one is nil.
local K, A = {}, cjson.decode(ARGV[2])
for i, name in ipairs(cjson.decode(ARGV[1])) do
  K[name] = KEYS[i]
end

local DAY_MS = 86400000

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function whole(number)
  return string.format('%.0f', number)
end

local function answer(body)
  return {'OK', cjson.encode(body)}
end

local function refuse(error, message, metadata)
  metadata = metadata or {}
  metadata.message = message
  return {error, cjson.encode(metadata)}
end

-- The answer to the request K.request, if it was made before. A.fingerprint names its content.
local function repeated()
  local found = redis.call('GET', K.request)
  if not found then
    return nil
  end
  local first = cjson.decode(found)
  if first.fingerprint ~= A.fingerprint then
    return refuse('RequestConflict', 'this request id was used for another request')
  end
  return {'OK', first.answer}
end

local function answer_once(body)
  local text = cjson.encode(body)
  local record = cjson.encode({fingerprint = A.fingerprint, answer = text})
  redis.call('SET', K.request, record, 'PX', DAY_MS)
  return {'OK', text}
end

-- Tell followers the resulting state of one thing of adapter A.adapter; answers the event's id.
local function emit(kind, name, state)
  return redis.call('XADD', K.events, 'MAXLEN', '~', 100000, '*', 'kind', kind,
    'tenant', A.tenant, 'adapter', A.adapter, 'name', name, 'state', state or '')
end

-- `from` and `to` are versions as text, or empty.
local function audit(what, alias, from, to, forced)
  redis.call('XADD', K.audit, 'MAXLEN', '~', 10000, '*', 'what', what, 'alias', alias,
    'from', from, 'to', to, 'by', A.by, 'reason', A.reason or '', 'forced', forced and '1' or '0')
end

-- How far a count of the tenant may grow; nil without a limit.
local function quota(name)
  local limits = redis.call('HGET', K.tenants, A.tenant)
  local limit = limits and cjson.decode(limits)[name]
  return type(limit) == 'number' and limit or nil
end

local function over_quota(name, more)
  local limit = quota(name)
  local used = tonumber(redis.call('HGET', K.used, name) or 0)
  if limit and used + more > limit then
    return refuse('QuotaExceeded', string.format('%s: %.0f and %.0f more exceed the limit of %.0f',
      name, used, more, limit), {quota = name, used = used, limit = limit})
  end
  return nil
end
