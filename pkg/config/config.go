// Package config reads the service's settings from a file (clouddriver.yml,
// with Java Clouddriver's keys and ours), the environment and flags into one
// typed and validated struct.
package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Config is every setting. A key's name on the wire is its koanf tags joined
// by dots; the environment variable is the same in capitals with underscores.
type Config struct {
	Server        Server         `koanf:"server"`
	Kubernetes    Kubernetes     `koanf:"kubernetes"`
	Watch         Watch          `koanf:"watch"`
	Cache         Cache          `koanf:"cache"`
	Snapshots     Snapshots      `koanf:"snapshots"`
	Credentials   Credentials    `koanf:"credentials"`
	Services      Services       `koanf:"services"`
	Fallback      Fallback       `koanf:"fallback"`
	Database      Database       `koanf:"database"`
	Accounts      Accounts       `koanf:"accounts"`
	Tasks         Tasks          `koanf:"tasks"`
	Jobs          Jobs           `koanf:"jobs"`
	Admin         Admin          `koanf:"admin"`
	Artifacts     Artifacts      `koanf:"artifacts"`
	ArtifactStore ArtifactStore  `koanf:"artifactStore"`
	Jenkins       Jenkins        `koanf:"jenkins"`
	Registries    DockerRegistry `koanf:"dockerRegistry"`
	Page          Page           `koanf:"page"`
	Tracing       Tracing        `koanf:"tracing"`
	Log           Log            `koanf:"log"`
	Definitions   Definitions    `koanf:"account"`

	// Files are the settings files that were read, and Ignored the keys of Java's
	// Kubernetes provider in them that have no effect.
	Files   []string `koanf:"-"`
	Ignored []string `koanf:"-"`
}

// Definitions are Java Clouddriver's settings of the accounts that are kept in
// SQL and managed by /credentials.
type Definitions struct {
	Storage Storage `koanf:"storage"`
}

// Storage says whether there are such accounts.
type Storage struct {
	Enabled    bool        `koanf:"enabled" default:"true" doc:"keep account definitions in SQL, and manage them by /credentials"`
	Kubernetes StorageKind `koanf:"kubernetes"`
	Registries StorageKind `koanf:"dockerRegistry"`
	Open       bool        `koanf:"openWithoutFiat" default:"false" doc:"without Fiat, let everybody who reaches the service manage them, as Java Clouddriver does; else they are managed as the provider API is"`
	Plugins    bool        `koanf:"allowPlugins" default:"false" doc:"let definitions name credential plugins, which are programs that this service runs, and files of this machine"`
}

// StorageKind switches one kind of account.
type StorageKind struct {
	Enabled bool `koanf:"enabled" default:"true" doc:"load accounts of this provider from the definitions"`
}

// Server is where and how the API is served.
type Server struct {
	Port              int           `koanf:"port" default:"7002" doc:"TCP port of the API"`
	Address           string        `koanf:"address" doc:"address to listen on; all of the machine's when empty"`
	MaxInFlight       int           `koanf:"maxInFlight" default:"2000" doc:"requests served at once; one more is answered 503 with Retry-After"`
	MaxLogs           int           `koanf:"maxLogs" default:"32" doc:"readers of logs, for the console and for property files, served at once"`
	Memory            int64         `koanf:"memory" default:"134217728" doc:"bytes that bodies, what is decoded of them, logs and the fallback's answers take together; a request for which there is no room is answered 503"`
	MaxStreams        int           `koanf:"maxStreams" default:"1000" doc:"streams of changes served at once"`
	NotSyncedDeadline time.Duration `koanf:"notSyncedDeadline" default:"5s" doc:"how long a read waits for an account whose first list is still running"`
	LogTimeout        time.Duration `koanf:"logTimeout" default:"30s" doc:"how long logs of containers are read, for the console and for property files"`
	ShutdownGrace     time.Duration `koanf:"shutdownGrace" default:"5s" doc:"how long after a stop signal requests are still answered, so that load balancers see that the service is not ready any more"`
	ShutdownTimeout   time.Duration `koanf:"shutdownTimeout" default:"20s" doc:"how long requests under way may take after that"`
	HealthPort        int           `koanf:"healthPort" default:"0" doc:"TCP port that answers /health, /readyz and /metrics without TLS, for probes that have no certificate; closed when 0"`
	SSL               SSL           `koanf:"ssl"`
	ReusePort         bool          `koanf:"reusePort" default:"false" doc:"let a successor listen on the same port before this process has let it go (SO_REUSEPORT)"`
}

