package sentinel

import (
	"testing"

	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) { testmain.Run(m) }
