package probes_test

import (
	"io"
	"log"
	"testing"

	"github.com/redis/go-redis/v9/logging"

	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) {
	logging.Disable() // servers are down on purpose
	testmain.Run(m)
}

// quietLog drops what net/http says about connections that are broken on purpose.
var quietLog = log.New(io.Discard, "", 0)
