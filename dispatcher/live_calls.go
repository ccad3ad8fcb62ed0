package dispatcher

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
	"seuss/dispatcher/instances/archive"
	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm/vsock"
)

// What an instance that lives on can be asked for: the verbs of an instances.Body.

// call checks a Call.
func (l *life) call(c *instances.Call) (*invocation, error) {
	request := &Request{Event: c.Event, Timeout: time.Duration(c.Timeout)}
	switch {
	case c.Code != nil:
		return &invocation{f: l.f, deadline: time.Now().Add(l.f.bounds.Time(request.Timeout))}, request.Check()
	case l.f.spec.Handler == "":
		return nil, fmt.Errorf("it has no handler, as it is of an image: exec code in it: %w", lineage.ErrInvalid)
	}
	return newInvocation(l.f, request, time.Now())
}

// Do runs code, or handles an event.
func (l *life) Do(ctx context.Context, t instances.Turn, c *instances.Call) (*instances.Answer, error) {
	if l.f.contract != nil {
		return l.ask(ctx, t, c)
	}
	call, err := l.call(c)
	if err != nil {
		return nil, &instances.Refusal{Err: err}
	}
	a := &instances.Answer{}
	l.output = c.Output
	defer func() { l.output = nil }()
	err = l.on(ctx, t, func() error {
		s := l.i.Converse(ctx, call.deadline)
		if c.Code != nil {
			out, err := s.Exec(*c.Code)
			if err == nil {
				err = json.Unmarshal(out, a)
			}
			return err
		}
		reply, err := s.Call(call.how(), call.context, call.event.raw)
		if err == nil && reply.Asks {
			reply, err = call.answerAll(s, reply)
		}
		a.Value, err = wholeOf(reply, err)
		return err
	})
	var own *FunctionError
	if errors.As(err, &own) && l.i != nil {
		a.Error, err = own, nil
	}
	return a, err
}

// Files does steps with its files, by its driver.
func (l *life) Files(ctx context.Context, t instances.Turn, steps []archive.Step) (list []archive.Result, err error) {
	if l.f.contract != nil {
		return nil, &instances.Refusal{Err: fmt.Errorf("its files are out of reach: a runtime's driver copies files, and it is a program: have it read and write them, or forward a port of it: %w", lineage.ErrInvalid)}
	}
	request, err := json.Marshal(steps)
	if err != nil {
		return nil, &instances.Refusal{Err: err}
	}
	err = l.on(ctx, t, func() error {
		out, err := l.i.Converse(ctx, time.Now().Add(filesTime)).Files(request)
		if err == nil {
			answer := struct{ Value *[]archive.Result }{&list}
			err = json.Unmarshal(out, &answer)
		}
		return err
	})
	var own *FunctionError
	if errors.As(err, &own) && l.i != nil {
		err = &instances.Refusal{Err: fmt.Errorf("its runtime's driver copies no files (an image that was built by an earlier release has to be built anew): %w: %w", own, archive.ErrFiles)}
	}
	return list, err
}

// filesTime bounds a batch of steps with files, which is a mebibyte or so.
const filesTime = 30 * time.Second

