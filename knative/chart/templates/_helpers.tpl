{{/* All functions by name, with their properties from the catalogue. Call it with $. */}}
{{- define "punctual.functions" -}}
{{- $functions := .Files.Get "files/functions.yaml" | fromYaml -}}
{{- range $name, $_ := .Values.functions }}
{{- if not (hasKey $functions $name) }}{{ fail (printf "functions.%s: no such function" $name) }}{{ end }}
{{- end }}
{{- toYaml $functions -}}
{{- end -}}

{{/* A function's settings: its own override the defaults, and the catalogue overrides both. Call it with (dict "root" $ "name" $name). */}}
{{- define "punctual.function" -}}
{{- $settings := deepCopy (index .root.Values.functions .name | default dict) -}}
{{- $catalogue := index (include "punctual.functions" .root | fromYaml) .name -}}
{{- $function := mergeOverwrite (deepCopy .root.Values.defaults) $settings $catalogue -}}
{{- if and $function.daprd (lt (int $function.concurrency) 1) }}{{ fail (printf "functions.%s: concurrency is below 1" .name) }}{{ end -}}
{{- merge $function (dict "connections" (max 3 (add $function.concurrency 1))) | toYaml -}}
{{- end -}}

{{/* The names of the functions for which the catalogue sets `fact`. Call it with (dict "root" $ "fact" "daprd"). */}}
{{- define "punctual.names" -}}
{{- $names := list -}}
{{- range $name, $function := include "punctual.functions" .root | fromYaml }}
{{- if index $function $.fact }}{{ $names = append $names $name }}{{ end }}
{{- end }}
{{- join ", " $names -}}
{{- end -}}

{{- define "punctual.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: punctual
{{- end -}}

{{- define "punctual.image" -}}
{{- $image := .root.Values.image -}}
{{ required "image.registry is not set" $image.registry }}/{{ .name }}
{{- if $image.digests -}}
@{{ index $image.digests .name | required (printf "image.digests.%s is not set, and other digests are" .name) }}
{{- else -}}
:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The number of a function's pods: the least and the most. Call it as punctual.function. */}}
{{- define "punctual.pods" -}}
{{- $function := include "punctual.function" . | fromYaml -}}
{{- $least := $function.minScale -}}
{{- $most := $function.maxScale -}}
{{- if not .root.Values.knative.enabled -}}
  {{- $least = max 1 $least -}}
  {{- if not .root.Values.autoscaling.cpu }}{{ $most = $least }}{{ end -}}
{{- end -}}
{{- if gt (int $least) (int $most) }}{{ fail (printf "functions.%s: minScale is above maxScale" .name) }}{{ end -}}
least: {{ $least }}
most: {{ $most }}
{{- end -}}

{{/* The restricted Pod Security Standard, with a read-only root file system. */}}
{{- define "punctual.securityContext" -}}
allowPrivilegeEscalation: false
capabilities: { drop: [ALL] }
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{/* Pod settings outside Knative. They apply to all containers, including the injected daprd. */}}
{{- define "punctual.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- include "punctual.placement" . }}
{{- end -}}

{{/* Where pods run. Starts with a new line, or is empty. */}}
{{- define "punctual.placement" -}}
{{- with .Values.pods }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Spreads pods over zones. Call it with (dict "root" $ "selector" <label selector>). Starts with a new line, or is empty. */}}
{{- define "punctual.spread" -}}
{{- with .root.Values.pods.spread }}
topologySpreadConstraints:
{{- range . }}
  - { topologyKey: {{ . }}, maxSkew: 1, whenUnsatisfiable: ScheduleAnyway, labelSelector: {{ $.selector }} }
{{- end }}
{{- end }}
{{- end -}}

{{/* The volumes of a pod; `secretReader` adds the token of the daprd that reads secrets. Starts with a new line, or is empty. */}}
{{- define "punctual.volumes" -}}
{{- $volumes := .root.Values.pods.volumes -}}
{{- with .root.Values.database.ca -}}
{{- if .configMap -}}
  {{- $item := dict "key" .key "path" "ca.crt" -}}
  {{- $volumes = append $volumes (dict "name" "database-ca" "configMap" (dict "name" .configMap "items" (list $item))) -}}
{{- end -}}
{{- end -}}
{{- if .secretReader }}{{ $volumes = append $volumes (include "punctual.secretReader" .root | fromYaml) }}{{ end -}}
{{- with $volumes }}
volumes: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The volume mounts of a container of ours. Starts with a new line, or is empty. */}}
{{- define "punctual.volumeMounts" -}}
{{- $mounts := .Values.pods.volumeMounts -}}
{{- if .Values.database.ca.configMap -}}
  {{- $mounts = append $mounts (dict "name" "database-ca" "mountPath" "/etc/punctual" "readOnly" true) -}}
{{- end -}}
{{- with $mounts }}
volumeMounts: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "punctual.fromSecret" -}}
valueFrom: { secretKeyRef: { name: {{ .name }}, key: {{ .key }} } }
{{- end -}}

