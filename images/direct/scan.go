package direct

import (
	"bytes"
	"encoding/binary"
	"slices"
)

const (
	// lookBack bounds how many instructions before a syscall can be moved.
	lookBack = 6
	// shortReach is beyond what a branch with an 8-bit displacement reaches,
	// counted from a syscall: 128 bytes, the branch itself and what changes.
	shortReach = 128 + lookBack*15 + 2
	// maxSyscallSites bounds the work on one object. glibc 2.36 has 526.
	maxSyscallSites = 1 << 16
	// rtSigreturn: unwinders recognise a signal frame by the bytes of this call
	// (x86_64_fallback_frame_state of libgcc), so its site stays as it is.
	rtSigreturn = 15
)

var syscallBytes = []byte{0x0f, 0x05}

// scan looks for system calls in the code of one layout.
//
// Whether bytes may change rests on knowing every branch to them. Branches with
// a 32-bit displacement are looked for at every byte of the code, without trust
// in any disassembly. Those with an 8-bit displacement come from nearby; each
// function that near is decoded from its start to its end, and a byte of it
// that cannot be decoded forbids the change. What remains, indirect jumps, lead
// to the start of instructions. So a change that leaves no start of an
// instruction behind is safe, and any other needs a function without them.
type scan struct {
	mem     []byte
	spans   []span   // of code, by place
	targets []uint64 // bitmap over mem: a branch leads here
	sites   []site
}

// span is a stretch of code with one known start: a function, or a section
// without function symbols.
type span struct {
	start, end uint64
	decoded    bool
	clean      bool // its instructions end where it ends
	indirect   bool // has an indirect jump
}

// site is a syscall instruction and the instructions that lead straight to it.
type site struct {
	off    uint64
	span   int
	before []instr // in order, at most lookBack
}

func newScan(mem []byte, spans []span) *scan {
	return &scan{mem: mem, spans: spans, targets: make([]uint64, len(mem)/64+1)}
}

// calls returns the system calls that a trampoline can serve, by place, and
// how many it cannot.
func (s *scan) calls() (direct []call, left int) {
	found := s.find()
	if len(found) == 0 || len(found) > maxSyscallSites {
		return nil, len(found)
	}
	for _, off := range found {
		lo, hi := s.around(off)
		for k := lo; k < hi; k++ {
			s.decode(k)
		}
	}
	s.longBranches()
	slices.SortFunc(s.sites, func(a, b site) int { return int(int64(a.off) - int64(b.off)) })
	for i := range s.sites {
		if c, ok := s.choose(&s.sites[i]); ok {
			direct = append(direct, c)
		} else {
			left++
		}
	}
	return direct, left
}

// find returns where the code holds the bytes of a syscall instruction, which
// may also be part of another instruction.
func (s *scan) find() []uint64 {
	var out []uint64
	for _, sp := range s.spans {
		for at := sp.start; at < sp.end; {
			n := bytes.Index(s.mem[at:sp.end], syscallBytes)
			if n < 0 || len(out) > maxSyscallSites {
				break
			}
			out = append(out, at+uint64(n))
			at += uint64(n) + 1
		}
	}
	return out
}

// around returns the first span from which a short branch can reach what lies
// before off, and the one behind the last.
func (s *scan) around(off uint64) (lo, hi int) {
	from, to := off-min(off, shortReach), off+shortReach
	lo, _ = slices.BinarySearchFunc(s.spans, from, func(sp span, at uint64) int {
		if sp.end <= at {
			return -1
		}
		return 1
	})
	for hi = lo; hi < len(s.spans) && s.spans[hi].start < to; hi++ {
	}
	return lo, hi
}

// decode decodes a span once and notes its branches and system calls.
func (s *scan) decode(k int) {
	sp := &s.spans[k]
	if sp.decoded {
		return
	}
	sp.decoded = true
	var recent []instr
	for at := sp.start; at < sp.end; {
		in, ok := decodeInstr(s.mem[at:sp.end], at)
		if !ok {
			return
		}
		at += uint64(in.len)
		if in.relBytes != 0 { // a branch, or an address taken
			s.target(in.target)
		}
		switch in.kind {
		case kindMovable, kindBranch:
			if len(recent) == lookBack {
				recent = recent[1:]
			}
			recent = append(recent, in)
			continue
		case kindSyscall:
			s.sites = append(s.sites, site{in.off, k, slices.Clone(recent)})
		case kindIndirect:
			sp.indirect = true
		}
		recent = nil
	}
	sp.clean = true
}

// longBranches notes what every call, jump, conditional jump and xbegin with a
// 32-bit displacement leads to, wherever its bytes lie.
func (s *scan) longBranches() {
	for _, sp := range s.spans {
		// A span may end within an instruction, if its end is wrong: read on
		// in the layout.
		for at := sp.start; at < sp.end; at++ {
			n := uint64(0)
			switch b := s.mem[at]; {
			case b == 0xe8 || b == 0xe9:
				n = 1
			case at+1 < uint64(len(s.mem)) && (b == 0x0f && s.mem[at+1]&0xf0 == 0x80 || b == 0xc7 && s.mem[at+1] == 0xf8):
				n = 2
			}
			if n != 0 && at+n+4 <= uint64(len(s.mem)) {
				disp := int32(binary.LittleEndian.Uint32(s.mem[at+n:]))
				s.target(at + n + 4 + uint64(int64(disp)))
			}
		}
	}
}

// target notes that something leads to a place; outside the layout it is none
// of ours.
func (s *scan) target(at uint64) {
	if at < uint64(len(s.mem)) {
		s.targets[at/64] |= 1 << (at % 64)
	}
}

func (s *scan) isTarget(at uint64) bool { return s.targets[at/64]>>(at%64)&1 != 0 }

// choose decides what the jump replaces. It takes the shortest sequence that
// begins with an instruction of at least patchBytes, because its change leaves
// every other instruction whole; failing that, the shortest that is long
// enough. It reports false when neither is safe.
func (s *scan) choose(x *site) (call, bool) {
	lo, hi := s.around(x.off)
	for _, sp := range s.spans[lo:hi] {
		if !sp.clean {
			return call{}, false
		}
	}
	if n := len(x.before); n > 0 && x.before[n-1].loads == rtSigreturn {
		return call{}, false
	}
	pick := func(fits func(in *instr) bool) (call, bool) {
		for i := len(x.before) - 1; i >= 0; i-- {
			if first := &x.before[i]; fits(first) && s.unreached(first.off+1, first.off+patchBytes) {
				end := x.off + uint64(len(syscallBytes))
				return call{
					start: first.off, end: end, moved: x.before[i:],
					code: slices.Clone(s.mem[first.off:end]),
				}, true
			}
		}
		return call{}, false
	}
	if c, ok := pick(func(in *instr) bool { return in.len >= patchBytes }); ok {
		return c, true
	}
	if s.spans[x.span].indirect {
		return call{}, false
	}
	return pick(func(in *instr) bool { return in.off+patchBytes <= x.off })
}

// unreached says whether no branch leads into [from, to).
func (s *scan) unreached(from, to uint64) bool {
	for at := from; at < to; at++ {
		if s.isTarget(at) {
			return false
		}
	}
	return true
}
