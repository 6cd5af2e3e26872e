package config

// Artifacts are the artifact accounts, by Java Clouddriver's keys (artifacts.md 4
// and 8.3), and bounds of what is fetched.
type Artifacts struct {
	CredentialsDir string           `koanf:"credentialsDir" env:"ARTIFACTS_CREDENTIALS_CONFIG_DIR" doc:"folder with artifact accounts, a JSON file for each, as the older rewrite has them"`
	MaxBytes       int64            `koanf:"maxBytes" default:"10737418240" doc:"bytes of an artifact; a larger one is broken off"`
	MaxFetches     int              `koanf:"maxFetches" default:"64" doc:"artifacts that are fetched at once; one more is answered 503 with Retry-After"`
	CacheBytes     int64            `koanf:"cacheBytes" default:"268435456" doc:"bytes of artifacts that are kept on disk (in TMPDIR), and asked about before they are used again; 0 keeps none"`
	GitHub         ArtifactAccounts `koanf:"github"`
	GitLab         ArtifactAccounts `koanf:"gitlab"`
	Bitbucket      ArtifactAccounts `koanf:"bitbucket"`
	HTTP           ArtifactAccounts `koanf:"http"`
	Helm           ArtifactAccounts `koanf:"helm"`
	Maven          ArtifactAccounts `koanf:"maven"`
	Ivy            ArtifactAccounts `koanf:"ivy"`
	S3             ArtifactAccounts `koanf:"s3"`
	GCS            ArtifactAccounts `koanf:"gcs"`
	Oracle         ArtifactAccounts `koanf:"oracle"`
	GitRepo        GitArtifacts     `koanf:"gitRepo"`
}

// ArtifactAccounts are the accounts of one type.
type ArtifactAccounts struct {
	Enabled  bool              `koanf:"enabled" default:"false" doc:"use the accounts of this type"`
	Accounts []ArtifactAccount `koanf:"accounts"`
}

// GitArtifacts are the accounts of git/repo.
type GitArtifacts struct {
	ArtifactAccounts `koanf:",squash"`
	ValidGitURLRegex string `koanf:"validGitUrlRegex" doc:"regular expression that references of repositories must match as a whole; by default http, https, git, ssh or git@host:, and then letters, digits and _ . @ : / - ~"`
}

// Jenkins are the masters whose builds keep artifacts.
type Jenkins struct {
	Enabled bool              `koanf:"enabled" default:"false" doc:"fetch what builds of jenkins.masters have kept (jenkins/file)"`
	Masters []ArtifactAccount `koanf:"masters"`
}

// ArtifactAccount is one artifact account. Each type reads its own keys.
type ArtifactAccount struct {
	Name                 string          `koanf:"name"`
	Username             string          `koanf:"username"`
	Password             string          `koanf:"password"`
	UsernamePasswordFile string          `koanf:"usernamePasswordFile"`
	Token                string          `koanf:"token"`
	TokenFile            string          `koanf:"tokenFile"`
	URLRestrictions      URLRestrictions `koanf:"urlRestrictions"`

	// GitHub.
	GithubApp        *GitHubApp `koanf:"githubApp"`
	GithubAPIVersion string     `koanf:"githubAPIVersion"`
	UseContentAPI    bool       `koanf:"useContentAPI"`

	// Git repositories.
	AllowedHosts            []string `koanf:"allowedHosts"`
	SSHPrivateKeyFilePath   string   `koanf:"sshPrivateKeyFilePath"`
	SSHPrivateKeyPassphrase string   `koanf:"sshPrivateKeyPassphrase"`
	// SSHPrivateKeyPassphraseCmd is a program that prints it.
	SSHPrivateKeyPassphraseCmd string `koanf:"sshPrivateKeyPassphraseCmd"`
	SSHKnownHostsFilePath      string `koanf:"sshKnownHostsFilePath"`
	SSHTrustUnknownHosts       bool   `koanf:"sshTrustUnknownHosts"`

	// Helm, and Jenkins.
	Repository string `koanf:"repository"`
	Address    string `koanf:"address"`

	// Oracle's object storage.
	Namespace            string `koanf:"namespace"`
	UserID               string `koanf:"userId"`
	Fingerprint          string `koanf:"fingerprint"`
	PrivateKeyPassphrase string `koanf:"privateKeyPassphrase"`
	TenancyID            string `koanf:"tenancyId"`

	// Maven.
	RepositoryURL string `koanf:"repositoryUrl"`

	// Ivy.
	Settings              IvySettings `koanf:"settings"`
	ResolveConfigurations []string    `koanf:"resolveConfigurations"`

	// Object stores. APIEndpoint of GCS and Oracle is ours.
	APIEndpoint        string `koanf:"apiEndpoint"`
	APIRegion          string `koanf:"apiRegion"`
	Region             string `koanf:"region"`
	AWSAccessKeyID     string `koanf:"awsAccessKeyId"`
	AWSSecretAccessKey string `koanf:"awsSecretAccessKey"`
	JSONPath           string `koanf:"jsonPath"`
}

