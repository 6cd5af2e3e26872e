package account

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// Keyring seals the bearer tokens that are kept in the database, with
// AES-256-GCM bound to the account's name. Its first key seals, all of them
// open: a key is changed by putting a new one in front.
type Keyring struct {
	order []string
	keys  map[string]cipher.AEAD
}

// keyBytes is the size of an AES-256 key.
const keyBytes = 32

// NewKeyring reads keys of the form id:base64, one per line or separated by
// commas.
func NewKeyring(text string) (*Keyring, error) {
	k := &Keyring{keys: map[string]cipher.AEAD{}}
	for i, entry := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		id, encoded, ok := strings.Cut(entry, ":")
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
		if id = strings.TrimSpace(id); !ok || id == "" || len(id) > 64 || err != nil || len(key) != keyBytes {
			return nil, fmt.Errorf("entry %d is not id:base64 of %d bytes (make one with: echo \"$(date +%%F):$(openssl rand -base64 %d)\")", i+1, keyBytes, keyBytes)
		}
		if k.keys[id] != nil {
			return nil, fmt.Errorf("key id %q is used twice", id)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		if k.keys[id], err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
		k.order = append(k.order, id)
	}
	return k, nil
}

// KeyFile is a keyring of one key that is kept in a file, which is made if there is
// none: for what is sealed where no key is configured.
func KeyFile(path string) (*Keyring, error) {
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // beside the operator's database
	switch {
	case errors.Is(err, os.ErrExist):
	case err != nil:
		return nil, fmt.Errorf("the key of tasks beside the database: %w", err)
	default:
		_, err = f.WriteString("file:" + base64.StdEncoding.EncodeToString(key))
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("the key of tasks beside the database: %w", err)
		}
	}
	content, err := os.ReadFile(path) //nolint:gosec // as above
	if err != nil {
		return nil, fmt.Errorf("the key of tasks beside the database: %w", err)
	}
	keys, err := NewKeyring(string(content))
	if err == nil && keys.Empty() {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("the key of tasks in %s: %w; without it, delete the file: tasks that were under way then fail", path, err)
	}
	return keys, nil
}

// Empty says whether there is no key.
func (k *Keyring) Empty() bool { return len(k.order) == 0 }

// Current says whether a token is sealed with the key that seals now,
// and bound to its purpose.
func (k *Keyring) Current(s store.Sealed) bool {
	return !k.Empty() && s.KeyID == k.order[0] && strings.HasPrefix(s.Text, second)
}

// Purpose is what a sealed text is for. One that was sealed for another does not
// open.
type Purpose string

// The purposes.
const (
	ForTask  Purpose = "task"
	ForToken Purpose = "token"
)

// second begins texts that are bound to their purpose. Those without it are of
// before, bound to a name alone.
const second = "v2:"

// taskID is how tasks are called.
var taskID = regexp.MustCompile(`^[0-9A-Z]{26}$`)

// bond is what a text is sealed with: it opens for the same only.
func bond(purpose Purpose, to []string) []byte {
	out := []byte(second + string(purpose))
	for _, part := range to {
		sum := sha256.Sum256([]byte(part))
		out = append(out, sum[:]...)
	}
	return out
}

// Seal encrypts a text for a purpose, bound to what it belongs to.
func (k *Keyring) Seal(purpose Purpose, text string, to ...string) (store.Sealed, error) {
	if k.Empty() {
		return store.Sealed{}, errors.New("no key is configured")
	}
	id := k.order[0]
	nonce := make([]byte, k.keys[id].NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return store.Sealed{}, err
	}
	sealed := k.keys[id].Seal(nonce, nonce, []byte(text), bond(purpose, to))
	return store.Sealed{KeyID: id, Text: second + base64.StdEncoding.EncodeToString(sealed)}, nil
}

// Open decrypts what was sealed for the same purpose and the same things.
func (k *Keyring) Open(purpose Purpose, s store.Sealed, to ...string) (string, error) {
	key := k.keys[s.KeyID]
	if key == nil {
		return "", fmt.Errorf("its %s is sealed with key %q, which is not configured", purpose, s.KeyID)
	}
	encoded, bound := strings.CutPrefix(s.Text, second)
	sealed, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(sealed) < key.NonceSize() || len(to) == 0 {
		return "", fmt.Errorf("its sealed %s is damaged", purpose)
	}
	with := bond(purpose, to)
	if !bound {
		with = []byte(to[0]) // as it was sealed before
		if purpose == ForToken && taskID.MatchString(to[0]) {
			return "", errors.New("an account that is called like a task has no token that was sealed for tasks and tokens alike")
		}
	}
	text, err := key.Open(nil, sealed[:key.NonceSize()], sealed[key.NonceSize():], with)
	if err != nil {
		return "", fmt.Errorf("its %s does not open with key %q: it was sealed with another one, or for something else", purpose, s.KeyID)
	}
	return string(text), nil
}
