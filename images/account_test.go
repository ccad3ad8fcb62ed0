package images

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestAccount: who a USER[:GROUP] is, from a tree and from the image of it.
func TestAccount(t *testing.T) {
	var many strings.Builder
	for i := range 40 {
		fmt.Fprintf(&many, "g%d:x:%d:busy\n", i, 3000+i)
	}
	files := []File{
		{GuestPath: "/etc/passwd", Data: []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:\nbad:x:no:1::/:\nbusy:x:9:9::/:\nshort:x\n")},
		{GuestPath: "/etc/group", Data: []byte("app:x:1001:app\nstaff:x:50:other,app\nnone:x:x:\n" + many.String())},
	}
	path, _ := build(t, Spec{Name: "account", Files: files})
	img := reopen(t, path)
	for text, want := range map[string]Account{
		"": {Home: "/root"}, "root": {Home: "/root"}, "0": {Home: "/root"}, "0:staff": {GID: 50, Home: "/root"},
		"app": {1000, 1001, []uint32{50}, "/home/app"}, "1000": {1000, 1001, []uint32{50}, "/home/app"},
		"app:7": {1000, 7, nil, "/home/app"}, "app:staff": {1000, 50, nil, "/home/app"}, "7": {UID: 7, Home: "/"}, "7:8": {7, 8, nil, "/"},
		"busy:9": {9, 9, nil, "/"},
	} {
		got, err := img.Account(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
		path, _ := build(t, Spec{Name: "account", Files: files, User: text})
		if c := reopen(t, path).Config(); text != "" && (c.User != text || !reflect.DeepEqual(*c.Account, want)) {
			t.Errorf("the image for %q has %q, %+v, want %+v", text, c.User, c.Account, want)
		}
	}
	for text, want := range map[string]string{
		"nobody": `no user "nobody"`, "app:nobody": `no group "nobody"`, "bad": "/etc/passwd", "app:none": "/etc/group",
		"busy": "at most 32 are possible", "-1": "no user", "4294967295": "no user",
	} {
		if _, err := img.Account(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	// What the container image says holds where nothing else does.
	path, _ = build(t, Spec{Name: "account", Files: files, Container: &Container{User: "app"}})
	if c := reopen(t, path).Config(); c.Account == nil || c.Account.UID != 1000 {
		t.Errorf("the account is %+v", c.Account)
	}
	path, _ = build(t, Spec{Name: "account", Files: files, Container: &Container{User: "app"}, User: "root"})
	if c := reopen(t, path).Config(); !c.Account.IsRoot() {
		t.Errorf("the account is %+v", c.Account)
	}
}
