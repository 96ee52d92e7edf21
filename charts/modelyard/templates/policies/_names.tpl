{{- /*
Policies, and a few roles, are objects of the cluster, and installations in several namespaces may have one name. Takes a dict: root, name.
*/}}
{{- define "modelyard.policyName" -}}
{{ include "modelyard.fullname" .root }}-{{ .name }}.{{ .root.Release.Namespace }}
{{- end }}

{{- define "modelyard.policyMetadata" -}}
name: {{ include "modelyard.policyName" . }}
labels:
  {{- include "modelyard.labels" . | nindent 2 }}
{{- end }}

{{- /* The name of the policy of Approvals, or nothing. Kubernetes has the API since 1.30. */}}
{{- define "modelyard.approvalPolicy" -}}
{{- $api := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy" }}
{{- if and .Values.approvals.policy.enabled (or $api (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version)) }}
{{- include "modelyard.policyName" (dict "root" . "name" "approvals") }}
{{- end }}
{{- end }}

{{- /* The version of the API that the policy of editors is written in, or nothing where there is no such policy. */}}
{{- define "modelyard.editorPolicyVersion" -}}
{{- $group := "admissionregistration.k8s.io" }}
{{- $mode := .Values.audit.editors }}
{{- if eq $mode "disabled" }}
{{- else if .Capabilities.APIVersions.Has (printf "%s/v1/MutatingAdmissionPolicy" $group) -}}
{{ $group }}/v1
{{- else if .Capabilities.APIVersions.Has (printf "%s/v1beta1/MutatingAdmissionPolicy" $group) -}}
{{ $group }}/v1beta1
{{- else if eq $mode "enabled" -}}
{{- /* Rendered without a cluster, or in vain; the API is stable since 1.36. */ -}}
{{ $group }}/{{ ternary "v1" "v1beta1" (semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- end }}

{{- define "modelyard.editorPolicy" -}}
{{- if include "modelyard.editorPolicyVersion" . }}
{{- include "modelyard.policyName" (dict "root" . "name" "editors") }}
{{- end }}
{{- end }}
