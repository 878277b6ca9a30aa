{{/* Not empty if there is a cluster to ask, unlike in `helm template`: every namespace that exists has this ConfigMap. */}}
{{- define "slipway.hasCluster" -}}
{{- if lookup "v1" "ConfigMap" .Release.Namespace "kube-root-ca.crt" }}yes{{ end }}
{{- end -}}
{{/* Checks that the existing objects have what the values require. Skipped without a cluster, as in `helm template`. */}}
{{- define "slipway.checkExisting" -}}
{{- $namespace := .Release.Namespace }}
{{- $v := .Values }}
{{- $secret := dict }}
{{- range $value, $name := dict "secrets.existing" (ternary "" $v.secrets.existing (not (empty $v.secrets.values))) "secrets.pipeline" $v.secrets.pipeline "secrets.credentials" $v.secrets.credentials "redis.externalUrlSecret" $v.redis.externalUrlSecret }}
{{- if $name }}
{{- $found := lookup "v1" "Secret" $namespace $name }}
{{- if not $found }}
{{- fail (printf "Create the Secret %s in namespace %s first, or change %s" $name $namespace $value) }}
{{- end }}
{{- $_ := set $secret $value ($found.data | default dict) }}
{{- end }}
{{- end }}
{{- range $v.imagePullSecrets }}
{{- if not (lookup "v1" "Secret" $namespace .) }}
{{- fail (printf "Create the Secret %s in namespace %s first (kubectl create secret docker-registry), or remove it from imagePullSecrets" . $namespace) }}
{{- end }}
{{- end }}
{{- with $v.secrets.masterCv }}
{{- $found := lookup "v1" "ConfigMap" $namespace . }}
{{- if not (and $found (hasKey ($found.data | default dict) "master-cv.md")) }}
{{- fail (printf "Create the ConfigMap %s with master-cv.md in namespace %s first (kubectl create configmap %s --from-file=master-cv.md), or set secrets.masterCv to an empty string" . $namespace .) }}
{{- end }}
{{- end }}
{{- with index $secret "secrets.existing" }}
{{- include "slipway.checkSecret" (dict "data" . "name" $v.secrets.existing) }}
{{- else }}
{{- if hasKey $secret "secrets.existing" }}{{ include "slipway.checkSecret" (dict "data" dict "name" $v.secrets.existing) }}{{ end }}
{{- end }}
{{- range $key := list "RUNNER_API_SECRET" "RUNNER_API_SECRET_PREVIOUS" }}
{{- if hasKey (index $secret "secrets.pipeline" | default dict) $key }}
{{- fail (printf "Remove %s from the Secret %s: it provides the runs' environment, and runs must not see this key" $key $v.secrets.pipeline) }}
{{- end }}
{{- end }}
{{- if and $v.redis.externalUrlSecret (not (hasKey (index $secret "redis.externalUrlSecret") "REDIS_URL")) }}
{{- fail (printf "Add REDIS_URL to the Secret %s, for example redis://:password@host:6379/0" $v.redis.externalUrlSecret) }}
{{- end }}
{{- end -}}
{{- define "slipway.checkSecret" -}}
{{- $name := .name }}
{{- if not (hasKey .data "RUNNER_API_SECRET") }}
{{- fail (printf "Add RUNNER_API_SECRET to the Secret %s; generate one with: openssl rand -hex 32" $name) }}
{{- end }}
{{- range $key := list "RUNNER_API_SECRET" "RUNNER_API_SECRET_PREVIOUS" }}
{{- if and (hasKey $.data $key) (lt (index $.data $key | b64dec | len) 32) }}
{{- fail (printf "Set %s in the Secret %s to 32 bytes or more; generate one with: openssl rand -hex 32" $key $name) }}
{{- end }}
{{- end }}
{{- end -}}
