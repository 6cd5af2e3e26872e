package config

// DockerRegistry are the registries whose images and charts start pipelines, by
// Java Clouddriver's keys (docker-registry.md 2). Without Enabled, the accounts are
// for charts that are fetched (helm/image) only.
type DockerRegistry struct {
	Enabled  bool              `koanf:"enabled" default:"false" doc:"list the images and charts of dockerRegistry.accounts, for triggers and forms"`
	Primary  string            `koanf:"primaryAccount" doc:"accepted for Java Clouddriver's sake, and of no effect"`
	Accounts []RegistryAccount `koanf:"accounts"`
}

// RegistryAccount is one registry. Numbers that are 0 have Java Clouddriver's
// defaults.
type RegistryAccount struct {
	Name        string              `koanf:"name"`
	Environment string              `koanf:"environment"`
	AccountType string              `koanf:"accountType"`
	Permissions map[string][]string `koanf:"permissions"`

	// Address is a URL; without a scheme, it is one of https.
	Address string `koanf:"address"`
	// Username goes with at most one of the four after it.
	Username         string `koanf:"username"`
	Password         string `koanf:"password"`
	PasswordFile     string `koanf:"passwordFile"`
	PasswordCommand  string `koanf:"passwordCommand"`
	DockerconfigFile string `koanf:"dockerconfigFile"`
	Email            string `koanf:"email"`
	InsecureRegistry bool   `koanf:"insecureRegistry"`

	// At most one of the first three says which repositories there are; the
	// registry does where none is.
	Repositories        []string `koanf:"repositories"`
	CatalogFile         string   `koanf:"catalogFile"`
	RepositoriesRegex   string   `koanf:"repositoriesRegex"`
	Skip                []string `koanf:"skip"`
	HelmOciRepositories []string `koanf:"helmOciRepositories"`

	CacheIntervalSeconds int64 `koanf:"cacheIntervalSeconds"`
	CacheThreads         int   `koanf:"cacheThreads"`
	ClientTimeoutMillis  int64 `koanf:"clientTimeoutMillis"`
	PaginateSize         int   `koanf:"paginateSize"`
	// ItemUpperThreshold is Igor's, which reads it from the account.
	ItemUpperThreshold int `koanf:"itemUpperThreshold"`

	TrackDigests   bool `koanf:"trackDigests"`
	InspectDigests bool `koanf:"inspectDigests"`
	SortTagsByDate bool `koanf:"sortTagsByDate"`
}
