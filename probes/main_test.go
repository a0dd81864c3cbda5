package probes_test

import (
	"io"
	"log"
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	logging.Disable() // servers are down on purpose
	goleak.VerifyTestMain(m)
}

// quietLog drops what net/http says about connections that are broken on purpose.
var quietLog = log.New(io.Discard, "", 0)
