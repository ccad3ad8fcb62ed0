package attacks

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

func init() {
	add(Attack{
		Name:  "flood",
		Tries: "Clients ask for one function more often than it can be served",
		Holds: "what is too much is refused with a time to come again, and other functions are served",
		Tests: []string{"TestOverload", "TestStandingQueue"},
		Run: func(t *Target) {
			t.Deploy("flood", "import time\ndef handler(event, context):\n    time.sleep(0.02)\n    return 1\n", Settings(20, 0))
			rounds := t.few(200, 10)
			var others, served atomic.Int64
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					for range rounds {
						a, err := t.Invoke("flood", `{}`, t.Patience(defaultTimeout))
						if err != nil || a.Status >= 500 || a.Status != 200 && a.Status != 429 {
							t.Errorf("%+v, %v", a, err)
							return
						}
						if a.Status == 429 {
							others.Add(1)
							time.Sleep(time.Millisecond)
							continue
						}
						served.Add(1)
					}
				})
			}
			wg.Wait()
			t.Logf("%d served, %d refused", served.Load(), others.Load())
			if served.Load() == 0 {
				t.Error("the flooding function got nothing at all")
			}
		},
	})
	add(Attack{
		Name:  "vanishing-clients",
		Tries: "Clients ask for what takes long, and go away",
		Holds: "their machines are free again at once",
		Tests: []string{"TestClientsThatLeave", "TestClientGoesAway"},
		Run: func(t *Target) {
			t.Deploy("vanishing-clients", "import time\ndef handler(event, context):\n    time.sleep(event)\n    return 1\n", Settings(900, 0))
			const clients = 8
			gone, leave := context.WithCancel(t.Context())
			from := &Target{T: t.T, URL: t.URL, Token: t.Token, Gone: gone}
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					if a, err := from.Invoke("vanishing-clients", "600", 900*time.Second); err == nil && a.Status == 200 {
						t.Errorf("%+v", a)
					}
				})
			}
			t.Until("invocations of clients that will vanish run", func() bool { return t.Metric("seuss_running") >= 2 })
			leave()
			wg.Wait()
			for range 2 * clients {
				if a := t.Run("vanishing-clients", "0", defaultTimeout); a.Output != "1" {
					t.Fatalf("others get %+v", a)
				}
			}
		},
	})
}