// GitHubApp is an app that has tokens for its installations.
type GitHubApp struct {
	AppID                string   `koanf:"appId"`
	PrivateKeyPath       string   `koanf:"appPrivateKeyPath"`
	InstallationID       string   `koanf:"appInstallationId"`
	APIBaseURL           string   `koanf:"apiBaseUrl"`
	AllowedOrganizations []string `koanf:"allowedOrganizations"`
}

// URLRestrictions say where references may lead (artifacts.md 7.2). What is not
// said has Java Clouddriver's default, key by key.
type URLRestrictions struct {
	AllowedSchemes                 []string `koanf:"allowedSchemes"`
	AllowedHostnamesRegex          *string  `koanf:"allowedHostnamesRegex"`
	AllowedDomains                 []string `koanf:"allowedDomains"`
	ExcludedDomains                []string `koanf:"excludedDomains"`
	ExcludedDomainsFromEnvironment []string `koanf:"excludedDomainsFromEnvironment"`
	ExtraExcludedPatterns          []string `koanf:"extraExcludedPatterns"`
	RejectVerbatimIPs              *bool    `koanf:"rejectVerbatimIps"`
	RejectLocalhost                *bool    `koanf:"rejectLocalhost"`
	RejectLinkLocal                *bool    `koanf:"rejectLinkLocal"`
	RejectedIPs                    []string `koanf:"rejectedIps"`
}

// ArtifactStore is where Orca keeps artifacts and manifests that it does not send
// along (artifacts.md 6; spinnaker/kork, kork-artifacts).
type ArtifactStore struct {
	Type     string           `koanf:"type" default:"s3" doc:"kind of artifact-store: s3"`
	S3       ArtifactStoreS3  `koanf:"s3"`
	Entities ArtifactEntities `koanf:"entities"`
}

// ArtifactStoreS3 is a bucket of S3, or of what speaks its protocol.
type ArtifactStoreS3 struct {
	Enabled   bool   `koanf:"enabled" default:"false" doc:"read artifacts and manifests that Orca has put into the artifact store"`
	Profile   string `koanf:"profile" doc:"profile of AWS's settings"`
	Region    string `koanf:"region" doc:"region of the artifact store"`
	URL       string `koanf:"url" doc:"address of a store that is not AWS's"`
	Bucket    string `koanf:"bucket" doc:"bucket of the artifact store"`
	AccessKey string `koanf:"accessKey" doc:"key of the artifact store; AWS's chain of credentials without it"`
	SecretKey string `koanf:"secretKey" doc:"the key's secret"`
	PathStyle bool   `koanf:"forcePathStyle" default:"true" doc:"name the bucket in the path"`
}

// ArtifactEntities are manifests that Orca keeps in the store.
type ArtifactEntities struct {
	Expand bool `koanf:"expand" default:"true" doc:"put manifests of the store into the place of their references"`
}

// IvySettings are those of Ivy, with the names of its settings file (artifacts.md
// 5.13; spinnaker/clouddriver, clouddriver-artifacts, ivy/settings).
type IvySettings struct {
	Resolvers IvyResolvers `koanf:"resolvers"`
	Settings  struct {
		DefaultResolver string `koanf:"defaultResolver"`
	} `koanf:"settings"`
	Credentials struct {
		Host     string `koanf:"host"`
		Realm    string `koanf:"realm"`
		Username string `koanf:"username"`
		Password string `koanf:"password"`
	} `koanf:"credentials"`
}

// IvyResolvers are repositories, in the order that Java Clouddriver has them in.
// Bintray has ended, and SSH is not spoken: an account that names them is left out.
type IvyResolvers struct {
	IvyPlaces `koanf:",squash"`
	Chain     []IvyChain `koanf:"chain"`
}

// IvyPlaces are the resolvers that can be in a chain.
type IvyPlaces struct {
	Bintray []IvyOther   `koanf:"bintray"`
	URL     []IvyURL     `koanf:"url"`
	IBiblio []IvyIBiblio `koanf:"ibiblio"`
	SSH     []IvyOther   `koanf:"ssh"`
}

// IvyOther is a resolver that is not ours.
type IvyOther struct {
	Name string `koanf:"name"`
}

// IvyURL is a repository by its patterns.
type IvyURL struct {
	Name         string       `koanf:"name"`
	M2Compatible bool         `koanf:"m2compatible"`
	Ivy          []IvyPattern `koanf:"ivy"`
	Artifact     []IvyPattern `koanf:"artifact"`
}

// IvyPattern is where files are.
type IvyPattern struct {
	Pattern string `koanf:"pattern"`
}

// IvyIBiblio is a repository with a root.
type IvyIBiblio struct {
	Name             string `koanf:"name"`
	Root             string `koanf:"root"`
	Pattern          string `koanf:"pattern"`
	M2Compatible     bool   `koanf:"m2compatible"`
	UseMavenMetadata *bool  `koanf:"useMavenMetadata"`
	UsePoms          *bool  `koanf:"usepoms"`
}

// IvyChain asks several, one after the other.
type IvyChain struct {
	IvyPlaces   `koanf:",squash"`
	Name        string `koanf:"name"`
	ReturnFirst bool   `koanf:"returnFirst"`
}
