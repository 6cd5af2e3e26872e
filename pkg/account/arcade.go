package account

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/outgoing"
)

// Arcade gives bearer tokens by the name of a token provider
// (homedepot/arcade, internal/http and pkg/client.go; accounts.md 6.1). It
// serves any number of accounts with one call per token provider and life of
// a token. A token that is a JWT lives until its exp; of another nothing is
// known, so it is asked for again after a short time.
type Arcade struct {
	settings config.Arcade
	client   *http.Client
	flight   singleflight.Group

	mu     sync.Mutex
	tokens map[string]*arcadeToken
}

type arcadeToken struct {
	text string
	// refresh is when a new one is asked for; expires is when this one is no
	// longer given out, zero if that is not known.
	refresh, expires time.Time
	// failed is what Arcade last said, and notBefore when it is asked again.
	failed    error
	notBefore time.Time
}

const (
	// arcadeRest is how long Arcade is left alone after it has failed.
	arcadeRest = 2 * time.Second
	// arcadeBody bounds an answer of Arcade.
	arcadeBody = 1 << 20
)

// NewArcade makes the client.
func NewArcade(settings config.Arcade) *Arcade {
	return &Arcade{settings: settings, client: outgoing.Client(nil, settings.Timeout), tokens: map[string]*arcadeToken{}}
}

// Configured says whether there is an Arcade to ask.
func (a *Arcade) Configured() bool { return a.settings.Configured() }

// Token returns a token of the provider. While Arcade fails, the last one is
// given until it expires. rejected, when it is not empty, is a token that a
// cluster has refused: another one is fetched in its place, once.
func (a *Arcade) Token(ctx context.Context, provider, rejected string) (string, error) {
	now := time.Now()
	a.mu.Lock()
	t := a.tokens[provider]
	if t == nil {
		t = &arcadeToken{}
		a.tokens[provider] = t
	}
	usable := t.text != "" && t.text != rejected && (t.expires.IsZero() || now.Before(t.expires))
	fresh, resting, failed, text := usable && now.Before(t.refresh), now.Before(t.notBefore), t.failed, t.text
	a.mu.Unlock()
	switch {
	case fresh, usable && resting:
		return text, nil
	case resting:
		return "", failed
	}
	// The flight has a deadline of its own: the caller that began it may go
	// away while others wait.
	fetched := a.flight.DoChan(provider, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.settings.Timeout)
		defer cancel()
		return a.refresh(ctx, provider, rejected, t)
	})
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case result := <-fetched:
		if result.Err != nil && usable {
			return text, nil
		}
		text, _ := result.Val.(string)
		return text, result.Err
	}
}

func (a *Arcade) refresh(ctx context.Context, provider, rejected string, t *arcadeToken) (string, error) {
	a.mu.Lock()
	current, until := t.text, t.refresh
	a.mu.Unlock()
	if current != "" && current != rejected && time.Now().Before(until) {
		return current, nil // another flight has landed since the caller looked
	}
	text, err := a.Fetch(ctx, provider)
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		t.failed, t.notBefore = err, now.Add(arcadeRest/2+rand.N(arcadeRest))
		return "", err
	}
	life, expires := a.settings.TokenTTL, time.Time{}
	if exp, ok := expiry(text); ok {
		life, expires = exp.Sub(now), exp
	}
	// Between seven and nine tenths of a life, so that replicas and token
	// providers spread.
	refresh := now.Add(time.Duration(float64(life) * (.7 + .2*rand.Float64())))
	*t = arcadeToken{text: text, refresh: refresh, expires: expires}
	return text, nil
}

// Fetch asks Arcade at once. Its errors read as those of Arcade's own client,
// which callers of the provider API see.
func (a *Arcade) Fetch(ctx context.Context, provider string) (string, error) {
	if !a.Configured() {
		return "", errors.New("no Arcade is configured: set ARCADE_URL and ARCADE_API_KEY")
	}
	address := strings.TrimSuffix(a.settings.URL, "/") + "/tokens?provider=" + url.QueryEscape(provider)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", fmt.Errorf("ARCADE_URL: %w", err)
	}
	req.Header.Set("Api-Key", a.settings.APIKey)
	res, err := a.client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode < http.StatusOK || res.StatusCode >= http.StatusMultipleChoices {
		return "", fmt.Errorf("error getting token: %s", res.Status)
	}
	var body struct{ Token string }
	if err := json.NewDecoder(io.LimitReader(res.Body, arcadeBody)).Decode(&body); err != nil {
		return "", fmt.Errorf("error getting token: Arcade's answer: %w", err)
	}
	if body.Token == "" || strings.ContainsAny(body.Token, "\r\n") {
		return "", errors.New("error getting token: Arcade answered without a usable token")
	}
	return body.Token, nil
}

// expiry reads the exp of a JWT. The signature is the cluster's to check: a
// wrong exp only makes us ask at another time.
func expiry(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct{ Exp float64 }
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Exp <= 0 {
		return time.Time{}, false
	}
	return time.Unix(int64(claims.Exp), 0), true
}

// tokenTransport sends the current token of a provider with every request,
// and another one, once, when the cluster refuses it.
type tokenTransport struct {
	token func(ctx context.Context, rejected string) (string, error)
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *tokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := t.token(r.Context(), "")
	if err != nil {
		return nil, err
	}
	res, err := t.next.RoundTrip(withToken(r, token))
	if err != nil || res.StatusCode != http.StatusUnauthorized || (r.Body != nil && r.GetBody == nil) {
		return res, err
	}
	again, err := t.token(r.Context(), token)
	if err != nil || again == token {
		return res, nil //nolint:nilerr // the cluster's refusal is the answer
	}
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return res, nil //nolint:nilerr // the cluster's refusal is the answer
		}
		r = r.Clone(r.Context())
		r.Body = body
	}
	_ = res.Body.Close()
	return t.next.RoundTrip(withToken(r, again))
}

func withToken(r *http.Request, token string) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}