{{/* The database of a container, by its Secret. Call it with (dict "root" $ "secret" <name and key>). */}}
{{- define "punctual.databaseUrl" -}}
- name: DATABASE_URL
  {{- include "punctual.fromSecret" .secret | nindent 2 }}
{{- if .root.Values.database.ca.configMap }}
- name: PGSSLROOTCERT
  value: /etc/punctual/ca.crt
{{- end }}
{{- end -}}

{{/* The environment of migrate, which no pooler can serve. */}}
{{- define "punctual.migrateEnv" -}}
{{- include "punctual.databaseUrl" (dict "root" . "secret" (.Values.secrets.migrateDatabase | default .Values.secrets.database)) -}}
{{- end -}}

{{/* The Secret with the API token of a function's daprd. The daprd that reads secrets has its own. */}}
{{- define "punctual.daprApiToken" -}}
{{- $function := include "punctual.function" . | fromYaml -}}
{{- ternary .root.Values.secrets.reminderDueDaprApiToken .root.Values.secrets.daprApiToken $function.secrets -}}
{{- end -}}

{{/* Who may invoke the one function that is invoked. */}}
{{- define "punctual.accessControl" -}}
defaultAction: deny
policies:
{{- range $name, $function := include "punctual.functions" . | fromYaml }}
{{- if $function.invokes }}
  - appId: {{ $name }}
    defaultAction: deny
    trustDomain: public
    namespace: {{ $.Release.Namespace }}
    operations: [{ name: /send-now, httpVerb: [POST], action: allow }]
{{- end }}
{{- end }}
{{- end -}}

{{/* The origin of the page, if it is not that of the API. */}}
{{- define "punctual.pageOrigin" -}}
{{- with .Values.ingress.hosts.page }}{{ if $.Values.knative.enabled }}https://{{ . }}{{ end }}{{ end }}
{{- end -}}

