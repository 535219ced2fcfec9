{{- define "baton.nats.url" -}}
{{- $v := .Values.nats }}
{{- if not $v.builtin.enabled -}}
{{ required "nats.url is empty and nats.builtin.enabled is false: say which NATS servers baton shall use" $v.url }}
{{- else -}}
{{- $name := include "baton.name" . }}
{{- $scheme := ternary "nats" "tls" (empty $v.tlsSecret) }}
{{- $urls := list }}
{{- range $i := until (int $v.builtin.replicas) }}
{{- $urls = append $urls (printf "%s://%s-nats-%d.%s-nats-servers:4222" $scheme $name $i $name) }}
{{- end }}
{{- join "," $urls }}
{{- end }}
{{- end }}

{{/* The Secret with users and passwords; empty: there are no users. */}}
{{- define "baton.nats.users" -}}
{{- $v := .Values.nats }}
{{- if $v.usersSecret }}{{ $v.usersSecret }}{{ else if and $v.builtin.enabled (not $v.credsSecret) }}{{ include "baton.name" . }}-nats-users{{ end }}
{{- end }}

{{/* How a process of .role proves itself to NATS. */}}
{{- define "baton.nats.env" -}}
{{- if .root.Values.nats.credsSecret }}
- name: BATON_NATS_CREDS
  value: /etc/baton/nats/{{ .role }}.creds
{{- else if include "baton.nats.users" .root }}
- name: BATON_NATS_USER
  value: {{ .role }}
- name: BATON_NATS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "baton.nats.users" .root }}, key: {{ .role }}}}
{{- end }}
{{- end }}

{{- define "baton.nats.conf" -}}
{{- $v := .Values.nats }}
server_name: $POD_NAME
listen: 0.0.0.0:4222
http: 0.0.0.0:8222
pid_file: /run/nats/nats.pid
max_payload: 1MB
lame_duck_grace_period: 5s
lame_duck_duration: 30s
jetstream {
  store_dir: /data
  max_memory_store: {{ $v.builtin.maxMemory }}
  max_file_store: {{ $v.builtin.maxFile }}
}
{{- if $v.tlsSecret }}
tls {
  cert_file: /etc/nats-tls/tls.crt
  key_file: /etc/nats-tls/tls.key
}
{{- end }}
{{- if gt (int $v.builtin.replicas) 1 }}
include cluster.conf
{{- end }}
include users.conf
{{- end }}

{{/* How built-in servers find each other: a dict with root and password. It is in a Secret for its password. */}}
{{- define "baton.nats.cluster" -}}
{{- $name := include "baton.name" .root -}}
{{- $password := .password -}}
cluster {
  name: {{ $name | quote }}
  listen: 0.0.0.0:6222
  no_advertise: true # clients know all servers by the names that certificates have
  authorization { user: server, password: {{ $password }} }
  routes: [
    {{- range $i := until (int .root.Values.nats.builtin.replicas) }}
    "nats://server:{{ $password }}@{{ $name }}-nats-{{ $i }}.{{ $name }}-nats-servers:6222"
    {{- end }}
  ]
}
{{- end }}
