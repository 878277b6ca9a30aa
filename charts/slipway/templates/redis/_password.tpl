{{/*
The password of the chart's Redis. It is in the Secret `slipway-redis`, which the first installation creates and upgrades
keep. Empty if the Secret belongs to someone else, or if there is no cluster to ask, as in `helm template`: the chart then
renders no Secret. The result is the same in all templates of one rendering. It is not kept
in .Values, which `helm get values` shows.
*/}}
{{- define "slipway.redisPassword" -}}
{{- if not (hasKey .Release "redisPassword") }}
{{- $found := lookup "v1" "Secret" .Release.Namespace (include "slipway.redis" .) }}
{{- $password := "" }}
{{- if and $found (eq (dig "metadata" "annotations" "meta.helm.sh/release-name" "" $found) .Release.Name) }}
{{- $password = dig "data" "REDIS_PASSWORD" "" $found | b64dec | default (randAlphaNum 48) }}
{{- else if and (not $found) (include "slipway.hasCluster" .) }}
{{- $password = randAlphaNum 48 }}
{{- end }}
{{- $_ := set .Release "redisPassword" $password }}
{{- end }}
{{- .Release.redisPassword }}
{{- end -}}
{{- define "slipway.redisPasswordVariable" -}}
{{ include "slipway.secretVariable" (dict "secret" (include "slipway.redis" .) "key" "REDIS_PASSWORD" "optional" false) }}
{{- end -}}
{{/* Restarts a pod together with the others when the password changes, for example by a rollback. */}}
{{- define "slipway.redisChecksum" -}}
{{- if .Values.redis.enabled }}{{ with include "slipway.redisPassword" . }}checksum/redis: {{ sha256sum . }}{{ end }}{{ end }}
{{- end -}}
