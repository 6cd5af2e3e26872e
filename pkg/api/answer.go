package api

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
)

const contentType = "application/json;charset=UTF-8"

// answer is a body ready to be sent. It is shared by all who ask for it.
type answer struct {
	// plain is the body, nil for one that is kept in its compressed form only.
	plain  []byte
	length int // of the body
	etag   string

	zip    sync.Once
	zipped []byte
}

// leastZip is the size below which compressing costs more than it saves: one
// network packet.
const leastZip = 1400

func newAnswer(body []byte) *answer {
	sum := sha256.Sum256(body)
	a := unnamed(body)
	a.etag = etagOf(sum[:])
	return a
}

// etagOf is the ETag of what has a hash. It is a weak one: the forms of an answer share
// it.
func etagOf(sum []byte) string { return `W/"` + hex.EncodeToString(sum[:12]) + `"` }

// unnamed is an answer without an ETag.
func unnamed(body []byte) *answer { return &answer{plain: body, length: len(body)} }

// kept is the answer as a cache keeps it: the compressed form is a tenth of the body,
// and what nearly everybody asks for.
func (a *answer) kept() *answer {
	if a.length < leastZip || a.gzip() == nil {
		return a
	}
	out := &answer{length: a.length, etag: a.etag, zipped: a.zipped}
	out.zip.Do(func() {})
	return out
}

// bytes is what keeping the answer takes.
func (a *answer) bytes() int {
	return len(a.plain) + len(a.zipped)
}

// body is the body itself.
func (a *answer) body() []byte {
	if a.plain != nil || a.length == 0 {
		return a.plain
	}
	out := bytes.NewBuffer(make([]byte, 0, a.length+bytes.MinRead))
	a.unzip(out)
	return out.Bytes()
}

// unzip writes the body of an answer that is kept in its compressed form: it takes no
// memory while a slow caller takes it. An error is the caller's.
func (a *answer) unzip(to io.Writer) {
	z, err := gzip.NewReader(bytes.NewReader(a.zipped))
	if err != nil {
		panic(err) // it is of our own making
	}
	_, _ = io.Copy(to, z)
}

// spares are compressors that nobody uses: each is a megabyte, and made anew it would be
// most of the garbage of an answer.
type spares[W interface{ Reset(to io.Writer) }] struct {
	kept  chan W
	fresh func(to io.Writer, level int) (W, error)
}

var (
	zippers   = spares[*gzip.Writer]{make(chan *gzip.Writer, 4), gzip.NewWriterLevel}
	deflaters = spares[*flate.Writer]{make(chan *flate.Writer, 4), flate.NewWriter}
)

func (s spares[W]) on(to io.Writer) W {
	select {
	case w := <-s.kept:
		w.Reset(to)
		return w
	default:
		w, err := s.fresh(to, gzip.BestSpeed)
		if err != nil {
			panic(err) // the level is a constant that exists
		}
		return w
	}
}

func (s spares[W]) leave(w W) {
	w.Reset(io.Discard)
	select {
	case s.kept <- w:
	default:
	}
}

// gzip is the body as one gzip member: OkHttp, which Gate uses, refuses
// several.
func (a *answer) gzip() []byte {
	a.zip.Do(func() {
		const often = 8 // times smaller
		var b bytes.Buffer
		b.Grow(a.length / often)
		z := zippers.on(&b)
		defer zippers.leave(z)
		if _, err := z.Write(a.plain); err != nil {
			return // a buffer takes everything
		}
		if z.Close() == nil {
			a.zipped = bytes.Clone(b.Bytes())
		}
	})
	return a.zipped
}

// cached answers from what was rendered of the same content before. The
// version identifies the content; 0 means that there is none to identify. What is
// rendered may be written over the room, which is nobody's afterwards: most answers are
// kept in their compressed form only.
func (s *Server) cached(r *request, key string, version uint64, render func(room []byte) []byte) *answer {
	if version == 0 {
		return newAnswer(render(nil))
	}
	key += "\x00" + s.sees(r).mark()
	return index.Cached(s.Cache, "answer\x00"+key+"\x00"+strconv.FormatUint(version, 36), func() (*answer, int) {
		room := rooms.Get().(*[]byte)
		defer rooms.Put(room)
		body := render(*room)
		if cap(body) > cap(*room) {
			*room = body
		}
		a := newAnswer(body).kept()
		a.plain = bytes.Clone(a.plain)
		return a, a.bytes()
	})
}

