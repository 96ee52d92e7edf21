{{- /* What the operator may do in the namespaces that it watches. */}}
{{- define "modelyard.operatorRules" -}}
# The users' objects: read the spec, write the status.
- apiGroups: [modelyard.dev]
  resources: [experiments, registeredmodels, modeldeployments]
  verbs: [get, list, watch]
- apiGroups: [modelyard.dev]
  resources: [experiments/status, registeredmodels/status, modeldeployments/status]
  verbs: [get, patch, update]
# An Experiment's `register` makes the model that does not exist yet; a rename or a deletion that was cut off is finished.
- apiGroups: [modelyard.dev]
  resources: [registeredmodels]
  verbs: [create, delete]
- apiGroups: [modelyard.dev]
  resources: [approvals]
  verbs: [get, list, watch]
# Owner references that block deletion, where the cluster enforces the permission.
- apiGroups: [modelyard.dev]
  resources: [experiments/finalizers, registeredmodels/finalizers, modeldeployments/finalizers]
  verbs: [update]
# What they become.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Why something of it does not get on.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [list]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways]
  verbs: [get]
# Projects that live in a ConfigMap.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
# What it hands to model pods, and to the Jobs that prepare versions; applied by name, so that even creating is limited.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [modelyard-artifacts-reader, modelyard-environments, modelyard-preparation]
  verbs: [get, create, patch]
# What private repositories and buckets of projects are read with.
- apiGroups: [""]
  resources: [secrets]
  {{- with .Values.training.projects.secretNames }}
  resourceNames: {{ toJson . }}
  {{- end }}
  verbs: [get]
# The keys that webhooks are signed with.
- apiGroups: [""]
  resources: [secrets]
  {{- with .Values.webhooks.secretNames }}
  resourceNames: {{ toJson . }}
  {{- end }}
  verbs: [get]
{{- if .Values.audit.flux }}
# The revision that Flux applied, for the records.
- apiGroups: [kustomize.toolkit.fluxcd.io]
  resources: [kustomizations]
  verbs: [get]
- apiGroups: [helm.toolkit.fluxcd.io]
  resources: [helmreleases]
  verbs: [get]
{{- end }}
{{- end }}

{{- /* What it may read for them outside of these namespaces. */}}
{{- define "modelyard.operatorRoutingRules" -}}
# Which controller an Ingress is for, and whether the Gateway of a route is there.
- apiGroups: [networking.k8s.io]
  resources: [ingressclasses]
  verbs: [get]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways]
  verbs: [get]
{{- end }}