// SSL is TLS of the API, by Spring Boot's keys for PEM files.
type SSL struct {
	Enabled          bool   `koanf:"enabled" default:"false" doc:"serve the API over TLS"`
	Certificate      string `koanf:"certificate" doc:"PEM file with the server's certificate and its chain; a newer one is used without a restart"`
	PrivateKey       string `koanf:"certificatePrivateKey" doc:"PEM file with its key"`
	TrustCertificate string `koanf:"trustCertificate" doc:"PEM file with the authorities of callers' certificates"`
	ClientAuth       string `koanf:"clientAuth" default:"none" doc:"whether callers have to show a certificate: need, want (it is checked when there is one) or none"`
}

// The values of SSL.ClientAuth.
const (
	ClientAuthNeed = "need"
	ClientAuthWant = "want"
	clientAuthNone = "none"
)

// check says what is wrong, by its key.
func (s SSL) check(bad func(key, format string, args ...any)) {
	if !slices.Contains([]string{ClientAuthNeed, ClientAuthWant, clientAuthNone}, s.ClientAuth) {
		bad("server.ssl.clientAuth", "%q is none of need, want, none", s.ClientAuth)
	}
	if !s.Enabled {
		return
	}
	if s.Certificate == "" || s.PrivateKey == "" {
		bad("server.ssl.enabled", "needs server.ssl.certificate and server.ssl.certificatePrivateKey, PEM files (Java's key stores cannot be read)")
	}
	if s.ClientAuth != clientAuthNone && s.TrustCertificate == "" {
		bad("server.ssl.clientAuth", "needs server.ssl.trustCertificate, the authorities of callers' certificates")
	}
}

// used is the endpoint, "" while no traces are sent: a platform may set the
// variable for all its programs.
func (t Tracing) used() string {
	if !t.Enabled {
		return ""
	}
	return t.Endpoint
}

// Kubernetes is which clusters there are.
type Kubernetes struct {
	Kubeconfig        string          `koanf:"kubeconfig" env:"KUBECONFIG" doc:"kubeconfig files, joined like PATH; without kubernetes.accounts every context becomes an account"`
	WatchAll          bool            `koanf:"watchAll" default:"false" doc:"accounts made from kubeconfig contexts watch every object, not only what Spinnaker manages"`
	UseDiskCache      bool            `koanf:"useDiskCache" env:"KUBERNETES_USE_DISK_CACHE" default:"false" doc:"keep on disk which kinds each cluster serves, so that a restart need not wait for it"`
	DiskCache         string          `koanf:"diskCache" default:"/var/kube/cache/clouddriver" doc:"folder for that"`
	PluginEnvironment []string        `koanf:"pluginEnvironment" doc:"variables of this process that credential plugins get beside those that their kubeconfig sets, like AWS_ROLE_ARN; PATH, HOME, proxies and certificates they have in any case"`
	CustomKinds       string          `koanf:"customKinds" env:"CUSTOM_KINDS_CONFIG_PATH" doc:"JSON file with status checks for custom kinds, as the older rewrite reads it: {\"Rollout\": {\"statusChecks\": [{\"fieldPath\": \"phase\", \"comparedValue\": \"Healthy\", \"operator\": \"EQ\"}]}}; with onMismatch: wait, a check that does not pass is waited for"`
	V2                V2              `koanf:"v2"`
	Cache             KubernetesCache `koanf:"cache"`
	Jobs              KubernetesJobs  `koanf:"jobs"`
	ArtifactBinding   ArtifactBinding `koanf:"artifactBinding"`
	Accounts          []Account       `koanf:"accounts" doc:"accounts with settings of their own, by Java Clouddriver's keys"`
}

