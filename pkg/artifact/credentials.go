package artifact

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
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

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the file %s cannot be read: %w", path, errors.Unwrap(err))
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", path)
	case info.Size() == 0:
		return nil, fmt.Errorf("the file %s is empty", path)
	case info.Size() > mostSecret:
		return nil, fmt.Errorf("the file %s has more than %d bytes", path, mostSecret)
	}
	return os.ReadFile(path) //nolint:gosec // the operator's own file
}

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
