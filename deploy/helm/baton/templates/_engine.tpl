{{/* The engine beside a worker: a dict with root, role and own (the values of the role). It is an init container that
stays (a sidecar): it serves before its worker starts, and is stopped after its worker has drained. */}}
{{- define "baton.engine" -}}
{{- $v := .root.Values.engine }}
name: engine
restartPolicy: Always
{{- if eq $v.kind "vllm" }}
image: {{ $v.image.repository }}:{{ $v.image.tag }}
imagePullPolicy: {{ $v.image.pullPolicy }}
command: [vllm, serve]
args: {{ include "baton.engine.vllm" . | nindent 2 }}
{{- else }}
image: {{ include "baton.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: {{ include "baton.engine.sim" . | nindent 2 }}
{{- end }}
securityContext: {{ include "baton.engine.security" .root | nindent 2 }}
env:
  - name: POD_IP
    valueFrom: {fieldRef: {fieldPath: status.podIP}}
  {{- if eq $v.kind "vllm" }}
  - {name: VLLM_NIXL_SIDE_CHANNEL_HOST, value: $(POD_IP)}
  - {name: VLLM_NIXL_SIDE_CHANNEL_PORT, value: {{ $v.sidePort | quote }}}
  - {name: HOME, value: /home/engine}
  - {name: USER, value: engine} # for Python's getpass: the user has no entry in the image's passwd
  - {name: HF_HOME, value: /models}
  {{- with .root.Values.model.tokenSecret }}
  - name: HF_TOKEN
    valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $.root.Values.model.tokenKey }}}}
  {{- end }}
  {{- end }}
  {{- with $v.apiKeySecret }}
  - name: {{ eq $v.kind "vllm" | ternary "VLLM_API_KEY" "BATON_SIM_API_KEY" }}
    valueFrom: {secretKeyRef: {name: {{ . }}, key: api-key}}
  {{- end }}
  {{- with $v.env }}{{ toYaml . | nindent 2 }}{{ end }}
ports:
  - {name: engine, containerPort: {{ $v.port }}}
  - {name: side, containerPort: {{ $v.sidePort }}}
startupProbe: # its worker starts when this has succeeded
  httpGet: {path: /health, port: engine}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ div (add $v.startSeconds 4) 5 }}
livenessProbe: # patient: an engine with full batches may be slow to answer and yet live
  httpGet: {path: /health, port: engine}
  timeoutSeconds: 10
  failureThreshold: 6
resources: {{ include "baton.engine.resources" .root | nindent 2 }}
volumeMounts:
  {{- if eq $v.kind "vllm" }}
  - {name: engine, mountPath: /home/engine, subPath: home}
  - {name: engine, mountPath: /tmp, subPath: tmp}
  - {name: shm, mountPath: /dev/shm}
  - {name: models, mountPath: /models}
  {{- else }}
  {{- include "baton.mounts" . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What baton up gives its engines, too (docs/engines.md); a test compares them. */}}
{{- define "baton.engine.vllm" -}}
{{- $v := .root.Values }}
{{- $role := get (dict "prefill" "kv_producer" "decode" "kv_consumer" "both" "kv_both") .role }}
{{- $transfer := printf "{\"kv_connector\":\"NixlConnector\",\"kv_role\":%q,\"kv_load_failure_policy\":%q,\"kv_connector_extra_config\":{\"kv_lease_duration\":%d}}" $role $v.engine.loadFailure (int $v.engine.leaseSeconds) }}
{{- $args := list $v.model.name
  "--host" "0.0.0.0" "--port" ($v.engine.port | toString)
  "--kv-transfer-config" $transfer
  "--enable-prompt-tokens-details" "--disable-uvicorn-access-log" }}
{{- if gt (int $v.engine.tensorParallel) 1 }}
{{- $args = concat $args (list "--tensor-parallel-size" ($v.engine.tensorParallel | toString)) }}
{{- end }}
{{- if eq .role "prefill" }}
{{- $args = concat $args (list "--max-num-batched-tokens" ($v.prefill.batchTokens | toString)) }}
{{- else }}
{{- $args = concat $args (list
  "--max-num-batched-tokens" ($v.decode.batchTokens | toString)
  "--long-prefill-token-threshold" ($v.decode.chunkTokens | toString)
  "--max-num-seqs" ($v.decode.slots | toString)) }}
{{- end }}
{{- include "baton.strings" (concat $args $v.model.args .own.args) }}
{{- end }}

{{- define "baton.engine.sim" -}}
{{- $v := .root.Values }}
{{- $args := list "engine" "--config" "/etc/baton/baton.yaml" "--role" .role
  (printf "--worker.sim_listen=0.0.0.0:%d" (int $v.engine.port))
  (printf "--sim.side_channel=$(POD_IP):%d" (int $v.engine.sidePort)) }}
{{- if eq .role "prefill" }}
{{- $args = append $args (printf "--sim.max_batch_tokens=%d" (int $v.prefill.batchTokens)) }}
{{- else }}
{{- $args = append $args (printf "--sim.max_batch_tokens=%d" (int $v.decode.batchTokens)) }}
{{- $args = append $args (printf "--sim.long_prefill_threshold=%d" (int $v.decode.chunkTokens)) }}
{{- end }}
{{- include "baton.strings" (concat $args .own.args) }}
{{- end }}

{{- define "baton.engine.security" -}}
{{- $s := deepCopy .Values.containerSecurityContext }}
{{- if .Values.engine.rdma.resource }}
{{- $_ := set $s "capabilities" (mergeOverwrite (dict) ($s.capabilities | default dict) (dict "add" (list "IPC_LOCK"))) }}
{{- end }}
{{- toYaml $s }}
{{- end }}

{{- define "baton.engine.resources" -}}
{{- $v := .Values.engine }}
{{- $r := deepCopy $v.resources }}
{{- if eq $v.kind "vllm" }}
{{- $devices := dict $v.gpuResource (int $v.tensorParallel) }}
{{- if $v.rdma.resource }}{{ $_ := set $devices $v.rdma.resource (int $v.rdma.count) }}{{ end }}
{{- $_ := set $r "limits" (mergeOverwrite (dict) ($r.limits | default dict) $devices) }}
{{- end }}
{{- toYaml $r }}
{{- end }}

{{/* Prefill, decode and both near each other: which pair hands over is decided per request. */}}
{{- define "baton.colocate" -}}
{{- $term := dict "topologyKey" .Values.workers.topologyKey "labelSelector" (dict
  "matchLabels" (include "baton.selector" (dict "root" .) | fromYaml)
  "matchExpressions" (list (dict "key" "app.kubernetes.io/component" "operator" "In" "values" (list "prefill" "decode" "both")))) }}
{{- if eq .Values.workers.colocate "require" }}
{{- toYaml (dict "podAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (list $term))) }}
{{- else if eq .Values.workers.colocate "prefer" }}
{{- toYaml (dict "podAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "podAffinityTerm" $term)))) }}
{{- end }}
{{- end }}

{{/* A list whose items are strings whatever --set made of them. */}}
{{- define "baton.strings" -}}
{{- range . }}
- {{ toString . | quote }}
{{- end }}
{{- end }}
