package probes_test

import (
	"context"
	"io"
	"log"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	goleak.VerifyTestMain(m)
}

// quiet drops what go-redis says about servers that are down on purpose.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// quietLog drops what net/http says about connections that are broken on purpose.
var quietLog = log.New(io.Discard, "", 0)
