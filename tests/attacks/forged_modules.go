package attacks

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"seuss/dispatcher"
)

// Module is code that forges while it is deployed, and a handler's body for what was
// captured then.
type Module struct{ Import, Handler string }

// Source is the module as a function's source.
func (m Module) Source() string {
	return Forge + m.Import + "\ndef handler(event, context):\n    " + m.Handler + "\n"
}

// ForgedModules are tried when they are imported; their snapshot, if one is taken,
// holds what they have forged.
var ForgedModules = map[string]Module{
	"bitmaps-wild":    {"control(USED, MAX - 100); control(CLEAN, 0)", "return 1"},
	"bitmaps-overlap": {"control(USED, 0x400000); control(CLEAN, 0x400000)", "return 1"},
	"bitmap-is-image": {"control(CLEAN, memory_end() - 8192)", "return 1"},
	"bitmap-count":    {"control(BITS, MAX)", "return 1"},
	"nothing-used":    {"fill(control(USED), control(BITS) // 8, 0)", "return 1"},
	"all-used-clean":  {"fill(control(USED), control(BITS) // 8, 0xff); fill(control(CLEAN), control(BITS) // 8, 0xff)", "return 1"},
	"enosys-wraps":    {"real = control(ENOSYS_GPA); control(ENOSYS_GPA, MAX - 2047)", "control(ENOSYS_GPA, real); ctypes.CDLL(None).syscall(499); return 1"},
	"enosys-last":     {"real = control(ENOSYS_GPA); control(ENOSYS_GPA, MAX - 3)", "control(ENOSYS_GPA, real); ctypes.CDLL(None).syscall(499); return 1"},
	"forged-done":     {"frame(17, b'{}')", "return 1"},
	"forged-result":   {"frame(18, b'1'); time.sleep(9)", "return 1"},
	"exit":            {"ring(EXIT, 3)", "return 1"},
	"panic":           {"ring(PANIC)", "return 1"},
	"queue":           {"q = queues()[1]; q.idx += 1000; notify()", "return 1"},
	"streams":         {"s = [socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) for _ in range(100)]\nfor x in s:\n    try: x.connect((2, 9))\n    except OSError: pass", "return 1"},
	"console":         {"control(HEAD, control(TAIL) + 2**50)", "return 1"},
	"spinning-thread": {"threading.Thread(target=stuck, daemon=True).start()", "return 1"},
}

func init() {
	add(Attack{
		Name:  "forged-modules",
		Tries: "Code forges while it is deployed, so that its snapshot holds what it forged",
		Holds: "the deployment fails with one line, or the function harms nobody but itself",
		Tests: []string{"TestHostileModules"},
		Run: func(t *Target) {
			for i, name := range slices.Sorted(maps.Keys(ForgedModules)) {
				if t.Short && i%8 != 0 || name == "forged-result" { // which sleeps
					continue
				}
				function := "forged-module-" + name
				status, body := t.Try(dispatcher.FunctionSpec{Name: function, Settings: Settings(20, 0),
					Files: map[string][]byte{"main.py": []byte(ForgedModules[name].Source())}})
				t.Logf("%s: %d %.200s", name, status, body)
				if status < 300 {
					t.Run(function, `{}`, 300*time.Millisecond)
					continue
				}
				if status >= 500 {
					t.Errorf("%s: %d %.300s", name, status, body)
				}
				if a, err := t.Invoke(function, `{}`, time.Second); err != nil || a.Status != 404 {
					t.Errorf("%s: the deployment failed and left the function: %v, %v", name, a, err)
				}
			}
		},
	})
	add(Attack{
		Name:  "questions",
		Tries: "A function with lazy arguments asks for keys without end, or for long ones",
		Holds: "it ends, and what it has asked for is bounded",
		Tests: []string{"TestHostileQuestions"},
		Run: func(t *Target) {
			for name, key := range Questions {
				if t.Short && name != "large-keys" {
					continue
				}
				function := "questions-" + name
				if status, body := t.Try(dispatcher.FunctionSpec{Name: function, Lazy: true, Settings: Settings(20, 0),
					Files: map[string][]byte{"main.py": []byte(QuestionSource(key))}}); status >= 300 {
					t.Fatalf("%s: %d %.300s", name, status, body)
				}
				if a := t.Run(function, `{}`, 2*time.Second); a.Type != "Sandbox.Timedout" && !strings.Contains(a.Message, "it has asked for") {
					t.Errorf("%s: %+v", name, a)
				}
			}
		},
	})
}

// Questions are what a function asks for without end: the expression of a key.
var Questions = map[string]string{"large-keys": "b'k' * (1 << 20)", "many-keys": "b''"}

// QuestionSource is a function that asks for keys without end.
func QuestionSource(key string) string {
	return Forge + fmt.Sprintf(`
def handler(event, context):
    s, n = stream(), 0
    while True:
        k = b'%%d' %% n + %s
        n += 1
        s.sendall(struct.pack('<IB', len(k) + 1, 20) + bytes(1) + k)
        s.recv(1 << 16)
`, key)
}
