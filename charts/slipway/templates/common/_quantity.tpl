{{/* Converts a quantity in the notation of Kubernetes (192Mi) or Redis (96mb) to bytes. */}}
{{- define "slipway.bytes" -}}
{{- $text := toString . | lower }}
{{- $unit := regexFind "[a-z]*$" $text }}
{{- $factor := get (dict "k" 1000 "kb" 1024 "ki" 1024 "m" 1000000 "mb" 1048576 "mi" 1048576 "g" 1000000000 "gb" 1073741824 "gi" 1073741824 "t" 1000000000000 "ti" 1099511627776) $unit | default 1 }}
{{- mulf (trimSuffix $unit $text | float64) $factor | int64 }}
{{- end -}}
