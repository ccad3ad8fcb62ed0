package tests

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sourceTree is what a reference may lead to.
type sourceTree struct {
	files    map[string]bool            // and folders
	names    map[string]bool            // last elements of files
	headings map[string]map[string]bool // of Markdown files
	tests    map[string]map[string]bool // names of tests, benchmarks and fuzz targets, by package folder
	targets  map[string]bool            // of the Makefile
}

var (
	headingLine = regexp.MustCompile(`(?m)^#{1,4} (.*)$`)
	targetLine  = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`)
	testFunc    = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
)

func readTree(files map[string][]byte) *sourceTree {
	t := &sourceTree{files: map[string]bool{".": true}, names: map[string]bool{}, headings: map[string]map[string]bool{},
		tests: map[string]map[string]bool{}, targets: map[string]bool{}}
	for name, content := range files {
		t.names[path.Base(name)] = true
		for n := name; n != "."; n = path.Dir(n) {
			t.files[n] = true
		}
		switch {
		case strings.HasSuffix(name, ".md"):
			t.headings[name] = map[string]bool{}
			for _, m := range headingLine.FindAllSubmatch(content, -1) {
				t.headings[name][string(m[1])] = true
			}
		case strings.HasSuffix(name, "_test.go"):
			dir := path.Dir(name)
			if t.tests[dir] == nil {
				t.tests[dir] = map[string]bool{}
			}
			for _, m := range testFunc.FindAllSubmatch(content, -1) {
				t.tests[dir][string(m[1])] = true
			}
		case name == "Makefile":
			for _, m := range targetLine.FindAllSubmatch(content, -1) {
				t.targets[string(m[1])] = true
			}
		}
	}
	return t
}

// hasTest says whether a package below one of the folders has a test that matches.
func (t *sourceTree) hasTest(pattern *regexp.Regexp, folders ...string) bool {
	for dir, names := range t.tests {
		for _, folder := range folders {
			all, below := strings.CutSuffix(folder, "/...")
			if dir != folder && !(below && (all == "." || dir == all || strings.HasPrefix(dir, all+"/"))) {
				continue
			}
			for name := range names {
				if pattern.MatchString(name) {
					return true
				}
			}
		}
	}
	return false
}

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	inlineCode   = regexp.MustCompile("`([^`\n]+)`")
	testName     = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w*`)
	goTest       = regexp.MustCompile(`go test ([^\n)]*)`)
	makeTarget   = regexp.MustCompile(`^(?:[A-Z_]+=\S+ )*make ([a-z].*)$`)
	makeSaid     = regexp.MustCompile(`(?:run|\(|see|in) make ([a-z]+(?:-[a-z0-9]+)*)`)
	pageHeading  = regexp.MustCompile(`([\w./-]+\.md)[,:] "([^"]+)"`)
	// filePath is a path with an extension that the tree's files have, or one below a top
	// folder. What begins with a slash, a dollar or a tilde is another tree's.
	filePath = regexp.MustCompile(`(?:^|[\s(,;"“'])((?:[\w.-]+/)*[\w-]+\.(?:go|c|h|S|def|md|sh|py|js|mjs|rb|lua|elf|txt|tsv|lds))(?:$|[\s),;:.'"”’])`)
	below    = regexp.MustCompile(`(?:^|[\s(,;"'])((?:guest|dirtytrack|lineage|vmm|images|dispatcher|tools|tests|docs)/[\w./-]*\w)`)
)

// elsewhere are files that comments may name though they are not the tree's: the
// kernel's, C's and the runtimes' headers, and what images, examples and tests make.
var elsewhere = regexp.MustCompile(`(^|/)(kvm|kvm_host|unistd|unistd_64|stdint|stddef|stdio|stdlib|string|errno|userfaultfd|seccomp|prctl|auxvec|elf|stat|fcntl|mman|signal|ucontext|sched|futex|time|socket|vm_sockets|virtio_\w+|magic|resource|poll|epoll|if_arp|node_api|msr-index|processor-flags|pvclock|ioctl|types|limits|hvt_abi)\.h$|^(hello|main|index|table|fetch|prog|x|handler|a|b|lib|app)\.(py|js|mjs|c|go|lua|rb)$|^(linux|asm|sys|asm-generic|include|arch|Documentation|lib/internal)/|^fs/(namei|fcntl|eventpoll|select|signalfd|binfmt_elf)\.c$|^net/(if\.h|ipv4/\w+\.c)$|^sysdeps/|^dl-\w+\.c$|^protocol\.(js|py)$|^mtrr\.c$|^Node\.js$|(^|/)(NAME|OUTPUT|DATE|DIR)\b|NAME_`)

