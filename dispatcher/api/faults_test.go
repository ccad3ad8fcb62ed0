package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/sched"
)

// service are the packages whose errors the service answers with.
var service = []string{"dispatcher", "dispatcher/sched", "dispatcher/admission", "dispatcher/functions", "dispatcher/events", "dispatcher/cluster", "dispatcher/cluster/members", "dispatcher/instance", "dispatcher/state", "dispatcher/engine", "dispatcher/functionapi", "dispatcher/state/region", "lineage", "lineage/oci", "images"}

// noKind are sentinels that nobody is answered with as such, and why.
var noKind = map[string]string{
	"lineage.ErrMagic":    "a damaged file: a failure of the host's, listed as damaged",
	"lineage.ErrVersion":  "a damaged file",
	"lineage.ErrLength":   "a damaged file",
	"lineage.ErrFormat":   "a damaged file",
	"lineage.ErrIdentity": "a damaged file",
	"lineage.ErrOrphan":   "a damaged file",
	"lineage.ErrLocked":   "the service does not start",
	"lineage.ErrClosed":   "the service has ended",
	"cluster.ErrName":     "the service does not start",
	"members.ErrTaken":    "the service does not start",
	"members.ErrBeat":     "what another member says; it goes to the log",
	"members.ErrTooMany":  "likewise",
	"sched.ErrEnded":      "dispatcher.ErrKilled for whoever waited",
	"events.ErrVersion":   "the service does not start",
	"events.ErrTooOld":    "told in the record of the event",
	"engine.ErrDamaged":   "a damaged file",
	"images.ErrMagic":     "a damaged file",
	"images.ErrVersion":   "a damaged file",
	"images.ErrABI":       "an image of another release",
	"images.ErrTruncated": "a damaged file",
	"images.ErrCorrupt":   "a damaged file",
}

// sentinels returns the exported errors that a package makes, as "package.ErrName".
func sentinels(t *testing.T, folder string) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "..", folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					if i < len(v.Values) && strings.HasPrefix(name.Name, "Err") && makesError(v.Values[i]) {
						names = append(names, file.Name.Name+"."+name.Name)
					}
				}
			}
		}
	}
	return names
}

func makesError(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	return ok && (selector(call.Fun) == "errors.New" || selector(call.Fun) == "fmt.Errorf")
}

func selector(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok {
			return x.Name + "." + s.Sel.Name
		}
	}
	return ""
}

// tableRows returns the first column of faults as it is written.
func tableRows(t *testing.T) (rows []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "faults.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && v.Names[0].Name == "faults" {
			for _, row := range v.Values[0].(*ast.CompositeLit).Elts {
				rows = append(rows, selector(row.(*ast.CompositeLit).Elts[0]))
			}
		}
		return true
	})
	return rows
}

// Every sentinel of the service has exactly one row, or a reason to have none.
func TestEverySentinelHasARow(t *testing.T) {
	rows := tableRows(t)
	if len(rows) != len(faults) {
		t.Fatalf("%d rows found, there are %d", len(rows), len(faults))
	}
	var known []string
	for _, folder := range service {
		known = append(known, sentinels(t, folder)...)
	}
	for _, name := range known {
		n := 0
		for _, row := range rows {
			if row == name {
				n++
			}
		}
		if _, none := noKind[name]; none && n != 0 || !none && n != 1 {
			t.Errorf("%s has %d rows in faults", name, n)
		}
	}
	for i, f := range faults {
		for _, g := range faults[:i] {
			if f.Err == g.Err {
				t.Errorf("%v is in the table twice", f.Err)
			}
		}
	}
}

// A fault is told apart the same way where it is answered and where it is read.
func TestFaultsOverTheWire(t *testing.T) {
	for _, f := range faults {
		err := fmt.Errorf("do this to %q: %w", "that", f.Err)
		got := FaultOf(err)
		if got.Err != f.Err || got.Code == "" || got.Lambda == "" || got.Status < 400 || got.StatusForLambda() < 400 {
			t.Errorf("%v: %+v", f.Err, got)
		}
		there := roundTrip(t, ErrorOf(err, "id"))
		if there.Error() != err.Error() || f.Code != Failed && !errors.Is(there, f.Err) {
			t.Errorf("%v arrives as %v", f.Err, there)
		}
		if FaultOf(there).Code != f.Code || FaultOf(there).Exit != f.Exit {
			t.Errorf("%v arrives as %+v, want %+v", f.Err, FaultOf(there), f)
		}
	}
	function := &dispatcher.FunctionError{Type: "ValueError", Message: "no", StackTrace: []string{"line 1"}}
	var arrived *dispatcher.FunctionError
	if there := roundTrip(t, ErrorOf(fmt.Errorf("deploy: %w", function), "")); !errors.As(there, &arrived) || arrived.Type != "ValueError" || FaultOf(there).Exit != ExitFunction {
		t.Errorf("%v", there)
	}
	var crash *instance.CrashError
	if there := roundTrip(t, ErrorOf(&instance.CrashError{Summary: "dead", Report: "registers"}, "")); !errors.As(there, &crash) || crash.Report != "registers" || FaultOf(there).Code != Crashed {
		t.Errorf("%v", there)
	}
	for reason, status := range map[sched.Reason]int{sched.QueueFull: 429, sched.Draining: 503} {
		if f := FaultOf(&sched.RefusedError{Reason: reason}); f.Status != status || f.Code != Refused {
			t.Errorf("%s: %+v", reason, f)
		}
	}
	if f := FaultOf(errors.New("anything")); f.Code != Failed || f.Status != 500 || f.Exit != ExitFailure || f.Lambda != LambdaService {
		t.Errorf("%+v", f)
	}
}

func roundTrip(t *testing.T, doc Error) error {
	t.Helper()
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var there Error
	if err := json.Unmarshal(b, &there); err != nil {
		t.Fatal(err)
	}
	return there.Err()
}

// docs/api.md promises the exit codes that the table gives.
func TestExitCodesArePromised(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "## Exit codes")
	if !ok {
		t.Fatal("docs/api.md has no section of exit codes")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	promised := map[int]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \|`).FindAllStringSubmatch(section, -1) {
		n, _ := strconv.Atoi(m[1])
		promised[n] = true
	}
	codes := map[int]bool{ExitOK: true, ExitUsage: true, faultFunction.Exit: true, faultCrash.Exit: true, faultRefused.Exit: true, faultDraining.Exit: true, faultFailed.Exit: true}
	for _, f := range faults {
		codes[f.Exit] = true
	}
	for code := range codes {
		if !promised[code] {
			t.Errorf("docs/api.md does not promise exit code %d", code)
		}
	}
}
