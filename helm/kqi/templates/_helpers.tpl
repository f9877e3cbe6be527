{{- define "kqi.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (default .Chart.Name .Values.nameOverride) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (default .Chart.Name .Values.nameOverride) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What stays the same over upgrades; the component is added by its own template. */}}
{{- define "kqi.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kqi.labels" -}}
{{ include "kqi.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "kqi.image" -}}
{{- printf "%s:%s" .image.name (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}

{{- define "kqi.secretName" -}}
{{- default (printf "%s-secrets" (include "kqi.fullname" .)) .Values.hub.existingSecret -}}
{{- end -}}

{{- define "kqi.workNamespace" -}}
{{- default (printf "%s-work" .Release.Namespace) .Values.work.namespace -}}
{{- end -}}

{{/* Where people are root in their pods: apart, for that is not for "restricted". */}}
{{- define "kqi.rootNamespace" -}}
{{- if .Values.work.root.enabled -}}
{{- default (printf "%s-root" (include "kqi.workNamespace" .)) .Values.work.root.namespace -}}
{{- end -}}
{{- end -}}

{{/* The namespaces that people's work is in, as a JSON list. */}}
{{- define "kqi.workNamespaces" -}}
{{- $found := list (include "kqi.workNamespace" .) -}}
{{- with include "kqi.rootNamespace" . }}{{- $found = append $found . }}{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- define "kqi.platformClaim" -}}
{{- if eq .Values.storage.kind "claims" -}}
{{- required "storage.claims.platform: the ReadWriteMany claim in the platform's namespace" .Values.storage.claims.platform -}}
{{- else -}}
{{- printf "%s-store" (include "kqi.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "kqi.workClaim" -}}
{{- if eq .Values.storage.kind "claims" -}}
{{- required "storage.claims.work: the claim of the same volume in the namespace of the work" .Values.storage.claims.work -}}
{{- else -}}
{{- printf "%s-store" (include "kqi.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "kqi.rootClaim" -}}
{{- if eq .Values.storage.kind "claims" -}}
{{- required "storage.claims.root: the claim of the same volume in the namespace of those who are root in their pods" .Values.storage.claims.root -}}
{{- else -}}
{{- printf "%s-store" (include "kqi.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "kqi.publicUrl" -}}
{{- if .Values.publicUrl -}}
{{- .Values.publicUrl | trimSuffix "/" -}}
{{- else if and .Values.ingress.enabled .Values.ingress.hosts -}}
{{- printf "%s://%s" (ternary "https" "http" (gt (len .Values.ingress.tls) 0)) (first .Values.ingress.hosts) -}}
{{- else if and .Values.httpRoute.enabled .Values.httpRoute.hostnames -}}
{{- printf "https://%s" (first .Values.httpRoute.hostnames) -}}
{{- else -}}
{{- fail "publicUrl: the address by which people reach the platform (or enable ingress or httpRoute with a host)" -}}
{{- end -}}
{{- end -}}

{{- define "kqi.databaseHost" -}}
{{- if eq .Values.database.kind "bundled" -}}
{{- printf "%s-database" (include "kqi.fullname" .) -}}
{{- else -}}
{{- required "database.external.host" .Values.database.external.host -}}
{{- end -}}
{{- end -}}

{{- define "kqi.databaseSecret" -}}
{{- if eq .Values.database.kind "bundled" -}}
{{- default (printf "%s-database" (include "kqi.fullname" .)) .Values.database.bundled.existingSecret -}}
{{- else -}}
{{- required "database.external.existingSecret" .Values.database.external.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* Pod Security "restricted", and a root file system that nobody writes to. */}}
{{- define "kqi.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .Values.singleuser.uid }}
runAsGroup: {{ .Values.singleuser.gid }}
fsGroup: {{ .Values.singleuser.gid }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "kqi.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "kqi.volumes" -}}
- name: config
  secret: {secretName: {{ include "kqi.fullname" . }}-config, defaultMode: 0440}
- name: secrets
  secret: {secretName: {{ include "kqi.secretName" . }}, defaultMode: 0440}
- name: database
  secret: {secretName: {{ include "kqi.databaseSecret" . }}, defaultMode: 0440}
- name: extra-config
  secret: {secretName: {{ include "kqi.fullname" . }}-extra-config, defaultMode: 0440}
- name: state
  emptyDir: {sizeLimit: 2Gi}
- name: temporary
  emptyDir: {sizeLimit: 2Gi}
- name: store
  persistentVolumeClaim: {claimName: {{ include "kqi.platformClaim" . }}}
{{- end -}}

{{- define "kqi.mounts" -}}
- {name: config, mountPath: /etc/kqi, readOnly: true}
- {name: state, mountPath: /var/lib/kqi}
- {name: secrets, mountPath: /var/lib/kqi/secrets, readOnly: true}
- {name: extra-config, mountPath: /var/lib/kqi/config.d, readOnly: true}
- {name: database, mountPath: /etc/kqi-database, readOnly: true}
- {name: temporary, mountPath: /tmp}
- {name: store, mountPath: /srv/kqi/store}
{{- end -}}

{{- define "kqi.env" -}}
- {name: KQI_HUB_CONFIG, value: /etc/kqi/kqi-hub.toml}
- {name: HOME, value: /tmp}
{{- end -}}

{{/* New pods wait for the migration of their version, old ones go on meanwhile. */}}
{{- define "kqi.waitPrepared" -}}
- name: wait-for-prepare
  image: {{ include "kqi.image" (dict "root" .root "image" .root.Values.hub.image) }}
  imagePullPolicy: {{ .root.Values.hub.image.pullPolicy }}
  command: [kqi-hub, prepare, --wait]
  env: {{- include "kqi.env" .root | nindent 4 }}
  securityContext: {{- include "kqi.containerSecurity" .root | nindent 4 }}
  resources: {{- toYaml .root.Values.prepare.resources | nindent 4 }}
  volumeMounts:
    {{- include "kqi.mounts" .root | nindent 4 }}
    {{- with .part.extraVolumeMounts }}{{- toYaml . | nindent 4 }}{{- end }}
{{- end -}}

{{/* Tolerations as the cluster writes them → as the settings do: without a value any value is meant. */}}
{{- define "kqi.tolerations" -}}
{{- $made := list -}}
{{- range . -}}
{{- $one := dict "key" .key "effect" (default "" .effect) -}}
{{- if ne (default "Equal" .operator) "Exists" }}{{- $_ := set $one "value" (default "" .value) }}{{- end -}}
{{- $made = append $made $one -}}
{{- end -}}
{{- toJson $made -}}
{{- end -}}

{{/* What a change of must restart a part for. */}}
{{- define "kqi.checksums" -}}
checksum/config: {{ include (print $.Template.BasePath "/config.yaml") . | sha256sum }}
{{- end -}}

{{/* Of a token that is said: one that was drawn does not change. */}}
{{- define "kqi.tokenChecksum" -}}
{{- with .Values.proxy.secretToken -}}
checksum/proxy-token: {{ sha256sum . }}
{{- end -}}
{{- end -}}

{{/* Network policies of the work that were kept although the values no longer have them, as a JSON list. */}}
{{- define "kqi.leftPolicies" -}}
{{- $common := printf "%s-work" (include "kqi.fullname" .) -}}
{{- $wanted := list -}}
{{- if .Values.singleuser.networkPolicy.enabled -}}
{{- $wanted = append $wanted $common -}}
{{- range $tenant, $one := .Values.singleuser.tenants -}}
{{- if $one.networkPolicy }}{{- $wanted = append $wanted (printf "%s-%s" $common $tenant) }}{{- end -}}
{{- end -}}
{{- end -}}
{{- $left := list -}}
{{- range $space := fromJsonArray (include "kqi.workNamespaces" .) -}}
{{- range (lookup "networking.k8s.io/v1" "NetworkPolicy" $space "").items -}}
{{- $ours := eq $.Release.Name (get (default dict .metadata.labels) "app.kubernetes.io/instance") -}}
{{- if and $ours (hasPrefix $common .metadata.name) (not (has .metadata.name $wanted)) -}}
{{- $left = append $left (dict "space" $space "name" .metadata.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $left -}}
{{- end -}}

{{/* An IPv4 address as a number. */}}
{{- define "kqi.ipv4" -}}
{{- $octets := splitList "." . -}}
{{- add (mul 16777216 (atoi (index $octets 0))) (mul 65536 (atoi (index $octets 1))) (mul 256 (atoi (index $octets 2))) (atoi (index $octets 3)) -}}
{{- end -}}

{{/* Whether network `inner` lies in network `outer`: "true" or nothing. */}}
{{- define "kqi.within" -}}
{{- $inner := splitList "/" .inner -}}{{- $outer := splitList "/" .outer -}}
{{- $length := atoi (index $outer 1) -}}
{{- $size := 1 -}}{{- range until (int (sub 32 $length)) }}{{- $size = mul $size 2 }}{{- end -}}
{{- $first := div (int64 (include "kqi.ipv4" (index $inner 0))) $size -}}
{{- if and (ge (atoi (index $inner 1)) $length) (eq $first (div (int64 (include "kqi.ipv4" (index $outer 0))) $size)) -}}true{{- end -}}
{{- end -}}

{{/* Networks that stay closed to people's work whatever is opened, as a JSON list: what tells machines who they are (link-local;
of Azure, Oracle and Alibaba), the cluster's own, and what the cluster says of its apiserver and services. */}}
{{- define "kqi.never" -}}
{{- $found := list "169.254.0.0/16" "168.63.129.16/32" "192.0.0.192/32" "100.100.100.200/32" -}}
{{- with .Values.singleuser.networkPolicy -}}
{{- $found = concat $found .cluster -}}
{{- if .lookup -}}
{{- range (lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "").items -}}
{{- if and (eq .addressType "IPv4") (eq (get (default dict .metadata.labels) "kubernetes.io/service-name") "kubernetes") -}}
{{- range .endpoints }}{{- range .addresses }}{{- $found = append $found (printf "%s/32" .) }}{{- end }}{{- end -}}
{{- end -}}
{{- end -}}
{{- if $.Capabilities.APIVersions.Has "networking.k8s.io/v1/ServiceCIDR" -}}
{{- range (lookup "networking.k8s.io/v1" "ServiceCIDR" "" "").items -}}
{{- range .spec.cidrs }}{{- if not (contains ":" .) }}{{- $found = append $found . }}{{- end }}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson (uniq $found) -}}
{{- end -}}

{{/* The block of a policy for a network that is opened, without what stays closed in it. */}}
{{- define "kqi.block" -}}
{{- $except := list -}}
{{- range fromJsonArray (include "kqi.never" .root) -}}
{{- if include "kqi.within" (dict "inner" $.network "outer" .) -}}
{{- fail (printf "singleuser.networkPolicy: %s lies in %s, which stays closed to people's work" $.network .) -}}
{{- end -}}
{{- if include "kqi.within" (dict "inner" . "outer" $.network) }}{{- $except = append $except . }}{{- end -}}
{{- end -}}
{{- $block := dict "cidr" .network -}}
{{- with uniq (concat (default list .closed) $except) }}{{- $_ := set $block "except" . }}{{- end -}}
{{- toJson (dict "ipBlock" $block) -}}
{{- end -}}
