package dispatcher

import (
	"testing"

	"seuss/dispatcher/instance/instancetest"
)

func TestMain(m *testing.M) { instancetest.Main(m) }