// KubernetesCache are Java Clouddriver's settings of what it holds of clusters,
// for every account.
type KubernetesCache struct {
	CacheAll       bool     `koanf:"cacheAll" default:"false" doc:"watch every kind, so that searches find config maps, secrets (by name only), and whatever else has Spinnaker's names; Deck's forms look for them"`
	CacheKinds     []string `koanf:"cacheKinds" doc:"kinds that are watched beside those of the views"`
	CacheOmitKinds []string `koanf:"cacheOmitKinds" doc:"kinds that are not watched"`
}

// KubernetesJobs is what is told of jobs.
type KubernetesJobs struct {
	DetailedPodStatus bool `koanf:"detailedPodStatus" default:"true" doc:"tell the status of a job's pods"`
}

// V2 are Java Clouddriver's settings of deploys.
type V2 struct {
	ManagedBySuffix string `koanf:"managedBySuffix" doc:"deploy with app.kubernetes.io/managed-by spinnaker-<suffix>, and watch that, too"`
	ApplyAppLabels  bool   `koanf:"applyAppLabels" default:"true" doc:"label what is deployed; without the labels, accounts that watch only what Spinnaker manages do not see it"`
}

// ArtifactBinding is how images are matched.
type ArtifactBinding struct {
	DockerImage string `koanf:"dockerImage" default:"match-name-and-tag" doc:"match-name-and-tag replaces images whatever their tag; match-name-only replaces only those without one"`
}

// Account is one entry of kubernetes.accounts (spinnaker/clouddriver,
// KubernetesAccountProperties; accounts.md 7.2).
type Account struct {
	Name                    string              `koanf:"name"`
	Environment             string              `koanf:"environment"`
	AccountType             string              `koanf:"accountType"`
	KubeconfigFile          string              `koanf:"kubeconfigFile"`
	KubeconfigContents      string              `koanf:"kubeconfigContents"`
	Context                 string              `koanf:"context"`
	ServiceAccount          bool                `koanf:"serviceAccount"`
	Namespaces              []string            `koanf:"namespaces"`
	OmitNamespaces          []string            `koanf:"omitNamespaces"`
	Kinds                   []string            `koanf:"kinds"`
	OmitKinds               []string            `koanf:"omitKinds"`
	CustomResources         []CustomResource    `koanf:"customResources"`
	OnlySpinnakerManaged    *bool               `koanf:"onlySpinnakerManaged"`
	LabelSelector           string              `koanf:"labelSelector"`
	Permissions             map[string][]string `koanf:"permissions"`
	RequiredGroupMembership []string            `koanf:"requiredGroupMembership"`
	CacheThreads            int                 `koanf:"cacheThreads"`
	CacheIntervalSeconds    *int                `koanf:"cacheIntervalSeconds"`
	Metrics                 *bool               `koanf:"metrics"`
	// CacheAllApplicationRelationships shows kinds beside the four of the views
	// among an application's raw resources.
	CacheAllApplicationRelationships bool         `koanf:"cacheAllApplicationRelationships"`
	RawResources                     RawResources `koanf:"rawResourcesEndpointConfig"`
}

// RawResources narrows an application's raw resources to kinds that match
// regular expressions, or do not.
type RawResources struct {
	KindExpressions     []string `koanf:"kindExpressions"`
	OmitKindExpressions []string `koanf:"omitKindExpressions"`
}

// CustomResource says what Spinnaker makes of a kind of a CRD.
type CustomResource struct {
	// KubernetesKind is Kind.group: CronTab.stable.example.com.
	KubernetesKind string          `koanf:"kubernetesKind"`
	SpinnakerKind  spinnaker.Class `koanf:"spinnakerKind"`
	Versioned      bool            `koanf:"versioned"`
	// DeployPriority is a number or the name of a level.
	DeployPriority string `koanf:"deployPriority"`
}

// deployLevels are the named priorities (spinnaker/clouddriver,
// KubernetesHandler.DeployPriority).
var deployLevels = map[string]int{
	"LOWEST_PRIORITY": 1000, "WORKLOAD_ATTACHMENT_PRIORITY": 110, "WORKLOAD_PRIORITY": 100, "WORKLOAD_MODIFIER_PRIORITY": 90,
	"PDB_PRIORITY": 90, "API_SERVICE_PRIORITY": 80, "NETWORK_RESOURCE_PRIORITY": 70, "MOUNTABLE_DATA_PRIORITY": 50,
	"MOUNTABLE_DATA_BACKING_RESOURCE_PRIORITY": 40, "SERVICE_ACCOUNT_PRIORITY": 40, "STORAGE_CLASS_PRIORITY": 40, "ADMISSION_PRIORITY": 40,
	"RESOURCE_DEFINITION_PRIORITY": 30, "ROLE_BINDING_PRIORITY": 30, "ROLE_PRIORITY": 20, "NAMESPACE_PRIORITY": 0,
}

