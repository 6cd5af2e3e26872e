{{- define "clouddriver.name" -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{/* Of this release alone: another Clouddriver has labels of Halyard's or kustomize's. */}}
{{- define "clouddriver.selector" -}}
app.kubernetes.io/name: clouddriver
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "clouddriver.labels" -}}
{{ include "clouddriver.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: spinnaker
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "clouddriver.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create -}}{{ include "clouddriver.name" . }}
{{- else -}}default{{- end -}}
{{- end -}}

{{/* How long tasks are waited for. With SQLite nobody else can serve meanwhile, and the next start goes on with them. */}}
{{- define "clouddriver.tasksSeconds" -}}
{{- if not (kindIs "invalid" .Values.stopping.tasksSeconds) -}}{{ int .Values.stopping.tasksSeconds }}
{{- else if eq .Values.database.type "sqlite" -}}10
{{- else -}}600{{- end -}}
{{- end -}}

{{/* Whether some account is the pod's own identity. */}}
{{- define "clouddriver.asItself" -}}
{{- $itself := or .Values.accounts.inCluster.enabled (ne .Values.existingConfig.secretName "") -}}
{{- range .Values.accounts.list -}}{{- if .serviceAccount -}}{{- $itself = true -}}{{- end -}}{{- end -}}
{{- $itself -}}
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
{{- if $v.existingConfig.secretName -}}
{{- if or (gt (len $v.accounts.list) 0) $v.accounts.kubeconfig.secretName (gt (len $v.config) 0) (gt (len $v.budgets) 0) $v.tracing.enabled $v.accounts.providers.arcade.url (not $v.page.enabled) (ne (int $v.adminPort) 0) -}}
{{- fail "existingConfig.secretName: takes the place of accounts.list, accounts.kubeconfig, accounts.providers.arcade, config, budgets, tracing, page and adminPort; set them in that file." -}}
{{- end -}}
{{- if $v.accounts.inCluster.enabled -}}
{{- fail "accounts.inCluster.enabled: the accounts are those of existingConfig; set it to false, or name an account with serviceAccount: true in that file and bind rights to the service account." -}}
{{- end -}}
{{- end -}}
{{- $names := dict -}}
{{- if $v.accounts.inCluster.enabled -}}{{- $_ := set $names $v.accounts.inCluster.name "accounts.inCluster.name" -}}{{- end -}}
{{- range $v.accounts.kubeconfig.contexts -}}
{{- if hasKey $names . -}}{{- fail (printf "accounts.kubeconfig.contexts: the account %s is there already, as %s." . (get $names .)) -}}{{- end -}}
{{- $_ := set $names . "accounts.kubeconfig.contexts" -}}
{{- end -}}
{{- range $v.accounts.list -}}
{{- if hasKey $names .name -}}{{- fail (printf "accounts.list: the account %s is there already, as %s." .name (get $names .name)) -}}{{- end -}}
{{- $_ := set $names .name "accounts.list" -}}
{{- if .kubeconfigContents -}}{{- fail (printf "accounts.list: kubeconfigContents of %s would stand in a ConfigMap; put the kubeconfig into a Secret and name it with accounts.kubeconfig." .name) -}}{{- end -}}
{{- end -}}
{{- range $path, $instead := dict "server.port" "service.port" "server.ssl" "tls" "server.healthPort" "tls.clientCASecret" "admin.port" "adminPort" "admin.tasks" "stopping.tasksSeconds" "kubernetes.accounts" "accounts.list" "kubernetes.kubeconfig" "accounts.kubeconfig" "database.host" "database" "database.password" "database.mysql.passwordSecret" "database.path" "database" "accounts.tokenKeys" "accounts.providers.tokenKeysSecret" "services.arcade" "accounts.providers.arcade" "admin.token" "env, with CLOUDDRIVER_ADMIN_TOKEN from a Secret" -}}
{{- $parts := splitList "." $path -}}
{{- if hasKey (default (dict) (get $v.config (index $parts 0))) (index $parts 1) -}}
{{- fail (printf "config.%s: the chart decides it, or keeps it in a Secret; use the value %s." $path $instead) -}}
{{- end -}}
{{- end -}}
{{- if and $v.autoscaling.enabled $v.resources (not (dig "requests" "cpu" "" $v.resources)) -}}
{{- fail "resources.requests.cpu: autoscaling goes by the part of it that is used; set it." -}}
{{- end -}}
{{- if and $v.tls.clientCASecret.name (or (eq (int $v.service.port) 7003) (eq (int $v.adminPort) 7003)) -}}
{{- fail "service.port, adminPort: 7003 is the port of the probes with tls.clientCASecret." -}}
{{- end -}}
{{- if or (eq (int $v.adminPort) 7002) -}}
{{- fail "adminPort: 7002 is the port of the API." -}}
{{- end -}}
{{- if and $v.networkPolicy.enabled (eq (len $v.networkPolicy.callers) 0) -}}
{{- fail "networkPolicy.callers: nobody could call it; name Gate and Orca." -}}
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
  "admin" (dict "port" (int $v.adminPort) "tasks" (dict "shutdownWaitSeconds" (include "clouddriver.tasksSeconds" . | int)))
  "kubernetes" (dict "watchAll" (not $v.accounts.kubeconfig.onlySpinnakerManaged))
  "database" (dict "path" "/var/lib/clouddriver/clouddriver.db")
-}}
{{- if $entries -}}{{- $_ := set $config.kubernetes "accounts" $entries -}}{{- end -}}
{{- if $v.fiat.enabled -}}{{- $_ := set $config.services "fiat" (dict "enabled" true "baseUrl" $v.fiat.url) -}}{{- end -}}
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
