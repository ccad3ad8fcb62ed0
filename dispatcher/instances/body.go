package instances

import (
	"context"
	"encoding/json"
	"time"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/inflight"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances/archive"
	"seuss/lineage"
)

// Spec is an instance to be made. Of Function, Image and Snapshot one is given.
type Spec struct {
	Name     string `json:"name,omitempty"`     // 1 to 64 of A-Z a-z 0-9 _ -; "": one is made up
	Function string `json:"function,omitempty"` // a deployment: its code is loaded
	Image    string `json:"image,omitempty"`    // its runtime is started, and nothing else
	Snapshot string `json:"snapshot,omitempty"` // a node's id, the beginning of one, or a tag
	// TTL is how long it lives in all, IdleTTL how long without being used; 0: until it is
	// removed. In milliseconds on the wire.
	TTL     Millis `json:"ttl_ms,omitempty"`
	IdleTTL Millis `json:"idle_ttl_ms,omitempty"`
	// MemoryMiB bounds what it may write; 0: its function's bound, or its image's memory.
	MemoryMiB int `json:"memory_mib,omitempty"`
	// Network is what of the service's network it may reach, as of a function; nil: what its
	// function may, or all of that.
	Network []string `json:"network,omitempty"`
	Durable bool     `json:"durable,omitempty"` // it is kept when the service ends, or dies
	// Program is the program of Image that it is, in place of a runtime's interpreter; without
	// a command the image's own. SharedGenerators allows copies, and what else begins as it
	// was, to draw the same random numbers; of programs.
	Program          *functions.Program `json:"program,omitempty"`
	SharedGenerators bool               `json:"allow_shared_generators,omitempty"`
	Public           bool               `json:"public,omitempty"` // its ports are everybody's at its address

	madeUp bool // its name was
}

// MakeUp gives it a name.
func (s *Spec) MakeUp() { s.Name, s.madeUp = NewName(), true }

// Millis is a duration that is whole milliseconds on the wire.
type Millis time.Duration

// MarshalJSON writes milliseconds.
func (m Millis) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(m).Milliseconds())
}

// UnmarshalJSON reads milliseconds. What no duration holds is the longest that one does.
func (m *Millis) UnmarshalJSON(b []byte) error {
	var ms int64
	if err := json.Unmarshal(b, &ms); err != nil {
		return err
	}
	const most = int64(1<<63-1) / int64(time.Millisecond)
	*m = Millis(time.Duration(max(min(ms, most), -most)) * time.Millisecond)
	return nil
}

// Call is what an instance is to do: run code, or handle an event.
type Call struct {
	Code    *string         `json:"code,omitempty"`
	Event   json.RawMessage `json:"event,omitempty"`
	Timeout Millis          `json:"timeout_ms,omitempty"` // 0: the default of invocations

	// Output, where it is not nil, is told what is printed, as it is: fd is 1 or 2, or 0 for
	// the kernel library. It must not wait for anything. Else that is in the answer.
	Output func(fd uint16, p []byte) `json:"-"`
}

// Output is told what is printed, as of Call.
type Output = func(fd uint16, p []byte)

// Answer is what came of a Call.
type Answer struct {
	Value json.RawMessage        `json:"value,omitempty"` // of an event's handler, or of code: JSON
	Repr  string                 `json:"repr,omitempty"`  // of code: as the runtime writes it
	Error *instance.HandlerError `json:"error,omitempty"` // the code's own
	Logs  []instance.LogLine     `json:"logs,omitempty"`
	Cut   bool                   `json:"logs_cut,omitempty"` // there was more
	Took  time.Duration          `json:"took_ns"`
}

// Turn is the right to use a machine, which a Body does without while it waits.
type Turn interface {
	Wanted() bool
	Pause()
	Rested(time.Duration)
	Resume(ctx context.Context, progress *inflight.Progress) error
	// Release gives it back.
	Release()
}

// End is why a Body's wait has ended.
type End int

// The ends of a wait.
const (
	Rung   End = iota // its instance was asked for something
	Due               // it has something to do by itself: a timer, or bytes that came
	Passed            // the time has
	Closed            // nothing is to be waited for any more
)

// Began is a Body that has printed something while it was made.
type Began interface{ Began(Output) }

// Server is a Body that is a server: it listens on a port.
type Server interface{ Port() uint16 }

// Stander is a Body that may stand on a machine between two calls, until somebody wants that.
type Stander interface {
	// Stands reports whether it does; any goroutine may ask.
	Stands() bool
	// Leave has it leave the machine: it takes less memory then, or none is counted that it does
	// not take. An error is why it is over.
	Leave() error
}

// Body is what an instance is made of. It needs no machine but in the calls that take a
// Turn. After an error of these that is no HandlerError the instance is over: it can be
// brought back to a node, and closed.
type Body interface {
	// Wait waits until something is to be done; until zero: whenever that is. One that is
	// frozen has nothing to do by itself.
	Wait(until time.Time, frozen bool, bell <-chan struct{}) End
	Do(ctx context.Context, t Turn, c *Call) (*Answer, error)
	// Files does steps with its files, as archive.Tree says.
	Files(ctx context.Context, t Turn, steps []archive.Step) ([]archive.Result, error)
	// Dial connects to a TCP port of its.
	Dial(ctx context.Context, t Turn, port uint16, output Output) (Port, error)
	// Step lets it do what it has to do by itself until it rests.
	Step(ctx context.Context, t Turn, output Output) error
	// Fork returns others that are what it is, but for their identities, and names.
	Fork(ctx context.Context, t Turn, names []string) ([]Body, error)
	// Checkpoint makes a node of what it is.
	Checkpoint(ctx context.Context, t Turn) (node string, err error)
	// Seal makes a node of what it is, as it rests, which Make can begin from after the service
	// has died; what has not begun is its Node.
	Seal() (node string, err error)
	// Rollback makes it what it was at a node: of its own image, and one of its owner's.
	Rollback(ctx context.Context, node string) error
	// Memory is its guest's, as it rests.
	Memory() (lineage.Memory, error)
	// Image is the digest of its image.
	Image() string
	// Node is the one that it began as, or was checkpointed at or rolled back to last.
	Node() string
	// Bytes is how much memory it takes.
	Bytes() uint64
	// End lets go of what it is: it is over then, as after an error.
	End()
	// Close lets go of all that it has.
	Close()
}
