package watch

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// parts is a reader of few bytes at once.
type parts struct {
	from io.Reader
	most int
}

func (p parts) Read(b []byte) (int, error) { return p.from.Read(b[:min(len(b), p.most)]) }

func readFrames(text string, part int) (frames []frame, err error) {
	r := frameReader{r: parts{strings.NewReader(text), part}}
	for {
		f, err := r.next()
		if errors.Is(err, io.EOF) {
			return frames, nil
		}
		if err != nil {
			return frames, err
		}
		f.object = []byte(string(f.object)) // valid only until the next call
		frames = append(frames, f)
	}
}

func TestFrames_AreReadInAnyFormAndSize(t *testing.T) {
	long := `{"type":"ADDED","object":{"a":"` + strings.Repeat("x", 3*frameBuffer) + `"}}`
	for name, text := range map[string]string{
		"usual":                `{"type":"ADDED","object":{"a":1}}` + "\n" + `{"type":"DELETED","object":{"a":2}}` + "\n",
		"other order":          `{"object":{"a":1},"type":"ADDED"}` + "\n\n" + `{ "type" : "DELETED" , "object" : {"a":2} }` + "\n",
		"longer than a buffer": long + "\n" + `{"type":"DELETED","object":{}}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			for _, part := range []int{1, 64, frameBuffer, len(text)} {
				frames, err := readFrames(text, part)
				if err != nil || len(frames) != 2 || frames[0].event != "ADDED" || frames[1].event != "DELETED" || !json.Valid(frames[0].object) {
					t.Errorf("in parts of %d: %.200v %v", part, frames, err)
				}
			}
		})
	}
}

func TestFrames_ABrokenStreamIsAnError(t *testing.T) {
	for _, text := range []string{`{"type":"ADDED","obj`, "<html>\n", "{}x\n"} {
		if _, err := readFrames(text, 64); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

// versions takes whatever has a version.
func versions(raw []byte) Object {
	o, err := decodeVersion(raw)
	if err != nil {
		return nil
	}
	return o
}

func TestDecodeList_TakesPagesAndRefusesTornOnes(t *testing.T) {
	good := `{"kind":"PodList","metadata":{"resourceVersion":"7","continue":"c"},"items":[{"metadata":{"resourceVersion":"1"}},{"metadata":{"resourceVersion":"2"}}]}`
	p, err := decodeList(strings.NewReader(good), versions)
	if err != nil || len(p.objects) != 2 || p.version != "7" || p.next != "c" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = decodeList(strings.NewReader(`{"metadata":{"resourceVersion":"7"},"items":null}`), versions); err != nil || len(p.objects) != 0 {
		t.Errorf("null items: %+v, %v", p, err)
	}
	for cut := 1; cut < len(good); cut += 7 {
		if _, err := decodeList(strings.NewReader(good[:cut]), versions); err == nil {
			t.Errorf("a list torn at %d was taken", cut)
		}
	}
	for text, want := range map[string]string{
		good: "7", `{"items":[{"a":[1]}],"metadata":{"resourceVersion":"8"}}`: "8",
		`{"metadata":{"resourceVersion":"9"},"items":[`: "9", `{"items":[]}`: "", `{"metadata":{}}`: "", `{"metadata":{"resourceVersion":"1`: "", `[]`: "", "": "",
	} {
		if p, err := decodeListVersion(strings.NewReader(text)); p.version != want || (err == nil) != (want != "") {
			t.Errorf("%s: version %q, %v", text, p.version, err)
		}
	}
	if _, err := decodeList(strings.NewReader(`{"items":[]}`), versions); err == nil {
		t.Error("a list without a version was taken")
	}
}

func TestFailure_OfAStatusTellsExpiredApart(t *testing.T) {
	f := frame{event: "ERROR", object: []byte(`{"kind":"Status","code":410,"reason":"Expired","message":"too old"}`)}
	if got := cluster.ReasonOf(f.failure()); got != cluster.Expired {
		t.Errorf("got %s", got)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(`{"type":"ADDED","object":{"metadata":{"resourceVersion":"1"}}}` + "\n")
	f.Add(`{"type":"","object":}` + "\n")
	f.Fuzz(func(_ *testing.T, text string) {
		frames, err := readFrames(text, 64)
		if err != nil {
			return
		}
		for _, fr := range frames {
			_, _ = decodeVersion(fr.object)
			_, _ = bookmarkOf(fr)
			_ = fr.failure()
		}
		_, _ = decodeList(strings.NewReader(text), versions)
	})
}

// holding is a Receiver that holds what its name says.
type holding struct {
	received
	text string
}

func (h *holding) Held(raw []byte) Object {
	if string(raw) != h.text {
		return nil
	}
	return versioned{name: "held"}
}

func TestTaken_WhatIsHeldIsNotReadAgain(t *testing.T) {
	r := &Reflector{stream: newStream("thing", "", 0, nil), decode: func([]byte) (Object, error) { return versioned{name: "read"}, nil }}
	name := func(raw string) string {
		take, _ := r.taker(r.shared.decoders.do)
		return take([]byte(raw)).(versioned).name
	}
	r.receiver = &received{}
	r.stream.complete("1")
	if got := name("a"); got != "read" {
		t.Errorf("from one that cannot tell: %s", got)
	}
	r.stream = newStream("thing", "", 0, nil)
	r.receiver = &holding{text: "a"}
	if got := name("a"); got != "read" {
		t.Errorf("of the first list: %s", got)
	}
	r.stream.complete("1")
	if a, b := name("a"), name("b"); a != "held" || b != "read" {
		t.Errorf("%s, %s", a, b)
	}
	r.reset = true
	if got := name("a"); got != "read" {
		t.Errorf("of the first list of an epoch: %s", got)
	}
}
