{{- define "slipway.rule" -}}
ingressClassName: {{ .Values.ingress.className }}
rules:
  - host: {{ .Values.ingress.host | quote }}
    http:
      paths:
        {{- range .Values.ingress.paths }}
        - path: {{ . }}
          pathType: Prefix
          backend: {service: {name: {{ include "slipway.launcher" $ }}, port: {name: http}}}
        {{- end }}
{{- end -}}
