package attacks

import (
	"io"
	"time"
)

// defaultTimeout is for functions that should take no time.
const defaultTimeout = 20 * time.Second

func init() {
	add(Attack{
		Name:  "announced-bodies",
		Tries: "Clients announce large bodies and send a byte of them, or nothing",
		Holds: "memory grows with what has come, from one budget for all requests; a body that does not come is given up",
		Tests: []string{"TestBodiesShareABudget", "TestBodyDeadline"},
		Run: func(t *Target) {
			before := t.Resident()
			const clients, announced = 200, 6 << 20
			for n := range clients {
				path := "/2015-03-31/functions/announced-bodies/invocations"
				if n%2 == 0 {
					path = "/v1/functions/announced-bodies/invoke"
				}
				c := t.Dial()
				if _, err := io.WriteString(c, t.Head("POST", path, "Content-Length: 6291456")+"\r\n{"); err != nil {
					t.Fatal(err)
				}
			}
			t.Deploy("announced-bodies", "def handler(event, context):\n    return 1\n", Settings(20, 0))
			for range 20 {
				if a := t.Run("announced-bodies", `{}`, defaultTimeout); a.Output != "1" {
					t.Fatalf("others get %+v", a)
				}
			}
			if grown := t.Resident() - before; grown > clients*announced/8 {
				t.Errorf("%d MiB for bodies that have not come", grown>>20)
			}
		},
	})
}
