package instancetest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"seuss/guest"
	"seuss/images"
	"seuss/vmm"
	"seuss/vmm/platform/fake"
)

// Handler is a function of the fake runtime. What it returns is its result, JSON; an
// error is what the function did wrong.
type Handler func(*Call) (string, error)

// Runtime is a language runtime with its driver, as a guest of the fake platform. A
// deployed function's handler names one of Handlers, as "NAME.handler"; its files say
// nothing.
type Runtime struct {
	Handlers map[string]Handler
	// Imported, if not nil, is asked at each import.
	Imported func(module string) error
	// Machine makes no machine where it returns an error; nil: it never does.
	Machine func() error
	// Settle and SetState, if not nil, are asked when a machine is reset; an error is the
	// platform's.
	Settle, SetState func() error
}

// Platform returns a platform whose guests run the runtime.
func (r *Runtime) Platform(t testing.TB) *fake.Platform {
	t.Helper()
	p, err := fake.New(fake.Options{Guest: r.guest, NewVM: r.Machine, Settle: r.Settle, SetState: r.SetState})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// FakeStateDir makes a state directory with an image for the fake platform under the
// names.
func FakeStateDir(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	store := images.Store{Dir: filepath.Join(dir, "images")}
	if err := os.MkdirAll(store.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		spec := images.Spec{Name: name, MemoryBytes: 16 << 20, Kernel: guest.Kernel(), Argv: []string{"/fake"}, Labels: map[string]string{"name": name}}
		if _, err := store.Add(context.Background(), spec, images.AddOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Call is one invocation of a Handler. A guest that is restored where a lazy function
// asked for an argument begins the handler anew, with the answers that it had: so a
// handler must ask for the same again.
type Call struct {
	CPU   *fake.CPU
	Event json.RawMessage // of a function that is not lazy
	// Before counts the calls that this memory has seen: never one, in a fresh instance.
	Before int
	// Afterwards, if not nil, is what the guest does once it has answered.
	Afterwards func()

	s     *fake.Stream
	state *state
	asked int
	slept int
}

// Sleep sleeps. A guest that is parked meanwhile begins the handler anew when it is brought
// back, as Call says: what it has slept through once it does not again.
func (c *Call) Sleep(d time.Duration) {
	s := c.state
	if c.slept++; c.slept <= s.Slept {
		return
	}
	if s.Until == 0 {
		s.Event, s.Until = c.Event, c.CPU.Mono()+uint64(d)
		s.save(c.CPU)
	}
	for c.CPU.Mono() < s.Until {
		c.CPU.SetTimer(s.Until)
		c.CPU.Wait()
	}
	c.CPU.SetTimer(0)
	s.Slept, s.Until = c.slept, 0
	s.save(c.CPU)
}

// Argument asks for a key of a lazy function's event.
func (c *Call) Argument(key string) (value string, present bool) {
	if c.asked < len(c.state.Answers) {
		a := c.state.Answers[c.asked]
		c.asked++
		return a.Value, a.Present
	}
	c.state.Asks = true
	c.state.save(c.CPU)
	c.s.WriteFrame(guest.MsgWant, append([]byte{0}, key...))
	c.state.answer(c.s.ReadFrame())
	return c.Argument(key)
}

// Stream says that the answer is what Piece is given; what the handler returns is nothing.
func (c *Call) Stream(contentType string) { c.s.WriteFrame(guest.MsgStream, []byte(contentType)) }

// Piece gives the answer's next bytes.
func (c *Call) Piece(p []byte) { c.s.WriteFrame(guest.MsgPiece, p) }

// state is what the runtime keeps in the guest's memory.
type state struct {
	Ready   bool
	Handler string
	Lazy    bool
	Calls   int
	Asks    bool // a call waits for an argument
	Answers []answer
	// A call sleeps until then, by the guest's monotonic time; 0: none does. It has slept
	// so often before.
	Until uint64          `json:",omitempty"`
	Slept int             `json:",omitempty"`
	Event json.RawMessage `json:",omitempty"`
}

type answer struct {
	Value   string
	Present bool
}

// Where the guest keeps things: the bitmaps of a kernel library that frees nothing, and
// the state.
const (
	usedGPA  = fake.FreeGPA
	cleanGPA = fake.FreeGPA + 0x1000
	stateGPA = fake.FreeGPA + 0x2000 // uint32 length, JSON
)

func loadState(c *fake.CPU) *state {
	s := &state{}
	if n := binary.LittleEndian.Uint32(c.Read(stateGPA, 4)); n > 0 {
		if err := json.Unmarshal(c.Read(stateGPA+4, int(n)), s); err != nil {
			panic(fmt.Sprintf("fake runtime: its state: %v", err))
		}
	}
	return s
}

func (s *state) save(c *fake.CPU) {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	c.Write(stateGPA, append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...))
}

// answer takes the frame that answers a question.
func (s *state) answer(kind uint8, payload []byte) {
	if kind != guest.MsgArg {
		panic(fmt.Sprintf("fake runtime: frame %d in place of an argument", kind))
	}
	rest := afterContext(payload)
	s.Asks = false
	s.Answers = append(s.Answers, answer{Value: string(rest[1:]), Present: rest[0] != 0})
}

// afterContext returns what follows seed and context.
func afterContext(payload []byte) []byte {
	rest := payload[guest.SeedBytes:]
	return rest[4+binary.LittleEndian.Uint32(rest):]
}

// guest is the runtime: see fake.Guest.
func (r *Runtime) guest(c *fake.CPU) {
	st := loadState(c)
	s := c.Vsock().Stream(guest.DriverPort)
	if !st.Ready {
		st.Ready = true
		st.save(c)
		pages := uint64(16<<20) / guest.PageSize
		used := make([]byte, pages/8)
		for i := range used {
			used[i] = 0xff
		}
		c.Write(usedGPA, used)
		for offset, v := range map[vmm.GPA]uint64{guest.ControlBitmapPages: pages, guest.ControlUsedBitmap: uint64(usedGPA), guest.ControlCleanBitmap: uint64(cleanGPA)} {
			c.Write(guest.ControlGPA+offset, binary.LittleEndian.AppendUint64(nil, v))
		}
		s.WriteFrame(guest.MsgReady, fmt.Appendf(nil, `{"protocol":%d,"runtime":"fake","version":"1"}`, guest.DriverVersion))
	}
	if st.Asks { // restored, or woken, in the middle of a call
		st.answer(s.ReadFrame())
		r.call(c, s, st, nil)
	}
	if st.Until != 0 {
		r.call(c, s, st, st.Event)
	}
	for {
		kind, payload := s.ReadFrame()
		if kind == 0 {
			c.Exit(0)
		}
		r.frame(c, s, st, kind, payload)
	}
}

func (r *Runtime) frame(c *fake.CPU, s *fake.Stream, st *state, kind uint8, payload []byte) {
	switch kind {
	case guest.MsgImport:
		var modules []string
		if err := json.Unmarshal(payload, &modules); err != nil {
			panic(err)
		}
		for _, m := range modules {
			if r.Imported != nil {
				if err := r.Imported(m); err != nil {
					s.WriteFrame(guest.MsgError, failure("ImportError", err))
					return
				}
			}
		}
		s.WriteFrame(guest.MsgDone, []byte("{}"))
	case guest.MsgLoad:
		var code struct {
			Handler string `json:"handler"`
		}
		if err := json.Unmarshal(payload, &code); err != nil {
			panic(err)
		}
		name := code.Handler[:len(code.Handler)-len(filepath.Ext(code.Handler))]
		if r.Handlers[name] == nil {
			s.WriteFrame(guest.MsgError, failure("Runtime.HandlerNotFound", fmt.Errorf("no handler %q", name)))
			return
		}
		st.Handler = name
		st.save(c)
		s.WriteFrame(guest.MsgDone, []byte("{}"))
	case guest.MsgInvoke:
		r.call(c, s, st, afterContext(payload))
	case guest.MsgInvokeLazy:
		st.Lazy = true
		r.call(c, s, st, nil)
	case guest.MsgExec:
		r.exec(c, s, st, payload)
	default:
		panic(fmt.Sprintf("fake runtime: frame %d", kind))
	}
}

// call runs the handler and answers.
func (r *Runtime) call(c *fake.CPU, s *fake.Stream, st *state, event []byte) {
	r.called(c, s, st, event, func(result string) string { return result })
}

func (r *Runtime) called(c *fake.CPU, s *fake.Stream, st *state, event []byte, document func(string) string) {
	call := &Call{CPU: c, Event: event, Before: st.Calls, s: s, state: st}
	result, err := r.Handlers[st.Handler](call)
	if call.Afterwards != nil {
		defer call.Afterwards()
	}
	st.Calls++
	st.Answers, st.Lazy, st.Slept, st.Event = nil, false, 0, nil
	st.save(c)
	if err != nil {
		s.WriteFrame(guest.MsgError, failure("Error", err))
		return
	}
	s.WriteFrame(guest.MsgResult, []byte(document(result)))
}

// exec runs code, which is the name of a handler; its result is the value.
func (r *Runtime) exec(c *fake.CPU, s *fake.Stream, st *state, request []byte) {
	var ask struct{ Code string }
	if err := json.Unmarshal(request, &ask); err != nil {
		panic(err)
	}
	h := r.Handlers[ask.Code]
	if h == nil {
		s.WriteFrame(guest.MsgError, failure("NameError", fmt.Errorf("name %q is not defined", ask.Code)))
		return
	}
	before := st.Handler
	st.Handler = ask.Code
	r.called(c, s, st, []byte("null"), func(result string) string { return fmt.Sprintf(`{"value":%s,"repr":"it"}`, result) })
	st.Handler = before
	st.save(c)
}

func failure(kind string, err error) []byte {
	b, _ := json.Marshal(map[string]any{"errorType": kind, "errorMessage": err.Error(), "stackTrace": []string{}})
	return b
}