// rooms are for bodies while they are made.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

// reply is what a handler answers.
type reply struct {
	status int // 0 for 200
	// answer is the body, nil for none.
	answer *answer
	// mediaType is Spinnaker's JSON when empty.
	mediaType string
	// about are the accounts that the answer tells of, all when nil.
	about []string
	// application is the one that the answer is of, where the route has to know.
	application string
	// open writes an answer that goes on; it has the connection.
	open func(w http.ResponseWriter)
}

// answered is a reply with a body; about are the accounts that it tells of.
func answered(a *answer, about ...string) reply { return reply{answer: a, about: about} }

// of names the application that the answer is of.
func (rep reply) of(application string) reply {
	rep.application = application
	return rep
}

// model is a reply with a model that is not worth keeping.
func model(m any) (reply, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return reply{}, err
	}
	return reply{answer: unnamed(body)}, nil
}

// send writes a reply, in the form and only if the caller wants it.
func (s *Server) send(w http.ResponseWriter, r *request, rep reply) {
	if rep.open != nil {
		if rec, ok := w.(*recorder); ok {
			rec.lasting = true
		}
		rep.open(w)
		return
	}
	header := w.Header()
	if r.route.errors != people && (r.route.fresh == memory || r.partial || r.doubt != nil) { // a page says it itself
		r.markStale(header, rep.about)
	}
	if r.route.errors == people {
		pageHeaders(header)
	}
	status := cmp.Or(rep.status, http.StatusOK)
	if rep.answer == nil {
		w.WriteHeader(status)
		return
	}
	if rep.answer.etag != "" && status == http.StatusOK {
		header.Set("Etag", rep.answer.etag)
		if matches(r.Header.Get("If-None-Match"), rep.answer.etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	header.Set("Content-Type", cmp.Or(rep.mediaType, contentType))
	a := rep.answer
	body, length := a.plain, a.length
	if a.length >= leastZip {
		header.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) && a.gzip() != nil {
			header.Set("Content-Encoding", "gzip")
			body, length = a.zipped, len(a.zipped)
		}
	}
	header.Set("Content-Length", strconv.Itoa(length))
	w.WriteHeader(status)
	if body == nil && length > 0 {
		a.unzip(w)
		return
	}
	_, _ = w.Write(body) // the caller may be gone
}

// StaleHeader names the accounts whose objects may be behind or missing.
const StaleHeader = "X-Clouddriver-Stale-Accounts"

// markStale names the stale accounts, only those of the question when it
// names some.
func (r *request) markStale(header http.Header, accounts []string) {
	if len(r.health.Stale) == 0 {
		return
	}
	var names []string
	for _, name := range r.health.Stale {
		if !r.caller.SeesAccount(name) {
			continue
		}
		if len(accounts) == 0 || slices.Contains(accounts, name) {
			names = append(names, url.PathEscape(name))
		}
	}
	if len(names) > 0 {
		header.Set(StaleHeader, strings.Join(append(header.Values(StaleHeader), names...), ","))
	}
}

func matches(ifNoneMatch, etag string) bool {
	if ifNoneMatch == "" {
		return false
	}
	for _, candidate := range strings.Split(ifNoneMatch, ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == strings.TrimPrefix(etag, "W/") {
			return true
		}
	}
	return false
}

func acceptsGzip(acceptEncoding string) bool {
	if acceptEncoding == "gzip" { // what OkHttp and Go send
		return true
	}
	for _, part := range strings.Split(acceptEncoding, ",") {
		coding, parameters, _ := strings.Cut(strings.TrimSpace(part), ";")
		if coding = strings.TrimSpace(coding); !strings.EqualFold(coding, "gzip") && coding != "*" {
			continue
		}
		q, found := strings.CutPrefix(strings.TrimSpace(parameters), "q=")
		if !found {
			return true
		}
		weight, err := strconv.ParseFloat(q, 64)
		return err == nil && weight > 0
	}
	return false
}