{{/* A function's environment: the variables of shared/src/config.rs, and settings that only one function reads. */}}
{{- define "punctual.env" -}}
{{- $root := .root -}}
{{- $name := .name -}}
{{- $values := $root.Values -}}
{{- $function := include "punctual.function" . | fromYaml -}}
{{- $sidecar := ternary (printf "%s-daprd" $name) "127.0.0.1" (or $values.knative.enabled (hasKey . "job")) -}}
{{- if $function.database }}
{{ include "punctual.databaseUrl" (dict "root" $root "secret" $values.secrets.database) }}
{{- end }}
{{- if and (eq $name "updates") $values.secrets.listenDatabase }}
- name: LISTEN_DATABASE_URL
  {{- include "punctual.fromSecret" $values.secrets.listenDatabase | nindent 2 }}
{{- end }}
{{- if $function.daprd }}
- name: DAPR_API_TOKEN
  {{- include "punctual.fromSecret" (dict "name" (include "punctual.daprApiToken" .) "key" "token") | nindent 2 }}
{{- if $function.repairs }}
- name: REMINDER_DUE_DAPR_API_TOKEN
  {{- include "punctual.fromSecret" (dict "name" $values.secrets.reminderDueDaprApiToken "key" "token") | nindent 2 }}
{{- end }}
- name: APP_API_TOKEN
  {{- include "punctual.fromSecret" (dict "name" $values.secrets.appApiToken "key" "token") | nindent 2 }}
{{- end }}
{{- if and $function.authenticates (not $values.auth.jwksUrl) }}
- name: JWT_SECRET
  {{- include "punctual.fromSecret" $values.secrets.jwt | nindent 2 }}
{{- end }}
{{- if or (eq $name "tasks") (eq $name "reminder-due") }}
{{- if $values.page.url }}{{ $_ := required "secrets.action is not set, and page.url needs it" $values.secrets.action.name }}{{ end -}}
{{- with $values.secrets.action }}
- name: ACTION_KEY
  {{- include "punctual.fromSecret" . | nindent 2 }}
{{- end }}
{{- end }}
{{- if eq $name "tasks" }}
{{- with $values.secrets.formerAction }}
- name: FORMER_ACTION_KEY
  {{- include "punctual.fromSecret" . | nindent 2 }}
{{- end }}
{{- end }}
{{- $env := dict -}}
{{- if $function.database -}}
  {{- $_ := set $env "DATABASE_CONNECTIONS" $function.connections -}}
{{- end -}}
{{- if $function.daprd -}}
  {{- $_ := set $env "DAPR_GRPC_ENDPOINT" (printf "http://%s:50001" $sidecar) -}}
  {{- $invoked := include "punctual.names" (dict "root" $root "fact" "invoked") -}}
  {{- $_ := set $env "ALARM_DAPR_ENDPOINT" (printf "http://%s-daprd:50001" $invoked) -}}
{{- end -}}
{{- if eq $name "tasks" -}}
  {{- /* The places of one user are a quarter of the pod's. */ -}}
  {{- $places := max 1 (div $function.concurrency 4) -}}
  {{- $turns := min 3 $places -}}
  {{- $_ := set $env "USER_REQUESTS_AT_A_TIME" $turns -}}
  {{- $_ := set $env "USER_REQUESTS_WAITING" (sub $places $turns) -}}
  {{- with $values.push.vapidPublicKeys }}{{ $_ := set $env "VAPID_PUBLIC_KEYS" (join "," .) }}{{ end -}}
{{- end -}}
{{- if $function.authenticates -}}
  {{- with $values.auth.jwksUrl -}}
    {{- $_ := set $env "JWKS_URL" . -}}
    {{- $_ := required "auth.issuer is not set, and auth.jwksUrl needs it" $values.auth.issuer -}}
    {{- $_ := required "auth.audience is not set, and auth.jwksUrl needs it" $values.auth.audience -}}
  {{- end -}}
  {{- with $values.auth.issuer }}{{ $_ := set $env "JWT_ISSUER" . }}{{ end -}}
  {{- with $values.auth.audience }}{{ $_ := set $env "JWT_AUDIENCE" . }}{{ end -}}
  {{- with $values.auth.operatorScope }}{{ $_ := set $env "JWT_OPERATOR_SCOPE" . }}{{ end -}}
  {{- if kindIs "bool" $values.auth.emailVerifiedRequired -}}
    {{- $_ := set $env "JWT_EMAIL_VERIFIED_REQUIRED" $values.auth.emailVerifiedRequired -}}
  {{- end -}}
  {{- if $values.auth.idTokens }}{{ $_ := set $env "JWT_ID_TOKENS" true }}{{ end -}}
  {{- $origin := include "punctual.pageOrigin" $root -}}
  {{- $origins := concat (ternary (list $origin) (list) (ne $origin "")) $values.page.origins | uniq -}}
  {{- with $origins }}{{ $_ := set $env "CORS_ORIGINS" (join "," .) }}{{ end -}}
{{- end -}}
{{- if eq $name "page" -}}
  {{- if $values.knative.enabled -}}
    {{- with $values.ingress.hosts.api | default $values.ingress.host }}{{ $_ := set $env "API_URL" (printf "https://%s" .) }}{{ end -}}
    {{- with $values.ingress.hosts.live }}{{ $_ := set $env "UPDATES_URL" (printf "https://%s" .) }}{{ end -}}
  {{- else -}}
    {{- /* The Ingress serves everything at one host. */ -}}
    {{- $_ := set $env "UPDATES_URL" "/" -}}
  {{- end -}}
  {{- with $values.page.oidc -}}
    {{- if .clientId -}}
      {{- $issuer := .issuer | default $values.auth.issuer | required "page.oidc.issuer is not set, and page.oidc.clientId needs it" -}}
      {{- $_ := set $env "OIDC_ISSUER" $issuer -}}
      {{- $_ := set $env "OIDC_CLIENT_ID" .clientId -}}
      {{- if .scope }}{{ $_ := set $env "OIDC_SCOPE" .scope }}{{ end -}}
      {{- if .audience }}{{ $_ := set $env "OIDC_AUDIENCE" .audience }}{{ end -}}
      {{- if .origins }}{{ $_ := set $env "OIDC_ORIGINS" (join "," .origins) }}{{ end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if or (eq $name "tasks") (eq $name "reminder-due") -}}
  {{- with $values.push.hosts }}{{ $_ := set $env "PUSH_HOSTS" (join "," .) }}{{ end -}}
{{- end -}}
{{- if eq $name "reminder-due" -}}
  {{- $_ := set $env "EMAIL_PROVIDER" $values.email.provider -}}
  {{- $_ := set $env "EMAIL_FROM" (required "email.from is not set" $values.email.from) -}}
  {{- with $values.email.smtpUrl }}{{ $_ := set $env "SMTP_URL" . }}{{ end -}}
  {{- with $values.page.url }}{{ $_ := set $env "PAGE_URL" . }}{{ end -}}
  {{- with $values.email.mailgunDomain }}{{ $_ := set $env "MAILGUN_DOMAIN" . }}{{ end -}}
{{- end -}}
{{- if $function.repairs -}}
  {{- $secrets := include "punctual.names" (dict "root" $root "fact" "secrets") -}}
  {{- $_ := set $env "REMINDER_DUE_DAPR_ENDPOINT" (printf "http://%s-daprd:50001" $secrets) -}}
  {{- $_ := set $env "REPAIR_INTERVAL_SECONDS" (mul $values.repair.everyMinutes 60) -}}
  {{- $_ := set $env "REPAIR_AFTER_SECONDS" $values.repair.afterSeconds -}}
{{- end -}}
{{- range $key, $value := mergeOverwrite $env (deepCopy $values.env) (deepCopy $function.env) }}
- name: {{ $key }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end -}}