// TestReferencesExist: what documents and comments name exists: files, headings,
// tests and targets of make.
func TestReferencesExist(t *testing.T) {
	files := sources(t)
	tr := readTree(files)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content := files[name]
		var missing []string
		switch ext := filepath.Ext(name); {
		case bytes.IndexByte(content, 0) >= 0 || isGenerated(content) || strings.Contains(name, "testdata/"):
		case ext == ".md":
			missing = tr.checkMarkdown(name, string(content))
		case slices.Contains([]string{".go", ".c", ".h", ".S", ".def", ".js", ".mjs"}, ext):
			missing = tr.checkComment(name, comments(string(content), "//"))
		case slices.Contains([]string{".sh", ".py", ".rb", ".conf", ".yml"}, ext) || name == "Makefile" || name == ".ci/run":
			missing = tr.checkComment(name, comments(string(content), "#"))
		}
		for _, what := range missing {
			t.Errorf("%s names %s, which does not exist", name, what)
		}
	}
}

var (
	blockComment = regexp.MustCompile(`(?s)/\*.*?\*/`)
	lineStart    = regexp.MustCompile(`\n[ \t]*(?:\*|//|#)?[ \t]*`)
)

// comments are the comments of a source file as running text, one on a line.
func comments(content, sign string) []string {
	var all []string
	add := func(s string) {
		all = append(all, strings.TrimSpace(lineStart.ReplaceAllString("\n"+s, " ")))
	}
	if sign == "//" {
		for _, c := range blockComment.FindAllString(content, -1) {
			add(strings.TrimSuffix(strings.TrimPrefix(c, "/*"), "*/"))
		}
	}
	var block []string
	for line := range strings.Lines(content) {
		text := strings.TrimSpace(line)
		if c, ok := strings.CutPrefix(text, sign); ok && !strings.HasPrefix(c, "go:") {
			block = append(block, strings.TrimSpace(c))
			continue
		}
		if len(block) > 0 {
			add(strings.Join(block, " "))
			block = nil
		}
		if _, c, ok := strings.Cut(text, " "+sign+" "); ok {
			add(c)
		}
	}
	if len(block) > 0 {
		add(strings.Join(block, " "))
	}
	return all
}

func (t *sourceTree) checkMarkdown(name, content string) (missing []string) {
	fail := func(format string, args ...any) { missing = append(missing, fmt.Sprintf(format, args...)) }
	for _, m := range markdownLink.FindAllStringSubmatch(content, -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		file, heading, _ := strings.Cut(m[1], "#")
		file = path.Join(path.Dir(name), file)
		if !t.files[file] {
			fail("%s", file)
		} else if heading != "" && !slices.ContainsFunc(slices.Collect(maps.Keys(t.headings[file])), func(h string) bool { return anchor(h) == heading }) {
			fail("heading #%s of %s", heading, file)
		}
	}
	// Indented and fenced blocks hold commands too.
	codes := []string{}
	for _, m := range inlineCode.FindAllStringSubmatch(content, -1) {
		codes = append(codes, m[1])
	}
	for line := range strings.Lines(content) {
		if c, ok := strings.CutPrefix(line, "    "); ok {
			c, _, _ = strings.Cut(strings.TrimSpace(c), "  ")
			codes = append(codes, c)
		}
	}
	for _, code := range codes {
		code = strings.ReplaceAll(code, `\|`, "|")
		if m := makeTarget.FindStringSubmatch(code); m != nil {
			for word := range strings.FieldsSeq(m[1]) {
				if !strings.Contains(word, "=") && !t.targets[word] {
					fail("make %s", word)
				}
			}
		}
		if m := goTest.FindStringSubmatch(code); m != nil {
			missing = append(missing, t.checkGoTest(m[1])...)
			continue
		}
		if !strings.ContainsAny(code, " *<>${}:~…") && !strings.HasPrefix(code, "/") {
			missing = append(missing, t.checkPaths(path.Dir(name), code)...)
		}
	}
	for _, test := range testName.FindAllString(goTest.ReplaceAllString(content, ""), -1) {
		missing = append(missing, t.checkTest(test)...)
	}
	for _, m := range pageHeading.FindAllStringSubmatch(content, -1) {
		missing = append(missing, t.checkHeading(path.Dir(name), m[1], m[2])...)
	}
	return missing
}

