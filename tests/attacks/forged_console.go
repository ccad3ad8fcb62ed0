package attacks

func init() {
	add(Attack{
		Name:  "forged-console",
		Tries: "A function moves the console ring to where none is and fills it with garbage",
		Holds: "output is bounded, and the invocation ends as if nothing were",
		Tests: []string{"TestHostileGuests"},
		Run:   func(t *Target) { t.forge(console) },
	})
}

var console = Forgeries{
	"console-head":     {`control(HEAD, control(TAIL) + 2**40); ring(CONSOLE)`, "ok|timeout"},
	"console-back":     {`control(HEAD, control(TAIL) - 1); ring(CONSOLE)`, "ok|timeout"},
	"console-wild":     {`control(CONSOLE_GPA, MAX); print("x"); ring(CONSOLE)`, "ok|timeout|crash:"},
	"console-garbage":  {"fill(control(CONSOLE_GPA), 65536, 0xff)\n    control(HEAD, control(TAIL) + 65536); ring(CONSOLE)", "ok|timeout"},
	"console-empty":    {"fill(control(CONSOLE_GPA), 65536, 0)\n    for i in range(2000):\n        control(HEAD, control(TAIL) + 65536); ring(CONSOLE)", "ok|timeout"},
	"console-by-bytes": {"for i in range(400000): os.write(1, b'x')", "ok|timeout"},
}
