{{- define "clouddriver.name" -}}
{{- default "spin-clouddriver" .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "clouddriver.selector" -}}
app: spin
cluster: {{ include "clouddriver.name" . }}
{{- end -}}

{{- define "clouddriver.labels" -}}
{{ include "clouddriver.selector" . }}
app.kubernetes.io/name: clouddriver
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "clouddriver.serviceAccount" -}}
{{- default (include "clouddriver.name" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "clouddriver.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- if .Values.image.digest -}}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{- else -}}{{ .Values.image.repository }}:{{ $tag }}{{- end -}}
{{- end -}}

{{/* The sizing table of docs/operations.md; the soft limit of Go's heap leaves a tenth. */}}
{{- define "clouddriver.sizes" -}}
small:  {cpu: 250m, memory: 512Mi, limit: "483183820"}
medium: {cpu: "1", memory: 1Gi, limit: "966367641"}
large:  {cpu: "2", memory: 2Gi, limit: "1932735283"}
fleet:  {cpu: "4", memory: 4Gi, limit: "3865470566"}
{{- end -}}

{{/* Everything that contradicts itself, each with what to do. */}}
{{- define "clouddriver.check" -}}
{{- $v := .Values -}}
{{- $replicas := int $v.replicaCount -}}
{{- if and (eq $v.database.type "sqlite") (gt $replicas 1) -}}
{{- fail "replicaCount: SQLite serves one replica; set database.type to mysql for more." -}}
{{- end -}}
{{- if and (eq $v.database.type "sqlite") $v.autoscaling.enabled -}}
{{- fail "autoscaling.enabled: SQLite serves one replica; set database.type to mysql for more." -}}
{{- end -}}
{{- if eq $v.database.type "mysql" -}}
{{- if not $v.database.mysql.host -}}{{- fail "database.mysql.host: say where MySQL is, or set database.type to sqlite." -}}{{- end -}}
{{- if not $v.database.mysql.passwordSecret.name -}}{{- fail "database.mysql.passwordSecret.name: name the Secret with MySQL's password." -}}{{- end -}}
{{- if and $v.database.mysql.caSecret.name (eq (toString $v.database.mysql.tls) "false") -}}{{- fail "database.mysql.caSecret: an authority is of no use without TLS; set database.mysql.tls to true." -}}{{- end -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas: is more than autoscaling.maxReplicas." -}}
{{- end -}}
{{- $others := or $v.accounts.inCluster.enabled (gt (len $v.accounts.list) 0) -}}
{{- if and $v.existingConfig.secretName (or (gt (len $v.accounts.list) 0) $v.accounts.kubeconfig.secretName (gt (len $v.config) 0)) -}}
{{- fail "existingConfig.secretName: takes the place of accounts.list, accounts.kubeconfig and config; set one or the other." -}}
{{- end -}}
{{- if and $v.accounts.kubeconfig.secretName $others (eq (len $v.accounts.kubeconfig.contexts) 0) -}}
{{- fail "accounts.kubeconfig.contexts: name the contexts that become accounts beside accounts.inCluster and accounts.list, or switch those off." -}}
{{- end -}}
{{- if and $v.accounts.kubeconfig.contexts (not $v.accounts.kubeconfig.secretName) -}}
{{- fail "accounts.kubeconfig.secretName: name the Secret that holds the kubeconfig of accounts.kubeconfig.contexts." -}}
{{- end -}}
{{- if and $v.accounts.inCluster.enabled (not $v.serviceAccount.create) (not $v.serviceAccount.name) -}}
{{- fail "serviceAccount.name: name the service account of the in-cluster account, or let serviceAccount.create make it." -}}
{{- end -}}
{{- if $v.fiat.enabled -}}
{{- fail "fiat.enabled: authorization through Fiat is not supported yet, and the service would not start." -}}
{{- end -}}
{{- if and $v.tls.clientCASecret.name (not $v.tls.secretName) -}}
{{- fail "tls.secretName: client certificates are asked for on TLS only; name the Secret with the server's certificate." -}}
{{- end -}}
{{- if and $v.tracing.enabled (not $v.tracing.endpoint) -}}
{{- fail "tracing.endpoint: say where the OpenTelemetry collector is, like http://collector:4318." -}}
{{- end -}}
{{- end -}}

{{/* The settings, without secrets: those come from the environment. */}}
{{- define "clouddriver.config" -}}
{{- $v := .Values -}}
{{- $entries := list -}}
{{- with $v.accounts.inCluster -}}
{{- if .enabled -}}
{{- $one := dict "name" .name "serviceAccount" true "onlySpinnakerManaged" .onlySpinnakerManaged -}}
{{- with .namespaces -}}{{- $_ := set $one "namespaces" . -}}{{- end -}}
{{- $entries = append $entries $one -}}
{{- end -}}
{{- end -}}
{{- range $v.accounts.kubeconfig.contexts -}}
{{- $entries = append $entries (dict "name" . "context" . "kubeconfigFile" (printf "/etc/clouddriver/kubeconfig/%s" $v.accounts.kubeconfig.key) "onlySpinnakerManaged" $v.accounts.kubeconfig.onlySpinnakerManaged) -}}
{{- end -}}
{{- $entries = concat $entries $v.accounts.list -}}
{{- $config := dict
  "server" (dict "port" 7002)
  "services" (dict "front50" (dict "baseUrl" $v.front50.url))
  "page" (dict "enabled" $v.page.enabled)
  "log" (dict "level" $v.log.level "format" $v.log.format)
  "admin" (dict "port" (int $v.adminPort) "tasks" (dict "shutdownWaitSeconds" (int $v.stopping.tasksSeconds)))
  "kubernetes" (dict "enabled" true)
  "database" (dict "path" "/var/lib/clouddriver/clouddriver.db")
-}}
{{- if $entries -}}{{- $_ := set $config.kubernetes "accounts" $entries -}}{{- end -}}
{{- with $v.fallback.url -}}{{- $_ := set $config "fallback" (dict "baseUrl" .) -}}{{- end -}}
{{- with $v.accounts.providers.arcade.url -}}{{- $_ := set $config.services "arcade" (dict "baseUrl" .) -}}{{- end -}}
{{- if $v.tracing.enabled -}}{{- $_ := set $config "tracing" (dict "enabled" true "endpoint" $v.tracing.endpoint "ratio" $v.tracing.ratio) -}}{{- end -}}
{{- if $v.tls.secretName -}}
{{- $ssl := dict "enabled" true "certificate" "/etc/clouddriver/tls/tls.crt" "certificatePrivateKey" "/etc/clouddriver/tls/tls.key" -}}
{{- if $v.tls.clientCASecret.name -}}{{- $_ := set $ssl "trustCertificate" (printf "/etc/clouddriver/client-ca/%s" $v.tls.clientCASecret.key) -}}{{- $_ := set $ssl "clientAuth" "need" -}}{{- end -}}
{{- if $v.tls.clientCASecret.name -}}{{- $_ := set $config.server "healthPort" 7003 -}}{{- end -}}
{{- $_ := set $config.server "ssl" $ssl -}}
{{- end -}}
{{- range $key, $value := $v.budgets -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $parts := splitList "." $key -}}
{{- $section := default (dict) (get $config (index $parts 0)) -}}
{{- $_ := set $section (index $parts 1) (int64 $value) -}}
{{- $_ := set $config (index $parts 0) $section -}}
{{- end -}}
{{- end -}}
{{- toYaml (mergeOverwrite $config (deepCopy $v.config)) -}}
{{- end -}}