// Priority is the deploy priority as a number; 100 when it is not said.
func (c CustomResource) Priority() int {
	if n, err := strconv.Atoi(c.DeployPriority); err == nil {
		return n
	}
	if n, ok := deployLevels[strings.ToUpper(c.DeployPriority)]; ok {
		return n
	}
	return deployLevels["WORKLOAD_PRIORITY"]
}

// Watch is how clusters are watched.
type Watch struct {
	StartConcurrency int           `koanf:"startConcurrency" default:"0" doc:"lists that are read at once over all accounts; 0 for four for each processor. One whose cluster says nothing lets others go on"`
	RequestTimeout   time.Duration `koanf:"requestTimeout" default:"30s" doc:"deadline of one page of a list and of discovery"`
	StuckAfter       time.Duration `koanf:"stuckAfter" default:"3m" doc:"a kind whose watch brings no event or bookmark for this long is listed anew; API servers send a bookmark about every minute"`
	MaxListBytes     int64         `koanf:"maxListBytes" default:"2147483648" doc:"a list that is longer is broken off, and its kind is out of touch"`
	MaxListObjects   int           `koanf:"maxListObjects" default:"1000000" doc:"a list with more objects is broken off, and its kind is out of touch"`
	StartWithin      time.Duration `koanf:"startWithin" default:"2m" doc:"an account whose first lists take longer counts as failed: readiness does not wait for it any more"`
	GiveUpAfter      time.Duration `koanf:"giveUpAfter" default:"2m" doc:"when a cluster has said nothing for so long, routes that Orca decides on answer 500 with the cluster's error, which ends a stage, instead of 503, which Orca repeats without end"`
	PingAfter        time.Duration `koanf:"pingAfter" default:"10s" doc:"a silent connection is pinged after this long and dropped when the ping is not answered in half of it"`
}

// Cache is the memory for rendered answers.
type Cache struct {
	Bytes int64 `koanf:"bytes" default:"268435456" doc:"budget in bytes for rendered answers, for what they are made of (a quarter each) and for manifests (half), and at most a tenth of the memory limit (GOMEMLIMIT, or the container's); the index itself is not counted"`
}

// Snapshots are what is kept of the index from one start to the next.
type Snapshots struct {
	Directory string        `koanf:"directory" doc:"folder in which what is known of each account is kept, so that a restart serves that at once, marked as not in touch, while its watches are resumed; empty for none. The files have names, labels and images of objects and the manifests of jobs, never the bodies of Secrets; only the user of this process can read them"`
	Every     time.Duration `koanf:"every" default:"1m" doc:"how often each account is kept, and once more at the end"`
	MaxAge    time.Duration `koanf:"maxAge" default:"15m" doc:"what is older is not begun with; API servers forget what has changed after about five minutes, and are listed anew then"`
}

// Credentials are Java Clouddriver's flags of the account list.
type Credentials struct {
	ChallengeDestructiveActionsEnvironments []string `koanf:"challengeDestructiveActionsEnvironments" default:"default" doc:"environments whose accounts ask for confirmation in the UI"`
	PrimaryAccountTypes                     []string `koanf:"primaryAccountTypes" default:"default" doc:"account types that the UI lists first"`
}

// Services are the Spinnaker services that we call.
type Services struct {
	Fiat    Fiat    `koanf:"fiat"`
	Arcade  Arcade  `koanf:"arcade"`
	Front50 Front50 `koanf:"front50"`
}

// Front50 is Spinnaker's store of projects and applications.
type Front50 struct {
	URL     string        `koanf:"baseUrl" env:"FRONT50_URL" doc:"address of Front50, which knows projects and applications; without it there are no projects, and searches know only what is deployed"`
	Timeout time.Duration `koanf:"timeout" default:"10s" doc:"deadline of a call to Front50"`
}

