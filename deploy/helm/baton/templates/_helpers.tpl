{{- define "baton.name" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "baton.chart" -}}
{{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Labels of an object: a dict with root, component and, for NATS, app. */}}
{{- define "baton.labels" -}}
{{ include "baton.selector" . }}
app.kubernetes.io/part-of: baton
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ include "baton.chart" .root }}
{{- end }}

{{- define "baton.selector" -}}
app.kubernetes.io/name: {{ .app | default "baton" }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* Labels of pods. No version of the chart is among them: a new one alone shall restart no engine. */}}
{{- define "baton.podLabels" -}}
{{ include "baton.selector" . }}
app.kubernetes.io/part-of: baton
{{- end }}

{{- define "baton.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "baton.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "baton.name" .) "default") -}}
{{- end }}

{{/* What all pods' specs begin with. */}}
{{- define "baton.podSpec" -}}
serviceAccountName: {{ include "baton.serviceAccount" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext: {{ toYaml .Values.podSecurityContext | nindent 2 }}
{{- end }}

{{/* Spread the pods of one component over nodes, where possible: a dict with root, component and app. */}}
{{- define "baton.spread" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {{ include "baton.selector" . | nindent 12 }}
{{- end }}

{{/* The settings of all of baton's processes. Durations of baton and grace periods of pods come from the same values. */}}
{{- define "baton.config" -}}
{{- $v := .Values }}
{{- $api := dict
  "listen" ":8000"
  "admin_listen" (printf ":%d" (int $v.metrics.port))
  "drain_delay" (printf "%ds" (int $v.frontend.drainDelaySeconds))
  "drain_timeout" (printf "%ds" (int $v.frontend.drainSeconds)) }}
{{- if eq $v.auth.mode "open" }}{{ $_ := set $api "insecure_open" true }}{{ end }}
{{- if eq $v.auth.mode "keysFile" }}{{ $_ := set $api "keys_file" "/etc/baton/keys/keys.yaml" }}{{ end }}
{{- if $v.auth.adminSecret }}{{ $_ := set $api "admin_keys_file" "/etc/baton/admin/admin.yaml" }}{{ end }}
{{- if $v.frontend.tlsSecret }}
{{- $_ := set $api "tls_cert" "/etc/baton/tls/tls.crt" }}
{{- $_ := set $api "tls_key" "/etc/baton/tls/tls.key" }}
{{- end }}
{{- $nats := dict
  "url" (include "baton.nats.url" .)
  "storage" $v.nats.storage
  "replicas" (int ($v.nats.streamReplicas | default $v.nats.builtin.replicas))
  "connect_timeout" "2m" }}
{{- if $v.nats.tlsSecret }}{{ $_ := set $nats "tls_ca" "/etc/baton/nats-tls/ca.crt" }}{{ end }}
{{- $lease := int $v.engine.leaseSeconds }}
{{- $own := dict
  "api" $api
  "router" (dict "linger" (printf "%ds" $lease))
  "schedule" (dict "lease" (printf "%ds" (add $lease 5)))
  "nats" $nats
  "worker" (dict
    "engine" (printf "http://127.0.0.1:%d" (int $v.engine.port))
    "metrics" (printf ":%d" (int $v.metrics.port)))
  "prefill" (dict
    "lease" (printf "%ds" $lease)
    "drain_timeout" (printf "%ds" (min 60 (int $v.workers.drainSeconds))))
  "decode" (dict
    "slots" (int $v.decode.slots)
    "drain_timeout" (printf "%ds" (int $v.workers.drainSeconds)))
  "log" (dict "format" "json") }}
{{- if eq $v.engine.kind "sim" }}
{{- $_ := set $own "sim" (dict "model" $v.model.name "lease" (printf "%ds" $lease) "max_seqs" (int $v.decode.slots)) }}
{{- end }}
{{- toYaml (mustMergeOverwrite $own (deepCopy $v.config)) }}
{{- end }}

{{/* A baton container: a dict with root, role, args (further ones) and env. */}}
{{- define "baton.container" -}}
name: baton
image: {{ include "baton.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: [{{ .role }}, --config, /etc/baton/baton.yaml]
securityContext: {{ toYaml .root.Values.containerSecurityContext | nindent 2 }}
env:
  - name: GOMEMLIMIT # bytes; a container without a limit gets the node's
    valueFrom: {resourceFieldRef: {containerName: baton, resource: limits.memory}}
  {{- include "baton.nats.env" . | nindent 2 }}
  {{- with .env }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}

{{/* Volumes of baton's containers, and where they are: dicts with root. */}}
{{- define "baton.volumes" -}}
- name: config
  configMap: {name: {{ include "baton.name" .root | quote }}}
{{- with .root.Values.nats.credsSecret }}
- name: nats-creds
  secret: {secretName: {{ . }}}
{{- end }}
{{- with .root.Values.nats.tlsSecret }}
- name: nats-tls
  secret:
    secretName: {{ . }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end }}

{{- define "baton.mounts" -}}
- {name: config, mountPath: /etc/baton/baton.yaml, subPath: baton.yaml, readOnly: true}
{{- if .root.Values.nats.credsSecret }}
- {name: nats-creds, mountPath: /etc/baton/nats, readOnly: true}
{{- end }}
{{- if .root.Values.nats.tlsSecret }}
- {name: nats-tls, mountPath: /etc/baton/nats-tls, readOnly: true}
{{- end }}
{{- end }}

{{/* The volume that models are read from. */}}
{{- define "baton.models" -}}
{{- $c := .Values.model.cache }}
- name: models
  {{- if $c.existingClaim }}
  persistentVolumeClaim: {claimName: {{ $c.existingClaim }}}
  {{- else if $c.create }}
  persistentVolumeClaim: {claimName: {{ include "baton.name" . }}-models}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
