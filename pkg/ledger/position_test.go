package ledger

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// TestPosition_FindsRowsThatCommitLate follows rows whose numbers are given in
// order and which commit in any order, and demands every one exactly once.
func TestPosition_FindsRowsThatCommitLate(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var p position
		now := time.Unix(0, 0)
		p.start(1000, now)
		const rows, late = 300, 40
		committed, found := map[int64]bool{}, map[int64]int{}
		var open []int64
		next := int64(1001)
		look := func() {
			missing := p.missing()
			var seen []int64
			for seq := range committed {
				if seq > p.high || slices.Contains(missing, seq) {
					seen = append(seen, seq)
				}
			}
			slices.Sort(seen)
			for _, seq := range seen {
				found[seq]++
				p.pass(seq, now)
			}
			p.forget(now)
		}
		for len(committed) < rows {
			now = now.Add(50 * time.Millisecond)
			if next <= 1000+rows && len(open) < late {
				open = append(open, next)
				next++
			}
			if len(open) > 0 && r.IntN(2) == 0 {
				i := r.IntN(len(open))
				committed[open[i]] = true
				open = slices.Delete(open, i, i+1)
			}
			if r.IntN(3) == 0 {
				look()
			}
		}
		look()
		for seq := int64(1001); seq <= 1000+rows; seq++ {
			if found[seq] != 1 {
				t.Fatalf("seed %d: row %d was found %d times", seed, seq, found[seq])
			}
		}
		p.forget(now.Add(2 * gapFor))
		if len(p.missing()) != 0 {
			t.Errorf("seed %d: %d numbers are looked for for ever", seed, len(p.missing()))
		}
	}
}

func TestPosition_LooksForABoundedNumberOfGaps(t *testing.T) {
	var p position
	p.start(0, time.Now())
	for seq := int64(3); seq < 30_000; seq += 3 {
		p.pass(seq, time.Now())
	}
	p.pass(1_000_000_000, time.Now())
	if n := len(p.missing()); n > gapsMost {
		t.Errorf("%d", n)
	}
	if got := p.missing()[0]; got != 999_999_999 {
		t.Errorf("the highest gap comes first: %d", got)
	}
}

func TestNewestFirst_PutsTheLastWriteOfAnObjectBeforeTheOthers(t *testing.T) {
	rows := []store.Write{{Seq: 0, OlderID: "o"}, {Seq: 3}, {Seq: 9}, {Seq: 5}}
	newestFirst(rows)
	for i, want := range []int64{9, 5, 3, 0} {
		if rows[i].Seq != want {
			t.Errorf("%+v", rows)
		}
	}
}
