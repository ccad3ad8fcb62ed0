package instance

import (
	"bytes"
	"testing"

	"seuss/guest"
)

func TestFrameRoundTrip(t *testing.T) {
	b := append(appendHeader(nil, guest.MsgResult, 3), "abc"...)
	b = append(appendHeader(b, guest.MsgWant, 1), 0)
	f, rest, ok, err := decodeFrame(b)
	if err != nil || !ok || f.kind != guest.MsgResult || string(f.payload) != "abc" {
		t.Fatalf("first frame: %+v ok=%v err=%v", f, ok, err)
	}
	f, rest, ok, err = decodeFrame(rest)
	if err != nil || !ok || f.kind != guest.MsgWant || len(rest) != 0 {
		t.Fatalf("second frame: %+v rest=%q ok=%v err=%v", f, rest, ok, err)
	}
}

func TestFrameHalfArrived(t *testing.T) {
	b := append(appendHeader(nil, guest.MsgResult, 3), "abc"...)
	for n := range b {
		if _, rest, ok, err := decodeFrame(b[:n]); ok || err != nil || len(rest) != n {
			t.Fatalf("%d bytes: ok=%v err=%v", n, ok, err)
		}
	}
}

func TestFrameTooLarge(t *testing.T) {
	if _, _, _, err := decodeFrame(appendHeader(nil, guest.MsgResult, maxFrame+1)); err == nil {
		t.Fatal("a frame above the limit was accepted")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(append(appendHeader(nil, guest.MsgWant, 4), 1, 'k', 'e', 'y'))
	f.Add(append(appendHeader(nil, guest.MsgError, 2), "{}"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, rest, ok, err := decodeFrame(b)
		if err != nil || !ok {
			if !bytes.Equal(rest, b) {
				t.Fatal("bytes were consumed without a frame")
			}
			return
		}
		if guest.FrameHeader+len(fr.payload)+len(rest) != len(b) {
			t.Fatal("bytes were lost")
		}
		if _, err := decodeWant(fr.payload); err != nil && len(fr.payload) > 0 && fr.payload[0] < 8 {
			t.Fatal(err)
		}
		if decodeError(fr.payload).Type == "" {
			t.Fatal("an error without a type")
		}
	})
}
