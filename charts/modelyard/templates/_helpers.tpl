{{- define "modelyard.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* Short enough for the longest suffix within a DNS label. */}}
{{- define "modelyard.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "modelyard.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "modelyard.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Labels of every object. Takes a dict: root, component (optional). */}}
{{- define "modelyard.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "modelyard.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: modelyard
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "modelyard.selectorLabels" -}}
app.kubernetes.io/name: {{ include "modelyard.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- /* metadata's name, namespace and labels. Takes a dict: root, component, name (a suffix; default: the component). */}}
{{- define "modelyard.metadata" -}}
name: {{ include "modelyard.fullname" .root }}-{{ default .component .name }}
namespace: {{ default .root.Release.Namespace .namespace }}
labels:
  {{- include "modelyard.labels" . | nindent 2 }}
{{- end }}

{{- define "modelyard.clusterMetadata" -}}
name: {{ include "modelyard.fullname" .root }}-{{ .name }}
labels:
  {{- include "modelyard.labels" . | nindent 2 }}
{{- end }}

{{- /*
A pod template's metadata: nothing that changes with the chart's version alone, so that an upgrade rolls only what differs.
Takes a dict: root, component, values (the component's), checksums (a dict).
*/}}
{{- define "modelyard.podMetadata" -}}
labels:
  {{- include "modelyard.selectorLabels" . | nindent 2 }}
  app.kubernetes.io/part-of: modelyard
  {{- with .root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.checksums | default dict) .values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* What every pod spec has in common. Takes a dict: root, values. */}}
{{- define "modelyard.podSpec" -}}
enableServiceLinks: false
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The user and group of Modelyard's own images. */}}
{{- define "modelyard.ownPodSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "modelyard.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* An image's reference. Takes a dict: root, image (a key of .Values.images). */}}
{{- define "modelyard.image" -}}
{{- $image := get .root.Values.images .image }}
{{- if and (eq .image "training") (not $image.repository) }}
{{- include "modelyard.image" (dict "root" .root "image" "tracking") }}
{{- else if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository (default .root.Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{- /* image and imagePullPolicy of a container. */}}
{{- define "modelyard.containerImage" -}}
image: {{ include "modelyard.image" . | quote }}
imagePullPolicy: {{ (get .root.Values.images .image).pullPolicy }}
{{- end }}

{{- define "modelyard.modelNamespace" -}}
{{- default .Release.Namespace .Values.modelNamespace }}
{{- end }}

{{- define "modelyard.trackingUri" -}}
{{- if .Values.tracking.enabled }}
{{- printf "http://%s-tracking.%s.svc:%v" (include "modelyard.fullname" .) .Release.Namespace .Values.tracking.service.port }}
{{- else }}
{{- .Values.tracking.externalUri }}
{{- end }}
{{- end }}

{{- /* Empty for AWS. */}}
{{- define "modelyard.s3Endpoint" -}}
{{- if .Values.artifactStore.endpoint }}
{{- .Values.artifactStore.endpoint }}
{{- else if .Values.minio.enabled }}
{{- printf "http://%s-minio.%s.svc:9000" (include "modelyard.fullname" .) .Release.Namespace }}
{{- end }}
{{- end }}

{{- /* Where model pods ask for the node cache; empty without one. */}}
{{- define "modelyard.nodeCacheUrl" -}}
{{- if .Values.nodeCache.enabled }}
{{- printf "http://%s-node-cache.%s.svc:8080" (include "modelyard.fullname" .) .Release.Namespace }}
{{- end }}
{{- end }}

{{- /* The stores that the node cache may ask. AWS has buckets in the host, or in the path. */}}
{{- define "modelyard.nodeCacheEndpoints" -}}
{{- $endpoints := .Values.nodeCache.endpoints }}
{{- with include "modelyard.s3Endpoint" . }}
{{- $endpoints = prepend $endpoints . }}
{{- else }}
{{- $host := printf "s3.%s.amazonaws.com" .Values.artifactStore.region }}
{{- $endpoints = concat (list (printf "https://%s" $host) (printf "https://*.%s" $host)) $endpoints }}
{{- end }}
{{- $endpoints | uniq | join "," }}
{{- end }}

{{- /* Host headers that the tracking server answers: MLflow compares them with the port, where there is one. */}}
{{- define "modelyard.allowedHosts" -}}
{{- $service := printf "%s-tracking" (include "modelyard.fullname" .) }}
{{- $namespace := .Release.Namespace }}
{{- $hosts := list "localhost" "127.0.0.1" "[::1]" "localhost:*" "127.0.0.1:*" "[[]::1]:*" }}
{{- range list $service (printf "%s.%s" $service $namespace) (printf "%s.%s.svc" $service $namespace) (printf "%s.%s.svc.%s" $service $namespace .Values.clusterDomain) }}
{{- $hosts = concat $hosts (list . (printf "%s:%v" . $.Values.tracking.service.port)) }}
{{- end }}
{{- if ne .Values.tracking.service.type "ClusterIP" }}
{{- $hosts = concat $hosts (list "10.*" "192.168.*") }}
{{- range untilStep 16 32 1 }}
{{- $hosts = append $hosts (printf "172.%d.*" .) }}
{{- end }}
{{- end }}
{{- with .Values.tracking.ingress }}
{{- if .enabled }}
{{- $hosts = concat $hosts (list .host (printf "%s:*" .host)) }}
{{- end }}
{{- end }}
{{- concat $hosts .Values.tracking.allowedHosts | uniq | join "," }}
{{- end }}

{{- /* Localhost is always one of MLflow's. */}}
{{- define "modelyard.corsAllowedOrigins" -}}
{{- $origins := .Values.tracking.corsAllowedOrigins }}
{{- with .Values.tracking.ingress }}
{{- if .enabled }}
{{- $origins = concat (list (printf "%s://%s" (ternary "https" "http" (ne .tlsSecretName "")) .host)) $origins }}
{{- end }}
{{- end }}
{{- $origins | uniq | join "," }}
{{- end }}

{{- /* The store's place, as the operator, the tracking server and the bootstrap read it. */}}
{{- define "modelyard.storeEnv" -}}
- {name: MODELYARD_ARTIFACT_STORE, value: {{ .Values.artifactStore.uri | quote }}}
- {name: MODELYARD_S3_ENDPOINT, value: {{ include "modelyard.s3Endpoint" . | quote }}}
- {name: AWS_DEFAULT_REGION, value: {{ .Values.artifactStore.region | quote }}}
{{- end }}

{{- /* Two variables from a Secret of ours or the user's. Takes a dict: secret, prefix. */}}
{{- define "modelyard.keyEnv" -}}
- name: {{ .prefix }}_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: AWS_ACCESS_KEY_ID}}
- name: {{ .prefix }}_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: AWS_SECRET_ACCESS_KEY}}
{{- end }}


{{- /* A StatefulSet's volume, if it is persistent. Takes a dict: root, values. */}}
{{- define "modelyard.claimTemplate" -}}
{{- with .values.persistence }}
{{- if .enabled -}}
volumeClaimTemplates:
  - metadata:
      name: data
      labels:
        {{- include "modelyard.selectorLabels" $ | nindent 8 }}
    spec:
      {{- include "modelyard.claimSpec" . | nindent 6 }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Takes a persistence value. */}}
{{- define "modelyard.claimSpec" -}}
accessModes: [ReadWriteOnce]
{{- with .storageClassName }}
storageClassName: {{ . | quote }}
{{- end }}
resources: {requests: {storage: {{ .size }}}}
{{- end }}
