{{- /* What the schema cannot say, because it spans values. */}}
{{- define "modelyard.validate" -}}
{{- $v := .Values }}
{{- if and (not $v.tracking.enabled) $v.operator.enabled (not $v.tracking.externalUri) }}
{{- fail "tracking.enabled is false: set tracking.externalUri to the tracking server to use" }}
{{- end }}
{{- if and (not $v.minio.enabled) $v.artifactStore.readerSecret (not $v.artifactStore.existingSecret) }}
{{- fail "artifactStore.readerSecret is set without artifactStore.existingSecret, the credentials that write" }}
{{- end }}
{{- if and $v.tracking.enabled (eq $v.tracking.database "sqlite") (gt (int $v.tracking.replicas) 1) }}
{{- fail "tracking.replicas above 1 needs a database other than sqlite" }}
{{- end }}
{{- if and $v.tracking.enabled (eq $v.tracking.database "external") (not $v.tracking.databaseUri) (not $v.tracking.databaseSecret.name) }}
{{- fail "tracking.database is external: set tracking.databaseUri or tracking.databaseSecret.name" }}
{{- end }}
{{- end }}