// Fallback is another Clouddriver, usually Java's, beside which this one runs:
// it has the providers and accounts that are not ours.
type Fallback struct {
	URL         string        `koanf:"baseUrl" env:"FALLBACK_URL" doc:"address of another Clouddriver; what is asked of other providers, of accounts that are not here and of artifacts is handed over to it, and lists show what both have"`
	Timeout     time.Duration `koanf:"timeout" default:"50s" doc:"deadline of a request that is handed over"`
	ListTimeout time.Duration `koanf:"listTimeout" default:"5s" doc:"how long a list waits for the fallback's part before it goes without; after that, the list goes without for 5s"`
	MaxInFlight int           `koanf:"maxInFlight" default:"500" doc:"requests that are handed over at once, and parts of lists that are asked for at once"`
}

// Arcade gives tokens for accounts of the provider API. The variables are
// those of homedepot/go-clouddriver.
type Arcade struct {
	URL      string        `koanf:"baseUrl" env:"ARCADE_URL" doc:"address of Arcade; http://localhost:1982 when only the key is set"`
	APIKey   string        `koanf:"apiKey" env:"ARCADE_API_KEY" doc:"key that Arcade asks for"`
	Timeout  time.Duration `koanf:"timeout" default:"10s" doc:"deadline of a call to Arcade"`
	TokenTTL time.Duration `koanf:"tokenTTL" default:"1m" doc:"how long a token is used that does not say when it expires; a token that a cluster refuses is replaced at once"`
}

const matchNameOnly = "match-name-only"

// MatchNameOnly says whether only images without a tag are replaced.
func (b ArtifactBinding) MatchNameOnly() bool { return b.DockerImage == matchNameOnly }

// Configured says whether there is an Arcade to ask.
func (a Arcade) Configured() bool { return a.URL != "" }

// defaultArcade is where a sidecar listens.
const defaultArcade = "http://localhost:1982"

// Database is where providers and the record of writes are kept. The variables
// are those of homedepot/go-clouddriver, as is the rule that SQLite is used
// unless the first four are all set.
type Database struct {
	Host             string        `koanf:"host" env:"DB_HOST" doc:"MySQL server, with or without a port"`
	Name             string        `koanf:"name" env:"DB_NAME" doc:"MySQL database"`
	User             string        `koanf:"user" env:"DB_USER" doc:"MySQL user"`
	Password         string        `koanf:"password" env:"DB_PASS" doc:"MySQL password; SQLite is used when one of these four is empty"`
	Port             int           `koanf:"port" env:"DB_PORT" default:"3306" doc:"MySQL port, when the host names none"`
	TLS              string        `koanf:"tls" env:"DB_TLS" default:"false" doc:"TLS to MySQL: false, true, skip-verify or preferred"`
	TLSCA            string        `koanf:"tlsCA" env:"DB_TLS_CA" doc:"PEM file with the authorities to trust for MySQL; the system's when empty"`
	Path             string        `koanf:"path" env:"DB_PATH" default:"clouddriver.db" doc:"SQLite file"`
	LockWait         time.Duration `koanf:"lockWait" default:"30s" doc:"how long a start waits for another process to let the SQLite file go; requests are answered 503 meanwhile"`
	MaxOpen          int           `koanf:"maxOpen" default:"10" doc:"connections at most"`
	MaxIdle          int           `koanf:"maxIdle" default:"4" doc:"idle connections that are kept"`
	ConnLifetime     time.Duration `koanf:"connLifetime" default:"5m" doc:"age from which a connection is made anew"`
	ConnectTimeout   time.Duration `koanf:"connectTimeout" default:"5s" doc:"deadline of a new connection"`
	Timeout          time.Duration `koanf:"timeout" default:"10s" doc:"deadline of a statement or transaction"`
	MigrationTimeout time.Duration `koanf:"migrationTimeout" default:"30m" doc:"deadline of all migrations at a start"`
	CleanUp          CleanUp       `koanf:"cleanUp"`
	PollEvery        time.Duration `koanf:"pollEvery" default:"3s" doc:"how often replicas look for changes that others made"`
}

