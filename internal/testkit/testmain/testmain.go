// Package testmain runs the tests of a package and looks for goroutines that they have left behind.
package testmain

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is longer than anything may take that go-redis or the resolver have begun and that ends by itself (a dial of
// theirs goes on beside its caller until its timeout). goleak alone gives up after half a second, which depends on what the
// last test was and on how busy the machine is; a leak is there for ever.
const patience = 20 * time.Second

// Run is for TestMain. It does not return. After the tests it calls what ends that which they have shared.
func Run(m *testing.M, after ...func()) {
	code := m.Run()
	for _, end := range after {
		end()
	}
	if code == 0 {
		code = leaks()
	}
	os.Exit(code)
}

// Parallel has n tests run at a time unless the command line says otherwise, for packages whose tests wait most of the time. Call
// it before Run.
func Parallel(n int) {
	if err := flag.Set("test.parallel", strconv.Itoa(n)); err != nil {
		panic(err)
	}
}

func leaks() int {
	for deadline := time.Now().Add(patience); ; {
		err := goleak.Find()
		if err == nil {
			return 0
		}
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "goroutines are left behind: %v\n", err)
			return 1
		}
	}
}
