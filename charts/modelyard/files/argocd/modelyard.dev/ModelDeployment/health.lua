-- The health of a ModelDeployment for Argo CD, from its conditions (kstatus: Reconciling and Stalled are there only while True).
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

local ready = condition("Ready")
if ready.status == "True" then
  return health("Healthy", ready.message)
end
if condition("Stalled").status == "True" then
  return health("Degraded", condition("Stalled").message)
end
if obj.status.phase == "Held" or obj.status.phase == "Paused" then
  -- It goes on when somebody says so.
  return health("Suspended", ready.message)
end
if condition("Reconciling").status == "True" then
  return health("Progressing", condition("Reconciling").message)
end
if obj.status.phase == "Degraded" or obj.status.phase == "RolledBack" then
  -- Whatever the conditions leave open, what is wanted is not what is served.
  return health("Degraded", ready.message)
end
return health("Progressing", ready.message)
