package debian

import (
	"fmt"
	"io/fs"

	"seuss/images"
)

const glibcDir = "/lib/x86_64-linux-gnu/"

// AddBase adds what the C library and interpreters expect around them.
func (c *Collector) AddBase() error {
	// pthread_cancel and pthread_exit open libgcc_s by name (glibc,
	// sysdeps/nptl); the resolver of older ones opens libnss_files and libnss_dns.
	for _, p := range []string{"/lib64/ld-linux-x86-64.so.2", glibcDir + "libc.so.6", glibcDir + "libgcc_s.so.1"} {
		if _, err := c.Add(p); err != nil {
			return fmt.Errorf("%w; install it with: apt-get install libc6 libgcc-s1", err)
		}
	}
	for _, p := range []string{
		glibcDir + "libnss_files.so.2", glibcDir + "libnss_dns.so.2", glibcDir + "libresolv.so.2",
		"/etc/ssl/openssl.cnf", "/etc/services", "/etc/protocols",
		"/etc/ssl/certs/ca-certificates.crt", // public, and what cert.pem leads to: TLS to servers that the network allows
	} {
		if err := c.AddOptional(p); err != nil {
			return err
		}
	}
	// The links only: what else certs and private hold stays on the host.
	for _, name := range []string{"cert.pem", "certs", "openssl.cnf"} {
		if err := c.AddLink("/usr/lib/ssl/" + name); err != nil {
			return err
		}
	}
	// OpenSSL opens its modules by name, such as the legacy provider with MD4.
	for _, dir := range []string{"/usr/lib/locale/C.utf8", "/usr/share/zoneinfo", glibcDir + "ossl-modules"} {
		if err := c.AddTree(dir); err != nil {
			return err
		}
	}
	c.files["/etc/localtime"] = images.File{GuestPath: "/etc/localtime", Symlink: "/usr/share/zoneinfo/UTC"}
	c.AddData("/etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"))
	c.AddData("/etc/group", []byte("root:x:0:\nnogroup:x:65534:\n"))
	c.AddData("/etc/hosts", []byte("127.0.0.1 localhost\n"))
	// None is named, so resolvers ask 127.0.0.1: there the monitor answers.
	c.AddData("/etc/resolv.conf", nil)
	c.AddData("/etc/nsswitch.conf", []byte("passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n"))
	for _, p := range []string{"/dev", "/proc", "/run", "/sys", "/var/task"} {
		c.AddDir(p, 0o755)
	}
	c.AddDir("/root", 0o700)
	c.AddDir("/tmp", fs.ModeSticky|0o777)
	c.AddDir("/var/tmp", fs.ModeSticky|0o777)
	return nil
}
