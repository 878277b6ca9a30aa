{{/*
The validations for Jobs that the launcher creates: launcher/cluster/manifests.py makes them. During an upgrade, the launcher
of the previous revision must be able to create runs too. So images are compared by repository, and a field that a new
revision no longer sets is still allowed.
*/}}
{{- define "slipway.launcherJobs" -}}
{{- $repositories := list .Values.pipelineImage.repository }}
{{- range .Values.pipelines }}
{{- with .image }}{{ $repositories = append $repositories (regexReplaceAll "(:[^/@]+)?(@.+)?$" . "") }}{{ end }}
{{- end }}
{{- $secret := list .Values.secrets.pipeline | compact | toJson }}
{{- $credentials := list .Values.secrets.credentials | compact | toJson }}
{{- $masterCv := list .Values.secrets.masterCv | compact | toJson -}}
- expression: >-
    !variables.bound || (
    variables.labels.all(key, key in ['slipway.dev/run', 'slipway.dev/phase', 'slipway.dev/idempotency']) &&
    'slipway.dev/run' in variables.labels && variables.labels['slipway.dev/phase'] == 'queued' &&
    variables.annotations.all(key, key in ['slipway.dev/job-id', 'slipway.dev/profile', 'slipway.dev/pipeline',
    'slipway.dev/params', 'slipway.dev/priority', 'slipway.dev/queued-at', 'slipway.dev/timeout-seconds',
    'slipway.dev/idempotency', 'slipway.dev/request']) &&
    !has(variables.new.metadata.ownerReferences) && !has(variables.new.metadata.finalizers))
  message: "The launcher can only create Jobs of queued runs, without other labels, annotations, owners or finalizers."
- expression: >-
    !variables.bound || (
    variables.spec.all(key, key in ['suspend', 'backoffLimit', 'template', 'parallelism', 'completions', 'completionMode',
    'podReplacementPolicy', 'selector', 'manualSelector']) &&
    variables.spec.parallelism == 1 && variables.spec.completions == 1 && variables.spec.completionMode == 'NonIndexed' &&
    (!has(variables.spec.manualSelector) || !variables.spec.manualSelector))
  message: "The launcher can only create Jobs with one pod, and without other fields than those of a run."
- expression: >-
    !variables.bound || (
    variables.spec.template.metadata.all(key, key in ['labels', 'creationTimestamp']) &&
    variables.spec.template.metadata.labels.all(key, key in ['slipway.dev/run', 'job-name', 'controller-uid',
    'batch.kubernetes.io/job-name', 'batch.kubernetes.io/controller-uid']) &&
    'slipway.dev/run' in variables.spec.template.metadata.labels)
  message: "A run's pod has no other labels, annotations or finalizers: policies and Services select pods by labels."
- expression: >-
    !variables.bound || variables.pod.all(key, key in ['restartPolicy', 'activeDeadlineSeconds',
    'terminationGracePeriodSeconds', 'automountServiceAccountToken', 'enableServiceLinks', 'securityContext', 'containers',
    'volumes', 'imagePullSecrets', 'dnsPolicy', 'schedulerName'])
  message: "A run's pod has no other fields: no service account, host namespace, node, priority or init container."
- expression: >-
    !variables.bound || (
    has(variables.pod.automountServiceAccountToken) && !variables.pod.automountServiceAccountToken &&
    variables.pod.dnsPolicy == 'ClusterFirst' &&
    variables.pod.schedulerName == 'default-scheduler' && variables.pod.terminationGracePeriodSeconds <= 3600 &&
    (!has(variables.pod.imagePullSecrets) ||
    variables.pod.imagePullSecrets.all(each, each.name in {{ toJson .Values.imagePullSecrets }})))
  message: "A run's pod has no service account token, the cluster's DNS, and only the pull secrets in imagePullSecrets."
- expression: >-
    !variables.bound || variables.pod.securityContext == {
    {{- range $name, $value := include "slipway.podSecurity" . | fromYaml }}{{ $name | squote }}: dyn({{ toJson $value }}), {{ end -}} }
  message: "A run's pod has the security context of all runs: user and group 10001."
- expression: >-
    !variables.bound || (
    size(variables.pod.containers) == 1 && variables.container.securityContext == {
    {{- range $name, $value := include "slipway.containerSecurity" . | fromYaml }}{{ $name | squote }}: dyn({{ toJson $value }}), {{ end -}} } &&
    variables.container.all(key, key in ['name', 'image', 'args', 'env', 'envFrom', 'resources', 'terminationMessagePath',
    'terminationMessagePolicy', 'imagePullPolicy', 'securityContext', 'volumeMounts']) &&
    (!has(variables.container.resources) || variables.container.resources.all(key, key in ['requests', 'limits'])))
  message: "A run has one container without privileges, probes, hooks, ports, devices or a command of its own."
- expression: >-
    !variables.bound || {{ $repositories | uniq | toJson }}.exists(each, variables.container.image.startsWith(each) &&
    variables.container.image.substring(each.size()).matches('^(:[^/@]+)?(@[^/@]+)?$'))
  message: "A run's image is from pipelineImage.repository, or from the image of an entry in pipelines."
- expression: >-
    !variables.bound || (
    (!has(variables.container.env) || variables.container.env.all(each, !has(each.valueFrom))) &&
    (!has(variables.container.envFrom) ||
    variables.container.envFrom.all(each, has(each.secretRef) && each.secretRef.name in {{ $secret }})))
  message: "A run's environment is from no other object than the Secret in secrets.pipeline."
- expression: >-
    !variables.bound || variables.volumes.all(each,
    has(each.emptyDir) ||
    (has(each.persistentVolumeClaim) && each.persistentVolumeClaim.claimName == '{{ include "slipway.claim" . }}') ||
    (has(each.secret) && each.secret.secretName in {{ $credentials }}) ||
    (has(each.configMap) && each.configMap.name in {{ $masterCv }}))
  message: "A run's volumes are the claim in data, the Secret in secrets.credentials, the ConfigMap in secrets.masterCv, and empty ones."
- expression: >-
    !variables.bound || !has(variables.container.volumeMounts) || variables.container.volumeMounts.all(mount,
    !has(mount.subPathExpr) && variables.volumes.all(each, each.name != mount.name || !has(each.persistentVolumeClaim) ||
    (has(mount.subPath) && mount.subPath == 'applications/' + variables.new.metadata.name)))
  message: "A run sees only its own folder of the claim: applications/RUN_ID."
{{- end -}}
