package checkup

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/outgoing"
)

// Verdict is how a check ended.
type Verdict string

// The verdicts. Only Wrong keeps the service from its work.
const (
	Fine    Verdict = "ok"
	Doubt   Verdict = "warning"
	Wrong   Verdict = "wrong"
	NotUsed Verdict = "not used"
)

// Finding is what one check has shown.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Seen    string  `json:"seen"`
	// Advice is what to do; empty when there is nothing.
	Advice string `json:"advice,omitempty"`
}

// finding is one with the verdict that an error means.
func finding(check, seen string, err error, bad Verdict, advice string) Finding {
	if err == nil {
		return Finding{Check: check, Verdict: Fine, Seen: seen}
	}
	return Finding{Check: check, Verdict: bad, Seen: err.Error(), Advice: advice}
}

// Address checks that another service answers under a path, within a time.
func Address(ctx context.Context, check, base, path string, within time.Duration, bad Verdict) Finding {
	if base == "" {
		return Finding{Check: check, Verdict: NotUsed, Seen: "no address is set"}
	}
	begin := time.Now()
	err := reaches(ctx, strings.TrimSuffix(base, "/")+path, within)
	return finding(check, fmt.Sprintf("%s answers in %d ms", base, time.Since(begin).Milliseconds()), err, bad,
		"look at the address in the settings, at the network between, and whether the service runs")
}

func reaches(ctx context.Context, address string, within time.Duration) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	res, err := outgoing.Client(nil, within).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	if res.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%s answers %s", address, res.Status)
	}
	return nil
}

// soon is how long before its end a certificate is worth a word.
const soon = 7 * 24 * time.Hour

// KeyPair checks the certificate of the API.
func KeyPair(certificate, key string) Finding {
	const check = "certificate"
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return finding(check, "", err, Wrong, "look at server.ssl.certificate and server.ssl.certificatePrivateKey: PEM files that belong together")
	}
	until := pair.Leaf.NotAfter
	if left := time.Until(until); left < soon {
		err = fmt.Errorf("it ends at %s", until.UTC().Format(time.RFC3339))
	}
	return finding(check, "it is good until "+until.UTC().Format(time.RFC3339), err, Doubt, "renew it: a newer file is used without a restart")
}

// Folder checks that one can be written.
func Folder(check, path, what string) Finding {
	f, err := os.CreateTemp(path, ".clouddriver-doctor-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	return finding(check, path+" can be written", err, Wrong, fmt.Sprintf("make the folder %s writable for uid %d: %s is kept there", filepath.Clean(path), os.Getuid(), what))
}

// perAccount is how many files an account may have open: a connection for
// requests, some for watches, and what rotates.
const perAccount = 8

// Files checks that the limit of open files is enough for so many accounts.
func Files(accounts int) Finding {
	const check = "open files"
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return finding(check, "", err, Doubt, "look at ulimit -n")
	}
	need := uint64(1024 + perAccount*accounts)
	var err error
	if limit.Max < need {
		err = fmt.Errorf("at most %d may be open, and %d accounts may need %d", limit.Max, accounts, need)
	}
	return finding(check, fmt.Sprintf("%d may be open, %d accounts may need %d", limit.Max, accounts, need), err, Wrong, fmt.Sprintf("raise the limit (ulimit -n, LimitNOFILE) to %d", need))
}

// Of sums up what a look at the accounts has shown.
func Of(accounts []Account) []Finding {
	if len(accounts) == 0 {
		return []Finding{{Check: "accounts", Verdict: Wrong, Seen: "there are none", Advice: "set KUBECONFIG, or kubernetes.accounts in the settings file, or post one to /v1/kubernetes/providers"}}
	}
	var out []Finding
	fine := 0
	for _, a := range accounts {
		if a.OK() {
			fine++
			continue
		}
		out = append(out, ofAccount(a))
	}
	all := Finding{Check: "accounts", Verdict: Fine, Seen: fmt.Sprintf("%d of %d are reached and watched in full", fine, len(accounts))}
	if fine == 0 {
		all.Verdict, all.Advice = Wrong, "see the rows of the accounts"
	}
	return append([]Finding{all}, out...)
}

func ofAccount(a Account) Finding {
	f := Finding{Check: "account " + a.Name, Verdict: Doubt, Advice: a.Advice}
	switch {
	case a.Problem != "":
		f.Seen = a.Problem
	case len(a.Denied) > 0:
		kinds := make([]string, 0, len(a.Denied))
		for _, d := range a.Denied {
			kinds = append(kinds, d.Kind)
		}
		f.Seen = a.User + " cannot follow " + strings.Join(kinds, ", ")
	default:
		f.Seen = fmt.Sprintf("its clock is %s off", time.Duration(a.SkewMs)*time.Millisecond)
		f.Advice = "synchronize the clocks (NTP) of this machine and of the API server: tokens and ages go by them"
	}
	return f
}
