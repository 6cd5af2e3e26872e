// Package processors says how much may run at once. Go's own number is that of its
// threads, which BesideCollector makes more than there are processors.
package processors

import (
	"os"
	"runtime"
)

// Count is how many processors the process may use: the machine's, or what a container is
// allowed of them. GOMAXPROCS counts more.
var Count = runtime.GOMAXPROCS(0)

// BesideCollector runs Go on at least four threads, of which the garbage collector takes
// one: of fewer it takes turns of 10 to 25 ms on each, in which nobody is answered. The
// operating system shares the processors among them. GOMAXPROCS counts more.
func BesideCollector() {
	const least = 4
	if os.Getenv("GOMAXPROCS") == "" && Count < least {
		runtime.GOMAXPROCS(least)
	}
}
