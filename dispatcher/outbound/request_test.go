package outbound

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"seuss/guest"
)

func raw(kind, reserved byte, port uint16, a netip.Addr) (r [guest.NetRequestSize]byte) {
	b := a.As16()
	r[0], r[1], r[2], r[3] = kind, reserved, byte(port), byte(port>>8)
	copy(r[4:], b[:])
	return r
}

func TestDecodeRequest(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		in   [guest.NetRequestSize]byte
		want string
	}{
		{raw(guest.NetKindStream, 0, 443, v4), "1 192.0.2.1:443"},
		{raw(guest.NetKindStream, 0, 65535, v6), "1 [2001:db8::1]:65535"},
		{raw(guest.NetKindDatagram, 0, 0, v6), "2 invalid AddrPort"},
		{raw(guest.NetKindStream, 1, 443, v4), ""},
		{raw(0, 0, 443, v4), ""},
		{raw(3, 0, 443, v4), ""},
	} {
		r, ok := decodeRequest(c.in)
		got := ""
		if ok {
			got = fmt.Sprint(r.kind, " ", r.to)
		}
		if got != c.want {
			t.Errorf("%x: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestErrnoOf(t *testing.T) {
	wrap := func(e syscall.Errno) error {
		return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", e)}
	}
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{wrap(syscall.ECONNREFUSED), syscall.ECONNREFUSED},
		{wrap(syscall.ENETUNREACH), syscall.ENETUNREACH},
		{wrap(syscall.EMFILE), syscall.ENOBUFS},
		{wrap(syscall.EPERM), syscall.EHOSTUNREACH}, // the host's firewall is not the list
		{context.DeadlineExceeded, syscall.ETIMEDOUT},
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, syscall.ETIMEDOUT},
		{errors.New("other"), syscall.EHOSTUNREACH},
	} {
		if got := errnoOf(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

// FuzzStream reads what a guest may put into its streams.
func FuzzStream(f *testing.F) {
	r := raw(guest.NetKindStream, 0, 443, netip.MustParseAddr("192.0.2.1"))
	f.Add(r[:])
	f.Add(append(make([]byte, 18), 2, 0, 'h', 'i'))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= guest.NetRequestSize {
			if r, ok := decodeRequest([guest.NetRequestSize]byte(b)); ok && r.kind == guest.NetKindStream && r.to.Addr().Is4In6() {
				t.Errorf("%v is not unmapped", r.to)
			}
		}
		for _, f := range []framing{onUDP, onTCP} {
			in := bytes.NewReader(b)
			for {
				query, head, err := f.read(in)
				if err != nil {
					break
				}
				if len(query) > maxTCP || len(head) < 2 {
					t.Fatalf("%d bytes behind %d", len(query), len(head))
				}
			}
		}
	})
}
