package attacks

func init() {
	add(Attack{
		Name:  "forged-stream",
		Tries: "A function speaks to the monitor in its driver's place: frames out of turn, of any length, endless",
		Holds: "the invocation fails with one line that says so",
		Tests: []string{"TestHostileGuests"},
		Run:   func(t *Target) { t.forge(stream) },
	})
}

var stream = Forgeries{
	"frame-want":         {`frame(20, b"\0key"); time.sleep(9)`, "died:malformed"},
	"frame-want-all":     {`frame(20, b"\1"); time.sleep(9)`, "died:malformed"},
	"frame-want-flags":   {`frame(20, b"\xff"); time.sleep(9)`, "died:malformed"},
	"frame-want-empty":   {`frame(20); time.sleep(9)`, "died:malformed"},
	"frame-ready":        {`frame(16, b"{}"); time.sleep(9)`, "died:malformed"},
	"frame-unknown":      {`frame(255); time.sleep(9)`, "died:malformed"},
	"frame-huge":         {`frame(18, b"", 2**32 - 1); time.sleep(9)`, "died:malformed|crash:malformed"},
	"frame-half":         {`frame(18, b"123", 1000); time.sleep(9)`, "timeout"},
	"frame-not-json":     {`frame(18, b"\xff not json"); time.sleep(9)`, "function:Runtime.MarshalError"},
	"frame-error":        {`frame(19, b"[[["); time.sleep(9)`, "function:Runtime.Unknown"},
	"want-flood":         {"s = stream()\n    while True: s.sendall(struct.pack('<IB', 1 << 20, 20) + b'\\0' + os.urandom(4).hex().encode() + b'k' * ((1 << 20) - 9)); s.recv(1 << 16)", "died:|timeout"},
	"stream-closed":      {`stream().shutdown(socket.SHUT_RDWR)`, "timeout|died:|exit:"},
	"stream-closed-hard": {"n = stream().fileno()\n    [os.close(fd) for fd in range(3, 64) if fd != n and os.path.exists('/proc/self/fd/%d' % fd)]\n    os.close(n)", "timeout|died:|exit:|function:"},
	"not-a-number":       {`return float("nan")`, "function:Runtime.MarshalError"},
}
