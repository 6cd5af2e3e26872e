package api

import (
	"slices"
	"sync"
)

// latest keeps the newest answer to each of a few questions that are asked all the
// time and take long to answer. The cache of answers decides by itself what it keeps;
// of these, one is always worth its room.
type latest struct {
	mu      sync.Mutex
	answers []*latestAnswer // the one that was asked for last stands last
}

type latestAnswer struct {
	key, version string
	once         sync.Once
	answer       *answer
}

// mostLatest bounds the questions.
const mostLatest = 16

// answer is the answer to a question as of a version, made once for all who ask
// meanwhile.
func (l *latest) answer(key, version string, render func() *answer) *answer {
	k := l.take(key, version)
	k.once.Do(func() { k.answer = render().kept() })
	if k.answer == nil { // whoever made it has panicked
		return render()
	}
	return k.answer
}

func (l *latest) take(key, version string) *latestAnswer {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := &latestAnswer{key: key, version: version}
	if at := slices.IndexFunc(l.answers, func(k *latestAnswer) bool { return k.key == key }); at >= 0 {
		if l.answers[at].version == version {
			k = l.answers[at]
		}
		l.answers = slices.Delete(l.answers, at, at+1)
	}
	if len(l.answers) == mostLatest {
		l.answers = slices.Delete(l.answers, 0, 1)
	}
	l.answers = append(l.answers, k)
	return k
}
