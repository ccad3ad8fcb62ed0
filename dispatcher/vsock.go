package dispatcher

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"seuss/dispatcher/chain"
	"seuss/dispatcher/functionapi"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/outbound"
	"seuss/dispatcher/state"
	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm/vsock"
)

// maxVsockDir leaves room for a request id and ".sock" in what the kernel takes
// for a Unix socket's path (unix(7)).
const maxVsockDir = 107 - 42

func checkVsock(o *Options) error {
	if o.VsockDir == "" {
		if len(o.HostPorts) > 0 {
			return fmt.Errorf("host ports without a directory for their sockets: %w", lineage.ErrInvalid)
		}
		return nil
	}
	if len(o.VsockDir) > maxVsockDir {
		return fmt.Errorf("vsock directory %s: its name has %d bytes, at most %d leave room for sockets: %w", o.VsockDir, len(o.VsockDir), maxVsockDir, lineage.ErrInvalid)
	}
	for _, port := range []uint32{guest.DriverPort, guest.NetPort, guest.StdinPort, guest.RuntimeApiPort, guest.FunctionApiPort} {
		if slices.Contains(o.HostPorts, port) {
			return fmt.Errorf("host port %d is the monitor's own: %w", port, lineage.ErrInvalid)
		}
	}
	if err := os.MkdirAll(o.VsockDir, 0o700); err != nil {
		return fmt.Errorf("vsock directory: %w", err)
	}
	// What a killed process left behind.
	old, err := filepath.Glob(filepath.Join(o.VsockDir, "*.sock"))
	if err != nil {
		return fmt.Errorf("vsock directory: %w", err)
	}
	for _, path := range old {
		if st, err := os.Lstat(path); err == nil && st.Mode().Type() == os.ModeSocket {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("vsock directory: %w", err)
			}
		}
	}
	return nil
}

// ways are an instance's ways out of its machine. Each is opened when the guest first asks for
// it.
type ways struct {
	outside *outbound.Instance
	shared  *functionapi.Server
}

// caller says what a caller is in a chain.
type caller interface{ who(w *chain.Who) }

// accept takes a stream of an instance of f, whose key is the function's, as its owner's; name
// is what logs and errors call it.
func (w *ways) accept(c *vsock.Conn, d *Dispatcher, f *function, key, name string, of caller) error {
	if c.HostPort() != guest.FunctionApiPort {
		return w.out(d, f, key, name).Accept(c)
	}
	return w.api(d, f, key, name, of).Accept(c)
}

// api is what the function finds at SEUSS_API.
func (w *ways) api(d *Dispatcher, f *function, key, name string, of caller) *functionapi.Server {
	if w.shared == nil {
		w.shared = functionapi.New(func() (*state.Session, error) {
			return d.Shared.Open(state.Who{Owner: functions.OwnerOf(key), Function: functions.NameOf(key), Request: name, Rights: f.shares})
		}, d.opts.Regions, func() (*chain.Caller, error) {
			who := chain.Who{Owner: functions.OwnerOf(key), Function: functions.NameOf(key), Rights: f.calls}
			of.who(&who)
			return d.Chains.Open(who)
		})
	}
	return w.shared
}

// who makes it a caller.
func (i *invocation) who(w *chain.Who) {
	if w.Link = (chain.Link{Request: i.result.RequestID, Root: i.result.RequestID}); i.link != nil {
		w.Link = *i.link
	}
	w.Deadline, w.Context = i.deadline, i.calling
}

// chained runs what a function has called, where nobody lets invocations in: it is
// chain.Options.Run.
func (d *Dispatcher) chained(ctx context.Context, call *chain.Call, began func()) ([]byte, error) {
	r, err := d.Invoke(ctx, Chained(call, began))
	return Outcome(r, err)
}

// Chained is the request of what a function has called.
func Chained(call *chain.Call, began func()) Request {
	return Request{Function: call.Function, Event: call.Event, RequestID: call.Request, Link: &call.Link, Deadline: call.Deadline, Began: began}
}

// Outcome is what its caller gets: a result that stays, or an error in the chain's terms.
func Outcome(r *Result, err error) ([]byte, error) {
	switch {
	case errors.Is(err, ErrUnknownFunction):
		return nil, fmt.Errorf("%w: %w", chain.ErrNotFound, err)
	case errors.Is(err, ErrBadEvent), errors.Is(err, lineage.ErrInvalid):
		return nil, fmt.Errorf("%w: %w", chain.ErrInvalid, err)
	case err != nil:
		return nil, err
	case r.Error != nil:
		trace := r.Error.Trace
		if trace == nil {
			trace = r.Error.StackTrace
		}
		return nil, &chain.Failure{Type: r.Error.Type, Message: r.Error.Message, Trace: trace}
	}
	return bytes.Clone(r.Output), nil
}

// out is the way to the network.
func (w *ways) out(d *Dispatcher, f *function, key, name string) *outbound.Instance {
	if w.outside == nil {
		w.outside = d.opts.Network.Open(name, key, d.opts.Budgets).Within(f.bounds.Within)
	}
	return w.outside
}

// close ends them, and returns what was refused on the network.
func (w *ways) close() (refused map[string]uint32) {
	if w.outside != nil {
		refused = w.outside.Close()
	}
	if w.shared != nil {
		w.shared.Close()
	}
	*w = ways{}
	return refused
}

// Instance is an invocation that runs and can be reached through its socket.
type Instance struct {
	RequestID string    `json:"request_id"`
	Function  string    `json:"function"`
	NodeID    string    `json:"node"`
	Started   time.Time `json:"started"`
	Socket    string    `json:"socket"`
}

// Instances lists what runs, oldest first; nothing without a VsockDir.
func (d *Dispatcher) Instances() []Instance {
	list := []Instance{}
	d.instances.Range(func(_, v any) bool {
		list = append(list, v.(Instance))
		return true
	})
	slices.SortFunc(list, func(a, b Instance) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.RequestID, b.RequestID))
	})
	return list
}

// instanceSocket is the host's way to one instance. It ends with the instance:
// the next one in the same machine has another.
type instanceSocket struct {
	i       *invocation
	sockets *vsock.UnixSockets
}

func (i *invocation) openSocket(places vsock.Places) (*instanceSocket, error) {
	id := i.result.RequestID
	if filepath.Base(id) != id || len(id) > 36 {
		return nil, fmt.Errorf("request id %q cannot name a socket: %w", id, lineage.ErrInvalid)
	}
	dir := i.d.opts.VsockDir
	path := filepath.Join(dir, id+".sock")
	sockets, err := vsock.NewUnixSockets(i.Vsock(), path, places)
	if err != nil {
		return nil, err
	}
	for _, port := range i.d.opts.HostPorts {
		if !i.f.bounds.HostPort(port) {
			continue
		}
		if err := sockets.ForwardTo(port, filepath.Join(dir, fmt.Sprintf("host_%d", port))); err != nil {
			return nil, errors.Join(err, sockets.Close())
		}
	}
	i.d.instances.Store(id, Instance{RequestID: id, Function: i.f.spec.Name, NodeID: i.Start().Node.Info.ID, Started: i.started, Socket: path})
	return &instanceSocket{i, sockets}, nil
}

func (f *instanceSocket) close() {
	f.i.d.instances.Delete(f.i.result.RequestID)
	if err := f.sockets.Close(); err != nil {
		f.i.d.log.Warn("an instance's socket was not closed cleanly", "request_id", f.i.result.RequestID, "error", err)
	}
}
