package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// position is how far the ledger has been followed. Numbers are given before
// rows are committed, so a lower one may appear after a higher one: numbers
// that were passed over are looked for again, until a transaction that holds
// one would have been ended by its deadline.
type position struct {
	begun bool
	high  int64
	gaps  map[int64]time.Time // since when it has been missing
}

const (
	// gapFor is longer than any transaction may take.
	gapFor = time.Minute
	// gapsMost bounds the numbers that are looked for. Some databases give only
	// every third number to a server, so that most gaps are none.
	gapsMost = 500
	// before is how many numbers before the start may still be on their way.
	before = 50
)

func (p *position) start(last int64, now time.Time) {
	p.begun, p.high, p.gaps = true, last, map[int64]time.Time{}
	for seq := max(1, last-before); seq < last; seq++ {
		p.gaps[seq] = now
	}
}

// pass takes note of a row.
func (p *position) pass(seq int64, now time.Time) {
	delete(p.gaps, seq)
	for missed := max(p.high+1, seq-gapsMost); missed < seq; missed++ {
		p.gaps[missed] = now
	}
	p.high = max(p.high, seq)
}

func (p *position) forget(now time.Time) {
	for seq, since := range p.gaps {
		if now.Sub(since) > gapFor {
			delete(p.gaps, seq)
		}
	}
	if len(p.gaps) > gapsMost {
		kept := map[int64]time.Time{}
		for _, seq := range p.missing() {
			kept[seq] = p.gaps[seq]
		}
		p.gaps = kept
	}
}

// missing are the numbers to look for, the highest ones if they are too many.
func (p *position) missing() []int64 {
	out := make([]int64, 0, len(p.gaps))
	for seq := range p.gaps {
		out = append(out, seq)
	}
	slices.SortFunc(out, func(a, b int64) int { return cmp.Compare(b, a) })
	return out[:min(len(out), gapsMost)]
}

// newestFirst orders rows by their numbers, those of the older rewrite last.
func newestFirst(rows []store.Write) {
	slices.SortStableFunc(rows, func(a, b store.Write) int { return cmp.Compare(b.Seq, a.Seq) })
}