func (t *sourceTree) checkComment(name string, all []string) (missing []string) {
	for _, text := range all {
		for _, m := range goTest.FindAllStringSubmatch(text, -1) {
			missing = append(missing, t.checkGoTest(m[1])...)
		}
		for _, m := range makeSaid.FindAllStringSubmatch(text, -1) {
			if !t.targets[m[1]] && m[1] != "sure" && m[1] != "one" && m[1] != "it" && m[1] != "them" {
				missing = append(missing, "make "+m[1])
			}
		}
		for _, test := range testName.FindAllString(goTest.ReplaceAllString(text, ""), -1) {
			missing = append(missing, t.checkTest(test)...)
		}
		for _, m := range pageHeading.FindAllStringSubmatch(text, -1) {
			missing = append(missing, t.checkHeading(path.Dir(name), m[1], m[2])...)
		}
		missing = append(missing, t.checkPaths(path.Dir(name), text)...)
	}
	return missing
}

// checkTest wants a test of that name, in any package. TestMain and the like are Go's.
func (t *sourceTree) checkTest(name string) []string {
	if t.hasTest(regexp.MustCompile("^"+name+"$"), "./...") || t.hasTest(regexp.MustCompile("^"+name+"$"), "...") {
		return nil
	}
	for _, names := range t.tests {
		if names[name] {
			return nil
		}
	}
	return []string{name}
}

func (t *sourceTree) checkHeading(dir, page, heading string) []string {
	for _, file := range []string{page, path.Join(dir, page)} {
		if t.headings[file][heading] {
			return nil
		}
	}
	return []string{fmt.Sprintf("%q of %s", heading, page)}
}

// checkGoTest takes the arguments of a go test apart: its packages exist, and have
// what it wants to run.
func (t *sourceTree) checkGoTest(arguments string) (missing []string) {
	var patterns, folders []string
	words := strings.Fields(strings.NewReplacer("'", "", `"`, "", `\|`, "|", "[", "", "]", "").Replace(arguments))
	for i := 0; i < len(words); i++ {
		word := strings.TrimRight(words[i], ",;.")
		switch {
		case (word == "-run" || word == "-skip" || word == "-bench" || word == "-fuzz") && i+1 < len(words):
			i++
			if p := strings.Split(words[i], "/")[0]; p != "xxx" && p != "." {
				patterns = append(patterns, p)
			}
		case strings.HasPrefix(word, "./"):
			if words[i] == "./..." {
				folders = append(folders, "./...")
				break
			}
			folder := path.Clean(strings.TrimSuffix(word, "/..."))
			if !t.files[folder] {
				missing = append(missing, "package ./"+folder)
			}
			if strings.HasSuffix(words[i], "/...") {
				folder += "/..."
			}
			folders = append(folders, folder)
		}
	}
	for _, p := range patterns {
		re, err := regexp.Compile(p)
		if err != nil {
			missing = append(missing, fmt.Sprintf("a test that -run %s can mean (%v)", p, err))
			continue
		}
		where := folders
		if len(where) == 0 || slices.Contains(where, "./...") {
			where = slices.Collect(maps.Keys(t.tests))
		}
		if !t.hasTest(re, where...) {
			missing = append(missing, fmt.Sprintf("a test that matches %s in %v", p, folders))
			continue
		}
		// What go test passes over silently: one of several names that is no test's.
		for _, one := range alternatives(p) {
			if re, err := regexp.Compile(one); err == nil && !t.hasTest(re, where...) {
				missing = append(missing, fmt.Sprintf("a test that matches %s of -run %s in %v", one, p, folders))
			}
		}
	}
	return missing
}

// checkPaths wants the paths in a text to exist: from the top, from the folder that
// names them, or, without a slash, anywhere.
func (t *sourceTree) checkPaths(dir, text string) (missing []string) {
	exists := func(p string) bool {
		if t.files[p] || t.files[path.Join(dir, p)] || elsewhere.MatchString(p) || !strings.Contains(p, "/") && t.names[p] {
			return true
		}
		for file := range t.files {
			if strings.HasSuffix(file, "/"+p) {
				return true
			}
		}
		// A package and something of it, such as vmm/platform/kvm.Platform.
		base, _, ok := strings.Cut(path.Base(p), ".")
		return ok && t.files[path.Join(path.Dir(p), base)]
	}
	for _, re := range []*regexp.Regexp{filePath, below} {
		// Neighbours share the character between them.
		for _, m := range re.FindAllStringSubmatch(strings.ReplaceAll(text, " ", "  "), -1) {
			if p := strings.TrimRight(m[1], "."); !exists(p) {
				missing = append(missing, p)
			}
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// anchor is the name that a heading has in a link.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127:
			return r
		}
		return -1
	}, strings.ToLower(heading))
}