// CleanUp is how old rows of kubernetes_resources are removed.
type CleanUp struct {
	Every     time.Duration `koanf:"every" default:"1h" doc:"how often old rows of kubernetes_resources are removed; 0 leaves it to others"`
	OlderThan time.Duration `koanf:"olderThan" default:"6h" doc:"age from which a row that nobody needs is removed"`
	Batch     int           `koanf:"batch" default:"500" doc:"rows that one statement looks at"`
}

// MySQL says whether MySQL is used.
func (d Database) MySQL() bool {
	return d.Host != "" && d.Name != "" && d.User != "" && d.Password != ""
}

// Accounts are rules for accounts of the provider API.
type Accounts struct {
	TokenKeys      string   `koanf:"tokenKeys" env:"CLOUDDRIVER_TOKEN_KEYS" doc:"keys that seal bearer tokens in the database, id:base64 of 32 bytes, separated by commas; the first one seals, all open"`
	TokenKeysFile  string   `koanf:"tokenKeysFile" env:"CLOUDDRIVER_TOKEN_KEYS_FILE" doc:"file with such keys, one per line, instead"`
	RequireSealed  bool     `koanf:"requireSealedTokens" default:"false" doc:"refuse bearer tokens when there is no key to seal them with"`
	WatchAll       bool     `koanf:"watchAll" default:"false" doc:"accounts of the provider API watch every object, not only what Spinnaker manages"`
	AllowedHosts   []string `koanf:"allowedHosts" doc:"servers that accounts of the provider API and of definitions may have although they are not reached over https, or are this machine's or link-local: host, host:port, or a network like 10.0.0.0/8"`
	TokenHosts     []string `koanf:"tokenHosts" doc:"where tokens of Arcade may be sent, as provider=host, with *. for all of a domain; a provider that is not named gets no account then; empty for every https host"`
	MaxNamespaces  int      `koanf:"maxNamespaces" default:"250" doc:"namespaces that an account may list; each is watched by itself"`
	AllowInCluster bool     `koanf:"allowInCluster" default:"false" doc:"allow the token provider in-cluster, which lends our own service account"`
}

// Tasks is how operations run.
type Tasks struct {
	MaxWaiting    int           `koanf:"maxWaiting" default:"1000" doc:"tasks under way at once on this replica; one more is answered 503 with Retry-After"`
	MaxBytes      int64         `koanf:"maxBytes" default:"67108864" doc:"bytes of the requests of tasks under way on this replica together; one more is answered 503 with Retry-After, and tasks of other replicas wait"`
	PerAccount    int           `koanf:"perAccount" default:"16" doc:"operations that act on one account at once; the others of the account wait"`
	Lease         time.Duration `koanf:"lease" default:"15s" doc:"how long a task stays with a replica that does not answer, before another goes on with it"`
	DeleteTimeout time.Duration `koanf:"deleteTimeout" default:"10m" doc:"how long a deleted object may take to be gone"`
	KeepFor       time.Duration `koanf:"keepFor" default:"96h" doc:"how long tasks are kept after they have ended"`
	KeepWrites    time.Duration `koanf:"keepWrites" default:"96h" doc:"how long the record of written objects is kept: an application's history"`
	FollowEvery   time.Duration `koanf:"followEvery" default:"150ms" doc:"how often a replica looks for what others have written; with SQLite there are no others"`
}

// Jobs is what becomes of jobs.
type Jobs struct {
	CancelDeletes string `koanf:"cancelDeletes" default:"true" doc:"what becomes of a job when the stage that runs it is cancelled: true deletes it, suspend ends its pods and keeps it, false leaves it alone"`
}

// Admin are Java Clouddriver's settings of a shutdown.
type Admin struct {
	Tasks   AdminTasks `koanf:"tasks"`
	Port    int        `koanf:"port" default:"0" doc:"TCP port of pprof, expvar and the metrics; closed when 0"`
	Address string     `koanf:"address" default:"127.0.0.1" doc:"address to listen on for that"`

	Token     string   `koanf:"token" env:"CLOUDDRIVER_ADMIN_TOKEN" doc:"token that opens the provider API (/v1) from other machines, as Authorization: Bearer; without it, it is open on the loopback address only"`
	TokenFile string   `koanf:"tokenFile" env:"CLOUDDRIVER_ADMIN_TOKEN_FILE" doc:"file with such a token, read anew for each request"`
	Clients   []string `koanf:"clients" doc:"names of client certificates (server.ssl.clientAuth) that open it, too"`
}

