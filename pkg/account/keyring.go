package account

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
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

// Empty says whether there is no key.
func (k *Keyring) Empty() bool { return len(k.order) == 0 }

// Current says whether a token is sealed with the key that seals now.
func (k *Keyring) Current(s store.Sealed) bool { return !k.Empty() && s.KeyID == k.order[0] }

// Seal encrypts an account's token.
func (k *Keyring) Seal(account, token string) (store.Sealed, error) {
	if k.Empty() {
		return store.Sealed{}, errors.New("no key is configured")
	}
	id := k.order[0]
	nonce := make([]byte, k.keys[id].NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return store.Sealed{}, err
	}
	sealed := k.keys[id].Seal(nonce, nonce, []byte(token), []byte(account))
	return store.Sealed{KeyID: id, Text: base64.StdEncoding.EncodeToString(sealed)}, nil
}

// Open decrypts an account's token.
func (k *Keyring) Open(account string, s store.Sealed) (string, error) {
	key := k.keys[s.KeyID]
	if key == nil {
		return "", fmt.Errorf("its token is sealed with key %q, which is not configured", s.KeyID)
	}
	sealed, err := base64.StdEncoding.DecodeString(s.Text)
	if err != nil || len(sealed) < key.NonceSize() {
		return "", errors.New("its sealed token is damaged")
	}
	token, err := key.Open(nil, sealed[:key.NonceSize()], sealed[key.NonceSize():], []byte(account))
	if err != nil {
		return "", fmt.Errorf("its token does not open with key %q", s.KeyID)
	}
	return string(token), nil
}
