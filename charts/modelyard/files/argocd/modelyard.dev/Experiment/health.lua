-- The health of an Experiment for Argo CD, from its conditions (kstatus: Reconciling and Stalled are there only while True).
local function condition(type)
  for _, each in ipairs(obj.status.conditions or {}) do
    if each.type == type then
      return each
    end
  end
  return {}
end

local function health(status, message)
  return { status = status, message = message or "" }
end

if obj.status == nil or obj.status.observedGeneration == nil
  or obj.status.observedGeneration < (obj.metadata.generation or 0) then
  return health("Progressing", "waiting for the operator to see the present spec")
end

local succeeded = condition("Succeeded")
if succeeded.status == "True" or condition("Ready").status == "True" then
  return health("Healthy", succeeded.message or condition("Ready").message)
end
if succeeded.reason == "Suspended" then
  return health("Suspended", succeeded.message)
end
if succeeded.reason == "Scheduled" then
  return health("Healthy", succeeded.message)
end
if condition("Stalled").status == "True" then
  return health("Degraded", condition("Stalled").message)
end
if condition("Reconciling").status == "True" then
  return health("Progressing", condition("Reconciling").message)
end
if succeeded.status == "False" then
  return health("Degraded", succeeded.message)
end
return health("Progressing", succeeded.message)
