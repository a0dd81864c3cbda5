// Package testmain runs the tests of a package and looks for goroutines that they have left behind.
package testmain

import (
	"fmt"
	"os"
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