// Listen is the address for net.Listen.
func (a Admin) Listen() string { return net.JoinHostPort(a.Address, fmt.Sprint(a.Port)) }

// Page is the page for people.
type Page struct {
	Enabled bool `koanf:"enabled" default:"true" doc:"serve the page for people at / and /ui"`
}

// Tracing is where traces go.
type Tracing struct {
	Enabled  bool          `koanf:"enabled" default:"false" doc:"send OpenTelemetry traces of requests, tasks and calls to clusters"`
	Endpoint string        `koanf:"endpoint" env:"OTEL_EXPORTER_OTLP_ENDPOINT" default:"http://localhost:4318" doc:"OTLP collector, over HTTP"`
	Ratio    float64       `koanf:"ratio" default:"0.1" doc:"part of the traces begun here that is kept, 0 to 1; traces begun by a caller are kept as it has decided"`
	Timeout  time.Duration `koanf:"timeout" default:"10s" doc:"deadline of a call to the collector"`
}

// AdminTasks is how long running tasks may go on.
type AdminTasks struct {
	ShutdownWaitSeconds int `koanf:"shutdownWaitSeconds" default:"600" doc:"seconds that running tasks may take after a stop signal; what is left then goes to another replica or the next start"`
}

// Fiat is Spinnaker's authorization service, by Java Clouddriver's keys
// (accounts.md 7.1).
type Fiat struct {
	Enabled          bool      `koanf:"enabled" default:"false" doc:"authorize every caller through Fiat; without it everybody who reaches the service may read everything, and X-SPINNAKER-ACCOUNTS says who may write to accounts with permissions"`
	URL              string    `koanf:"baseUrl" env:"FIAT_URL" default:"http://localhost:7003" doc:"address of Fiat"`
	LegacyFallback   bool      `koanf:"legacyFallback" default:"false" doc:"while Fiat fails, allow the accounts that X-SPINNAKER-ACCOUNTS names, and every application"`
	ConnectTimeoutMs int       `koanf:"connectTimeoutMs" default:"2000" doc:"milliseconds for a connection to Fiat"`
	ReadTimeoutMs    int       `koanf:"readTimeoutMs" default:"5000" doc:"milliseconds for Fiat's answer"`
	Cache            FiatCache `koanf:"cache"`
	Retry            FiatRetry `koanf:"retry"`
}

// FiatCache is how long Fiat's answers are used.
type FiatCache struct {
	MaxEntries   int `koanf:"maxEntries" default:"1000" doc:"users whose permissions are kept"`
	AfterSeconds int `koanf:"expiresAfterWriteSeconds" default:"60" doc:"seconds for which they are kept, so that Fiat is asked once a minute for each user; Java Clouddriver's default is 20"`
}

// FiatRetry is how often Fiat is asked again when it fails.
type FiatRetry struct {
	MaxMillis     int     `koanf:"maxBackoffMillis" default:"10000" doc:"milliseconds after which a failing Fiat is not asked again for a request, which is refused then"`
	InitialMillis int     `koanf:"initialBackoffMillis" default:"500" doc:"milliseconds of the first pause between two calls"`
	Multiplier    float64 `koanf:"retryMultiplier" default:"1.5" doc:"factor from one pause to the next"`
}

// Log is how the service logs to standard error.
type Log struct {
	Level  string `koanf:"level" default:"info" doc:"debug, info, warn or error"`
	Format string `koanf:"format" default:"text" doc:"text or json"`
	// VerboseRequests is the older rewrite's switch.
	VerboseRequests bool `koanf:"verboseRequests" env:"VERBOSE_REQUEST_LOGGING" default:"false" doc:"log every request with its headers and body, credentials masked"`
}

// Listen is the address for net.Listen.
func (s Server) Listen() string { return net.JoinHostPort(s.Address, fmt.Sprint(s.Port)) }
