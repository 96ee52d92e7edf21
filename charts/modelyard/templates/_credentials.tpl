{{- /*
The names of the Secrets: the user's where one is named, else the chart's own, else (an external store) none.
*/}}
{{- define "modelyard.rootSecret" -}}
{{- default (printf "%s-minio-root" (include "modelyard.fullname" .)) .Values.minio.existingSecret }}
{{- end }}

{{- define "modelyard.writerSecret" -}}
{{- if .Values.artifactStore.existingSecret }}
{{- .Values.artifactStore.existingSecret }}
{{- else if .Values.minio.enabled }}
{{- printf "%s-store-writer" (include "modelyard.fullname" .) }}
{{- end }}
{{- end }}

{{- define "modelyard.readerSecret" -}}
{{- if .Values.artifactStore.readerSecret }}
{{- .Values.artifactStore.readerSecret }}
{{- else if .Values.minio.enabled }}
{{- printf "%s-store-reader" (include "modelyard.fullname" .) }}
{{- end }}
{{- end }}

{{- /* The Secret with the token of those who may read records; `kubectl modelyard` knows it by the Service's name. */}}
{{- define "modelyard.recordsSecret" -}}
{{ include "modelyard.fullname" . }}-operator-records
{{- end }}

{{- define "modelyard.postgresqlSecret" -}}
{{- default (printf "%s-postgresql" (include "modelyard.fullname" .)) .Values.postgresql.existingSecret }}
{{- end }}

{{- /*
The password that a Secret of the release has, or a new one. Takes a dict: root, secret, key, value (the value that the
user would set). Made once a rendering and kept in .Values, so that every template sees the same.
*/}}
{{- define "modelyard.password" -}}
{{- $made := get .root.Values "generated" | default dict }}
{{- $id := printf "%s/%s" .secret .key }}
{{- if not (hasKey $made $id) }}
{{- $live := lookup "v1" "Secret" .root.Release.Namespace .secret }}
{{- $old := get (get ($live | default dict) "data" | default dict) .key }}
{{- if and (not $old) (not .root.Values.credentials.generate) }}
{{- fail (printf "credentials.generate is false: name an existing Secret in %s" .value) }}
{{- end }}
{{- $_ := set $made $id (ternary ($old | b64dec) (randAlphaNum 40) (not (empty $old))) }}
{{- $_ := set .root.Values "generated" $made }}
{{- end }}
{{- get $made $id }}
{{- end }}

{{- /* The secret key of the chart's own Secret with this suffix. Takes a dict: root, name (a suffix). */}}
{{- define "modelyard.storeKey" -}}
{{- $value := get (dict "minio-root" "minio.existingSecret" "store-writer" "artifactStore.existingSecret" "store-reader" "artifactStore.readerSecret") .name }}
{{- include "modelyard.password" (dict "root" .root "secret" (printf "%s-%s" (include "modelyard.fullname" .root) .name) "key" "AWS_SECRET_ACCESS_KEY" "value" $value) }}
{{- end }}

{{- /* The chart's own Secrets for the store: their suffixes, as a YAML list. */}}
{{- define "modelyard.ownStoreSecrets" -}}
{{- if .Values.minio.enabled }}
{{- if not .Values.minio.existingSecret }}
- minio-root
{{- end }}
{{- if not .Values.artifactStore.existingSecret }}
- store-writer
{{- end }}
{{- if not .Values.artifactStore.readerSecret }}
- store-reader
{{- end }}
{{- end }}
{{- end }}

{{- define "modelyard.postgresqlPassword" -}}
{{- include "modelyard.password" (dict "root" . "secret" (include "modelyard.postgresqlSecret" .) "key" "password" "value" "postgresql.existingSecret") }}
{{- end }}

{{- /* Annotations that roll pods when the chart's own credentials change; those of existing Secrets are the user's to roll. */}}
{{- define "modelyard.storeChecksums" -}}
{{- $keys := list (include "modelyard.s3Endpoint" .) }}
{{- range include "modelyard.ownStoreSecrets" . | fromYamlArray }}
{{- $keys = append $keys (include "modelyard.storeKey" (dict "root" $ "name" .)) }}
{{- end }}
checksum/store: {{ join "," $keys | sha256sum }}
{{- end }}

{{- define "modelyard.databaseChecksums" -}}
{{- if and (eq .Values.tracking.database "postgresql") (not .Values.postgresql.existingSecret) -}}
checksum/database: {{ include "modelyard.postgresqlPassword" . | sha256sum }}
{{- else if .Values.tracking.databaseUri -}}
checksum/database: {{ .Values.tracking.databaseUri | sha256sum }}
{{- end }}
{{- end }}
