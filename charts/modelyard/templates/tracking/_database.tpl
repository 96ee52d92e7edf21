{{- /* Where the tracking server keeps runs: MLFLOW_BACKEND_STORE_URI, by the environment, so that no password is in a command line. */}}
{{- define "modelyard.databaseEnv" -}}
{{- $tracking := .Values.tracking }}
{{- if eq $tracking.database "sqlite" }}
- {name: MLFLOW_BACKEND_STORE_URI, value: "sqlite:////data/mlflow.db"}
{{- else if eq $tracking.database "postgresql" }}
- {name: MLFLOW_BACKEND_STORE_URI, value: "postgresql+psycopg2://mlflow@{{ include "modelyard.fullname" . }}-postgresql:5432/mlflow"}
# libpq reads it, so that the password may hold any character.
- name: PGPASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "modelyard.postgresqlSecret" . }}, key: password}}
{{- else }}
- name: MLFLOW_BACKEND_STORE_URI
  {{- if $tracking.databaseSecret.name }}
  valueFrom: {secretKeyRef: {name: {{ $tracking.databaseSecret.name }}, key: {{ $tracking.databaseSecret.key }}}}
  {{- else }}
  valueFrom: {secretKeyRef: {name: {{ include "modelyard.fullname" . }}-tracking-database, key: uri}}
  {{- end }}
{{- end }}
{{- end }}
