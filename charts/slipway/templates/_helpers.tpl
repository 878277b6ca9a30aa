{{/* Fixed names, which launcher and operator rely on. */}}
{{- define "slipway.name" -}}slipway{{- end -}}
{{- define "slipway.launcher" -}}slipway-launcher{{- end -}}
{{- define "slipway.operator" -}}slipway-operator{{- end -}}
{{- define "slipway.redis" -}}slipway-redis{{- end -}}
{{- define "slipway.config" -}}slipway-config{{- end -}}
{{- define "slipway.pipelines" -}}slipway-pipelines{{- end -}}
{{- define "slipway.queue" -}}slipway-queue{{- end -}}
{{- define "slipway.runs" -}}slipway-runs{{- end -}}
{{- define "slipway.test" -}}slipway-test{{- end -}}
{{- define "slipway.cronJob" -}}slipway-example{{- end -}}
{{- define "slipway.uninstall" -}}slipway-uninstall{{- end -}}
{{- define "slipway.redirect" -}}slipway-https{{- end -}}
{{- define "slipway.edge" -}}slipway-edge{{- end -}}
{{- define "slipway.traefik" -}}slipway-traefik{{- end -}}
{{- define "slipway.policy" -}}slipway-runs-{{ .Release.Namespace }}{{- end -}}
{{- define "slipway.priorityClass" -}}slipway-services-{{ .Release.Namespace }}{{- end -}}
{{- define "slipway.claim" -}}{{ .Values.data.existingClaim | default "slipway-data" }}{{- end -}}
{{- define "slipway.secret" -}}{{ if .Values.secrets.values }}{{ include "slipway.name" . }}{{ else }}{{ .Values.secrets.existing }}{{ end }}{{- end -}}
{{- define "slipway.image" -}}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{- end -}}
{{- define "slipway.pipelineImage" -}}{{ .Values.pipelineImage.repository }}:{{ .Values.pipelineImage.tag | default .Chart.AppVersion }}{{- end -}}

{{/* Labels of every object, and the selector labels of a component. */}}
{{- define "slipway.labels" -}}
app.kubernetes.io/part-of: slipway
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}
{{- define "slipway.selector" -}}
app.kubernetes.io/name: {{ . }}
{{- end -}}

{{/* Pod Security "restricted"; the same user and group for all pods, as they share a volume. */}}
{{- define "slipway.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}
{{- define "slipway.priority" -}}
{{- if .Values.priorityClass.enabled }}
priorityClassName: {{ include "slipway.priorityClass" . }}
{{- end }}
{{- end -}}
{{- define "slipway.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end -}}
{{- define "slipway.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}
{{- define "slipway.secretVariable" -}}
- name: {{ .key }}
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: {{ .key }}, optional: {{ .optional }}}}
{{- end -}}
{{/* Variables from Secrets that launcher and operator both need. */}}
{{- define "slipway.serviceSecrets" -}}
{{ include "slipway.secretVariable" (dict "secret" (include "slipway.secret" .) "key" "MONGODB_URI" "optional" true) }}
{{- if .Values.redis.enabled }}
{{ include "slipway.redisPasswordVariable" . }}
- {name: REDIS_URL, value: "redis://:$(REDIS_PASSWORD)@{{ include "slipway.redis" . }}:6379/5"}
{{- else if .Values.redis.externalUrlSecret }}
{{ include "slipway.secretVariable" (dict "secret" .Values.redis.externalUrlSecret "key" "REDIS_URL" "optional" false) }}
{{- end }}
{{- end -}}
{{/* Sets the umask, which a pod spec cannot: only the user and group can read files. */}}
{{- define "slipway.command" -}}
[sh, -c, 'umask 0027 && exec "$@"', sh]
{{- end -}}
{{- define "slipway.serviceMounts" -}}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
{{- if .Values.pipelines }}
- {name: pipelines, mountPath: /etc/slipway, readOnly: true}
{{- end }}
{{- end -}}
{{- define "slipway.serviceVolumes" -}}
- {name: data, persistentVolumeClaim: {claimName: {{ include "slipway.claim" . }}}}
- {name: tmp, emptyDir: {}}
{{- if .Values.pipelines }}
- {name: pipelines, configMap: {name: {{ include "slipway.pipelines" . }}}}
{{- end }}
{{- end -}}
{{- define "slipway.dnsEgress" -}}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
      podSelector: {matchLabels: {k8s-app: kube-dns}}
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end -}}