{{/* Annotations that make Dapr's injector add a function's daprd to a pod. */}}
{{- define "punctual.daprd" -}}
{{- $values := .root.Values -}}
{{- $function := include "punctual.function" . | fromYaml -}}
{{- $env := list -}}
{{- $ca := and $function.secrets $values.database.ca.configMap -}}
{{- $variables := mergeOverwrite (deepCopy $values.broker.env) (deepCopy $values.dapr.env) -}}
{{- if $ca }}{{ $_ := set $variables "PGSSLROOTCERT" "/etc/punctual/ca.crt" }}{{ end -}}
{{- range $key, $value := $variables }}{{ $env = append $env (printf "%s=%v" $key $value) }}{{ end -}}
{{- $secrets := list -}}
{{- range $key, $value := $values.broker.envFromSecret }}{{ $secrets = append $secrets (printf "%s=%s" $key $value) }}{{ end -}}
{{- if $function.secrets -}}
  {{- $secrets = append $secrets (printf "STATE_DATABASE_URL=%s:%s" $values.secrets.stateDatabase.name $values.secrets.stateDatabase.key) -}}
{{- end -}}
dapr.io/enabled: "true"
dapr.io/app-id: {{ .name }}
dapr.io/app-port: "8080"
dapr.io/app-max-concurrency: {{ mul $function.concurrency (ternary $function.maxScale 1 $values.knative.enabled) | toString | quote }}
dapr.io/config: {{ .name }}
dapr.io/api-token-secret: {{ include "punctual.daprApiToken" . }}
dapr.io/app-token-secret: {{ $values.secrets.appApiToken }}
# Subscriptions are resources. If daprd asked the application for them, it would wake the function.
dapr.io/disable-init-endpoints: config,subscribe
# The function calls daprd from its own pod, and other functions call the daprds whose jobs they arm. All send the API token.
dapr.io/sidecar-listen-addresses: "0.0.0.0"
# Otherwise daprd needs the pod's service account token to start.
dapr.io/disable-builtin-k8s-secret-store: "true"
# daprd keeps working until no Service routes to it, then waits for running handlers.
dapr.io/block-shutdown-duration: 3s
dapr.io/graceful-shutdown-seconds: "30"
dapr.io/log-as-json: "true"
dapr.io/log-level: {{ $values.dapr.logLevel }}
dapr.io/sidecar-seccomp-profile-type: RuntimeDefault
dapr.io/sidecar-cpu-request: {{ $values.dapr.resources.requests.cpu }}
dapr.io/sidecar-memory-request: {{ $values.dapr.resources.requests.memory }}
dapr.io/sidecar-memory-limit: {{ $values.dapr.resources.limits.memory }}
{{- with $env }}
dapr.io/env: {{ join "," . | quote }}
{{- end }}
{{- with $secrets }}
dapr.io/env-from-secret: {{ join "," . | quote }}
{{- end }}
{{- if $function.secrets }}
dapr.io/volume-mounts: secret-reader:/var/run/secrets/kubernetes.io/serviceaccount{{ if $ca }},database-ca:/etc/punctual{{ end }}
{{- end }}
# Hot reload is off, so a change of the Dapr resources must replace the pod.
punctual/dapr: {{ include (print .root.Template.BasePath "/dapr.yaml") .root | sha256sum }}
{{- with $values.pods.annotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Service account token with which one daprd alone reads the email provider's secrets. */}}
{{- define "punctual.secretReader" -}}
name: secret-reader
projected:
  sources:
    - serviceAccountToken: { path: token, expirationSeconds: 3600 }
    - configMap: { name: kube-root-ca.crt, items: [{ key: ca.crt, path: ca.crt }] }
    - downwardAPI: { items: [{ path: namespace, fieldRef: { fieldPath: metadata.namespace } }] }
{{- end -}}