// Dial connects to a TCP port of its guest. The connection takes room where it is off its
// machine: where there is none it is refused, and the instance goes on.
func (l *life) Dial(ctx context.Context, t instances.Turn, port uint16, output instances.Output) (instances.Port, error) {
	if !l.d.lot.Take(&l.away.stay, l.Bytes()+vsock.StreamBytes) {
		if err := l.room(); err != nil { // what it had is somebody else's by now
			return nil, err
		}
		return nil, &instances.Refusal{Err: fmt.Errorf("%w: there is no room for the bytes of a connection more: allow more (serve --parked-memory)", instances.ErrTooMany)}
	}
	l.output = output
	defer func() { l.output = nil }()
	begin := l.begin(ctx)
	var c *vsock.Conn
	var refused error
	err := l.on(ctx, t, func() error {
		err := begin()
		if err == nil {
			c, refused = l.i.Inbound().Dial(port)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case refused != nil:
		return nil, &instances.Refusal{Err: refused}
	}
	return vsock.NewStream(c), nil
}

// Step lets it do what it has to do by itself.
func (l *life) Step(ctx context.Context, t instances.Turn, output instances.Output) error {
	l.output = output
	defer func() { l.output = nil }()
	return l.on(ctx, t, l.begin(ctx))
}

// begin returns what it does first that is asked for nothing by which its driver would seed its
// generators: before it has, no thread of its own goes on.
func (l *life) begin(ctx context.Context) func() error {
	if l.i != nil || l.f.contract != nil { // it has begun, or nobody can seed anything
		return func() error { return nil }
	}
	return func() error { return l.i.Converse(ctx, time.Now().Add(restTime)).Import() }
}

// What an instance that lives on has to do with programs: those of contracts other than a
// driver's, which are typed to, or given requests.

// lineOf is what the key of an instance's node says of its program beside its contract, in
// place of what a function's waits for.
type lineOf struct {
	Waits   string             `json:"waits,omitempty"`
	Program *functions.Program `json:"program,omitempty"` // as it was started; nil: its function says
}

// waitsOf is what the program of a snapshot waits for.
func waitsOf(s *instance.Snapshot) string {
	key := &s.Node.Key
	if s.Node.Kind != lineage.KindInstance || key.Contract == "" {
		return key.NextKey
	}
	var line lineOf
	_ = json.Unmarshal([]byte(key.NextKey), &line) // ofProgram says what is wrong
	return line.Waits
}

// keyOfProgram completes the key of nodes of what it is.
func (l *life) keyOfProgram(key *lineage.Key) {
	line := lineOf{Waits: l.waits}
	if l.f.spec.CodeDigest == "" {
		line.Program = l.f.spec.Settings.Program
	}
	b, err := json.Marshal(&line)
	if err != nil {
		panic(err) // texts, numbers
	}
	key.Contract, key.NextKey = l.f.contract.Name, string(b)
}

// ofImage finds where an instance of an image begins.
func (l *life) ofImage(ctx context.Context, name string) (node *instance.Snapshot, err error) {
	runtime, spec := "", FunctionSpec{Image: name}
	if l.spec.Program != nil {
		p := *l.spec.Program
		spec.Settings.Program, runtime = &p, contracts.Loader
		if err := l.d.ownProgram(&spec); err != nil {
			return nil, err
		}
	}
	f := &function{spec: &Deployment{}}
	if node, l.img, f.runtime, err = l.d.maker.imported(ctx, spec.Image, runtime, "", nil); err != nil {
		return nil, err
	}
	f.image, l.f = l.img, f
	if spec.Settings.Program == nil {
		return node, nil
	}
	f.spec.Settings.Program, f.spec.Settings.Container = spec.Settings.Program, spec.Settings.Container
	return node, l.program(true)
}

// program completes what is known of a program that no function is deployed of.
func (l *life) program(own bool) (err error) {
	f, p := l.f, l.f.spec.Settings.Program
	if f.contract, err = programs(&f.spec.Settings); err != nil {
		return err
	}
	if f.contract == nil || f.contract.Live == nil {
		return fmt.Errorf("contract %q is none of a program: %w", p.Contract, lineage.ErrInvalid)
	}
	if own && !f.contract.Live.Own {
		return fmt.Errorf("a program of %s is a function's: deploy one, and create an instance of that: %w", f.contract.Title, lineage.ErrInvalid)
	}
	if err := f.contract.Check(&f.spec.Function, nil, contracts.Asked{}); err != nil {
		return err
	}
	f.spec.Handler = contracts.HandlerOf(p)
	f.code, err = encodeCode(f.contract.Document(&f.spec.Function, nil))
	return err
}

// ofProgram completes what is known of an instance of a snapshot that is a program's.
func (l *life) ofProgram(key *lineage.Key) error {
	if key.Contract == "" {
		if l.spec.Program == nil {
			return nil
		}
		spec := FunctionSpec{Image: l.img.Name} // it is lost, and was started in this node
		spec.Settings.Program = l.spec.Program
		if err := l.d.ownProgram(&spec); err != nil {
			return err
		}
		l.f.spec = &Deployment{}
		l.f.spec.Settings.Program, l.f.spec.Settings.Container = spec.Settings.Program, spec.Settings.Container
		return l.program(true)
	}
	if l.f.spec.Settings.Program != nil { // its function is there
		var err error
		if l.f.contract, err = programs(&l.f.spec.Settings); err == nil {
			l.f.code, err = l.d.Deployments.store.Code(l.f.spec.Function)
		}
		return err
	}
	var line lineOf
	if key.CodeDigest != "" || json.Unmarshal([]byte(key.NextKey), &line) != nil || line.Program == nil {
		return fmt.Errorf("the snapshot is of a program of function %q, whose code is not deployed any more: deploy it again: %w", key.Function, lineage.ErrInvalid)
	}
	spec := Deployment{}
	spec.Name, spec.Settings.Program = l.f.spec.Name, line.Program
	l.f.spec = &spec
	if line.Program.Contract != key.Contract {
		return fmt.Errorf("the snapshot says that its program speaks %q, and %q: %w", line.Program.Contract, key.Contract, lineage.ErrFormat)
	}
	return l.program(true)
}

// shared reports whether copies of it may draw the same random numbers.
func shared(l *life) bool {
	return l.spec.SharedGenerators || l.f.spec.Settings.Program.SharedGenerators
}

// fits refuses what instances of programs cannot be.
func fits(l *life) error {
	switch {
	case l.f.contract == nil && l.spec.SharedGenerators:
		return fmt.Errorf("allow_shared_generators is for programs: a runtime's driver seeds its generators anew: %w", lineage.ErrInvalid)
	case l.f.contract != nil && l.spec.Durable && !shared(l):
		return fmt.Errorf("a durable instance of a program may draw the same random numbers again after the service has died: allow that with --allow-shared-generators (allow_shared_generators), or pause it durably instead: %w", lineage.ErrInvalid)
	}
	return nil
}

// start has the loader become the program, and the program be ready.
func (l *life) start(ctx context.Context) error {
	contract, p := l.f.contract, l.f.spec.Settings.Program
	deadline := time.Now().Add(loadTimeout)
	var lines instance.Lines
	l.output = func(fd uint16, p []byte) { lines.Write(fd, p) }
	defer func() { l.output = nil }()
	err := l.on(ctx, nil, func() error {
		err := contracts.Become(l.i.Converse(ctx, deadline), l.f.code)
		instance.As(l.i, contract.Name)
		if start := contract.Live.Start; err == nil && start != nil {
			if err = start(ctx, l.i, p, deadline); err == nil { // else it says what was printed
				for _, line := range l.i.Report().Logs {
					lines.Write(descriptor(line.Stream), []byte(line.Text))
				}
			}
			l.i.Output(l.print)
		}
		return err
	})
	var own *FunctionError
	if errors.As(err, &own) { // the loader's: there is no program
		l.end(nil)
	}
	l.said, _ = lines.Take()
	if err != nil {
		err = fmt.Errorf("%w%s", err, spoken(l.said))
		var exit *instance.ExitError
		if errors.As(err, &exit) || own != nil {
			err = fmt.Errorf("start %.80s: %w: %w", p.Command[0], err, lineage.ErrInvalid)
		}
	}
	return err
}

// Bounds of what was printed that is in an error.
const (
	maxSaid  = 1024 // bytes of a line
	maxLines = 8
)

// spoken is what was printed, for an error: its last lines.
func spoken(lines []instance.LogLine) string {
	var text strings.Builder
	if more := len(lines) - maxLines; more > 0 {
		fmt.Fprintf(&text, "; [%d lines were cut]", more)
		lines = lines[more:]
	}
	for _, line := range lines {
		fmt.Fprintf(&text, "; %s: %s", line.Stream, instance.Cut(line.Text, maxSaid))
	}
	return text.String()
}

// Port is that of its program; 0: it has none.
func (l *life) Port() uint16 {
	if l.f.contract == nil {
		return 0
	}
	return l.f.spec.Settings.Program.Port
}

// Began tells what was printed at its start.
func (l *life) Began(output instances.Output) {
	for _, line := range l.said {
		output(descriptor(line.Stream), []byte(line.Text))
	}
	l.said = nil
}

// descriptor is the file descriptor of a stream of instance.LogLine.
func descriptor(stream string) uint16 {
	switch stream {
	case "stdout":
		return 1
	case "stderr":
		return 2
	}
	return 0
}

// ask is Do for a program.
func (l *life) ask(ctx context.Context, t instances.Turn, c *instances.Call) (*instances.Answer, error) {
	live, p := l.f.contract.Live, l.f.spec.Settings.Program
	refuse := func(err error) (*instances.Answer, error) { return nil, &instances.Refusal{Err: err} }
	switch {
	case c.Code != nil && live.Type == nil:
		return refuse(fmt.Errorf("it is a program that takes requests (%s) and has no standard input: invoke it, or forward a port: %w", l.f.contract.Title, lineage.ErrInvalid))
	case c.Code == nil && live.Serve == nil:
		return refuse(fmt.Errorf("it is a program on its standard input, which an event would have to end: exec what it is to read: %w", lineage.ErrInvalid))
	}
	event := c.Event
	if c.Code != nil {
		event = []byte("null")
	}
	call, err := newInvocation(l.f, &Request{Event: event, Timeout: time.Duration(c.Timeout)}, time.Now())
	if err != nil {
		return refuse(err)
	}
	a := &instances.Answer{}
	l.output = c.Output
	defer func() { l.output = nil }()
	var refused error
	err = l.on(ctx, t, func() error {
		var err error
		if c.Code != nil {
			text := *c.Code
			if text != "" && text[len(text)-1] != '\n' { // a line, as at a prompt
				text += "\n"
			}
			err = live.Type(ctx, l.i, []byte(text), call.deadline)
		} else {
			var answer []byte
			answer, err = live.Serve(ctx, l.i, p, &contracts.Call{Waits: l.waits, RequestID: call.result.RequestID, Event: call.event.raw, Context: call.context[4:], Deadline: call.deadline, Port: p.Port})
			if err == nil {
				a.Value, err = contracts.Answer(answer)
			}
		}
		if errors.Is(err, lineage.ErrInvalid) {
			refused, err = err, nil
		} else {
			l.waits = ""
		}
		return err
	})
	var own *FunctionError
	var exit *instance.ExitError
	switch {
	case refused != nil && err == nil:
		return refuse(refused)
	case errors.As(err, &own) && l.i != nil:
		a.Error, err = own, nil
	case errors.As(err, &exit):
		err = fmt.Errorf("the program has ended: %w", err)
	}
	return a, err
}

// alike refuses to make what may draw the same random numbers as it does, unless that is
// allowed: what a program's own generators hold nobody can seed anew.
func (l *life) alike(what string) error {
	if l.f.contract == nil || shared(l) || l.fresh && l.node.Node.Kind == lineage.KindFunction {
		return nil
	}
	m, err := l.Memory()
	if err != nil {
		return err
	}
	var taken guest.Purity
	const at = guest.ControlGPA + guest.ControlPurity
	if page := m.Bytes(at / lineage.PageSize); page != nil {
		if _, err := binary.Decode(page[at%lineage.PageSize:], binary.LittleEndian, &taken); err != nil {
			return err
		}
	}
	files, err := contracts.FilesOf(l.f.code, l.d.store.ImagePath(l.img.Digest))
	if err != nil {
		return &instances.Refusal{Err: err}
	}
	defer files.Close()
	why := contracts.Seeded(l.f.spec.Settings.Program, lineage.Purity{Entropy: taken.Entropy, Clock: taken.Clock}, files)
	if why == "" {
		return nil
	}
	return &instances.Refusal{Err: fmt.Errorf("%s may draw the same random numbers: %s. What comes from the kernel at each draw (getrandom, /dev/urandom) always differs; if nothing else has to, create it with --allow-shared-generators (allow_shared_generators): %w", what, why, lineage.ErrInvalid)}
}
