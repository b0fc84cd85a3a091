{{/*
Text of mixin/ with the user's values in the places of its marks: a dict of "text" and "mixin", the
values. deploy/helm_sources/mixin_marks.py says which marks there are.
*/}}
{{- define "esim-exporter.mixin" -}}
{{- $text := .text -}}
{{- $mixin := .mixin -}}
{{- range $mark := regexFindAll "<<if [^>]+>>" $text -1 | uniq -}}
  {{- $words := splitList " " (trimSuffix ">>" $mark) -}}
  {{- $value := include "esim-exporter.mixin.value" (dict "path" (index $words 1) "mixin" $mixin) -}}
  {{- $holds := ternary (eq $value (last $words)) (ne $value "") (eq (len $words) 3) -}}
  {{- $lines := printf "(?s)%s\n(.*?)<<else>>\n(.*?)<<end>>\n" (regexQuoteMeta $mark) -}}
  {{- $text = regexReplaceAll $lines $text (ternary "${1}" "${2}" $holds) -}}
{{- end -}}
{{- range $mark := regexFindAll "<<[^>]+>>" $text -1 | uniq -}}
  {{- $words := splitList " " (trimPrefix "<<" (trimSuffix ">>" $mark)) -}}
  {{- $text = replace $mark (include "esim-exporter.mixin.form" (dict "words" $words "mixin" $mixin)) $text -}}
{{- end -}}
{{- $text -}}
{{- end }}

{{- define "esim-exporter.mixin.form" -}}
{{- $form := "" -}}
{{- if gt (len .words) 1 }}{{ $form = index .words 1 }}{{ end -}}
{{- if eq (first .words) "target_labels" -}}
  {{- $forms := dict "list" ", %s" "matchers" ",%s=%%q" "values" " $labels.%s" -}}
  {{- range .mixin.target_labels }}{{ printf (get $forms $form) . }}{{ end -}}
{{- else -}}
  {{- $value := include "esim-exporter.mixin.value" (dict "path" (first .words) "mixin" .mixin) -}}
  {{- if eq $form "seconds" -}}
    {{- $seconds := include "esim-exporter.seconds" $value | float64 -}}
    {{- if gt (len .words) 2 }}{{ $seconds = mulf $seconds (index .words 2 | float64) }}{{ end -}}
    {{- printf "%.10g" $seconds -}}
  {{- else if eq $form "percent" -}}
    {{- printf "%.6g %%" (mulf ($value | float64) 100.0) -}}
  {{- else -}}
    {{- $value -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{- define "esim-exporter.mixin.value" -}}
{{- $value := .mixin -}}
{{- range splitList "." .path }}{{ $value = index $value . }}{{ end -}}
{{- include "esim-exporter.text" $value -}}
{{- end }}

{{/* What the schema cannot say; esim-exporter mixin checks the same. */}}
{{- define "esim-exporter.mixin.check" -}}
{{- with .usage }}{{ if not (and (lt (float64 .low) (float64 .high)) (lt (float64 .high) (float64 .full))) -}}
  {{- fail "mixin.usage: low must be below high, and high below full" -}}
{{- end }}{{ end -}}
{{- if gt (int64 .storm.package_esims) (int64 .storm.fleet_esims) -}}
  {{- fail "mixin.storm: package_esims must not exceed fleet_esims" -}}
{{- end -}}
{{- if eq .jobs.exporter .jobs.esims -}}
  {{- fail "mixin.jobs: exporter and esims must be different jobs" -}}
{{- end -}}
{{- $soon := include "esim-exporter.seconds" .exporter.certificate_ends_soon -}}
{{- $later := include "esim-exporter.seconds" .exporter.certificate_ends -}}
{{- if ge (float64 $soon) (float64 $later) -}}
  {{- fail "mixin.exporter: certificate_ends_soon must be shorter than certificate_ends" -}}
{{- end -}}
{{- end }}
