package artifact

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/secret"
)

// mostSecret bounds a file with a secret.
const mostSecret = 1 << 20

// readSecret reads a file of the configuration, anew each time, so that it can
// rotate. All line ends are taken out, as Java does. The error names the file.
func readSecret(path string) (string, error) {
	content, err := readFile(path)
	if err != nil {
		return "", err
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(string(content)), nil
}

func readFile(path string) ([]byte, error) { return secret.ReadFile(path, mostSecret) }

// token is an account's, "" for none. The file wins.
func token(c config.ArtifactAccount) (string, error) {
	if c.TokenFile != "" {
		return readSecret(c.TokenFile)
	}
	return c.Token, nil
}

// basic are an account's user and password as a header's value, "" for none. The
// file wins.
func basic(c config.ArtifactAccount) (string, error) {
	var pair string
	switch {
	case c.UsernamePasswordFile != "":
		var err error
		if pair, err = readSecret(c.UsernamePasswordFile); err != nil {
			return "", err
		}
	case c.Username != "" && c.Password != "":
		pair = c.Username + ":" + c.Password
	default:
		return "", nil
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)), nil
}

const authorization = "Authorization"

// shows is what an account shows of itself: a token, as the kind of server takes
// it, before a user and password (artifacts.md 4.1).
func shows(c config.ArtifactAccount, withToken func(http.Header, string)) (http.Header, error) {
	header := http.Header{}
	if withToken != nil {
		t, err := token(c)
		if err != nil {
			return nil, err
		}
		if t != "" {
			withToken(header, t)
			return header, nil
		}
	}
	pair, err := basic(c)
	if err != nil {
		return nil, err
	}
	if pair != "" {
		header.Set(authorization, pair)
	}
	return header, nil
}
