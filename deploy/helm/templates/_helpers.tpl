{{- define "esim-exporter.name" -}}
{{ .Values.nameOverride | default .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "esim-exporter.selector" -}}
app.kubernetes.io/name: esim-exporter
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "esim-exporter.metadata" -}}
name: {{ include "esim-exporter.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "esim-exporter.labels" . | nindent 2 }}
{{- end }}

{{- define "esim-exporter.labels" -}}
{{ include "esim-exporter.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "esim-exporter.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The URL of the database, as a variable, because flags show in the list of processes. */}}
{{- define "esim-exporter.storage-env" -}}
name: ESIM_EXPORTER_STORAGE_URL
valueFrom:
  secretKeyRef:
    name: {{ .Values.postgresql.secretName }}
    key: {{ .Values.postgresql.secretKey }}
{{- end }}

{{/* The vendors that are on, as JSON: the facts of each, with the keys of its secrets by the group of the flag that reads them. */}}
{{- define "esim-exporter.vendors" -}}
{{- $on := list -}}
{{- range $vendor := .Files.Get "vendors.json" | fromJsonArray -}}
  {{- $flags := dict -}}
  {{- with and $vendor.first $.Values.webhook.secretKey -}}
    {{- $_ := set $flags "webhook" . -}}
  {{- end -}}
  {{- with (get $.Values.vendors $vendor.value).secretKey -}}
    {{- $_ := set $flags $vendor.name . -}}
  {{- end -}}
  {{- if $flags -}}
    {{- $on = append $on (set $vendor "keys" $flags) -}}
  {{- end -}}
{{- end -}}
{{- if not $on -}}
  {{- fail "vendors: give one of them a secretKey, or set webhook.secretKey" -}}
{{- end -}}
{{- toJson $on -}}
{{- end }}

{{- define "esim-exporter.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "esim-exporter.pod-security" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Helm reads whole numbers as floats, and would write large ones as 1e+06. */}}
{{- define "esim-exporter.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end -}}
{{- end }}

{{/* A duration as Prometheus writes it, as a number of seconds. */}}
{{- define "esim-exporter.seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 "w" 604800.0 "y" 31536000.0 -}}
{{- $seconds := 0.0 -}}
{{- range regexFindAll "[0-9]+[a-z]+" . -1 -}}
  {{- $seconds = addf $seconds (mulf (regexFind "[0-9]+" . | float64) (get $units (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- printf "%.15g" $seconds -}}
{{- end }}
