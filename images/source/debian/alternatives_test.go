package debian

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestAlternatives: links that no package holds come along with what they lead to, and what
// leads elsewhere does not.
func TestAlternatives(t *testing.T) {
	root := filepath.Join(t.TempDir(), "[a root") // no pattern
	for name, content := range map[string]string{
		"usr/bin/php8.2": "p", "usr/bin/other": "o", "usr/share/man/php8.2.1": "m",
		"var/lib/dpkg/alternatives/php":  "auto\n/usr/bin/php\nphp.1\n/usr/share/man/php.1\n\n/usr/bin/php8.2\n82\n/usr/share/man/php8.2.1\n\n",
		"var/lib/dpkg/alternatives/else": "auto\n/usr/bin/else\n\n/usr/bin/other\n1\n\n",
		"var/lib/dpkg/alternatives/gone": "auto\n/usr/bin/gone\n\n/usr/bin/gone8\n1\n\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"usr/bin/php": "/etc/alternatives/php", "etc/alternatives/php": "/usr/bin/php8.2", "usr/share/man/php.1": "/usr/share/man/php8.2.1",
		"usr/bin/else": "/usr/bin/other",
	} {
		file := filepath.Join(root, link)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, file); err != nil {
			t.Fatal(err)
		}
	}
	c := newCollector(root)
	if _, err := c.Add("/usr/bin/php8.2"); err != nil {
		t.Fatal(err)
	}
	if err := c.addAlternatives(); err != nil {
		t.Fatal(err)
	}
	if len(c.files) != 3 || c.files["/usr/bin/php"].Symlink == "" || c.files["/etc/alternatives/php"].Symlink == "" {
		t.Errorf("%v", c.files)
	}
}

// TestAlternativeLinks: what the alternatives are, and how they rank, are no links.
func TestAlternativeLinks(t *testing.T) {
	const two = "/usr/bin/php8.2\n82\n/usr/share/man/php8.2.1\n/usr/bin/php8.3\n83\n\n\n"
	for record, want := range map[string][]string{
		"":                             nil,
		"auto":                         nil,
		"auto\n/usr/bin/php":           {"/usr/bin/php"},
		"auto\n/usr/bin/php\n\n" + two: {"/usr/bin/php"},
		"manual\n/usr/bin/php\nphp.1\n/usr/share/man/php.1\n\n" + two: {"/usr/bin/php", "/usr/share/man/php.1"},
	} {
		if got := alternativeLinks(record); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", record, got, want)
		}
	}
}

// TestLinkToDevice: the host's devices are not the guest's; a link to one stays a link.
func TestLinkToDevice(t *testing.T) {
	link := filepath.Join(t.TempDir(), "masked")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	c := newCollector("")
	if _, err := c.Add(link); err != nil || c.files[link].Symlink != "/dev/null" {
		t.Errorf("%v, %v", err, c.files)
	}
	if _, err := c.Add("/dev/null"); err == nil {
		t.Error("a device was taken")
	}
}
