package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/images/runtimes/ruby"
	"seuss/vmm/vmmtest"
)

var rubyImage struct {
	once sync.Once
	err  error
}

// openRuby opens a dispatcher on the shared state with a Ruby image in it.
// requireRuby skips a test where there is no Ruby.
func requireRuby(t *testing.T) {
	t.Helper()
	vmmtest.Require(t)
	if _, err := exec.LookPath("ruby"); err != nil {
		t.Skip("skipped without Ruby: apt-get install ruby")
	}
}

func openRuby(t *testing.T, change ...func(*dispatcher.Options)) *dispatcher.Dispatcher {
	t.Helper()
	requireRuby(t)
	dir := sharedState(t)
	rubyImage.once.Do(func() {
		_, rubyImage.err = ruby.Runtime.Build(context.Background(), images.Store{Dir: filepath.Join(dir, "images")}, runtimes.Options{}, images.AddOptions{})
	})
	if rubyImage.err != nil {
		t.Fatal(rubyImage.err)
	}
	return openAt(t, dir, func(o *dispatcher.Options) {
		o.PoolSize = 1
		for _, f := range change {
			f(o)
		}
	})
}

// rubyRunner evaluates every feature, or those of the event.
const rubyRunner = `
require_relative "features"

def handler(event:, context: nil)
  (event["names"] || FEATURES.keys).to_h do |name|
    [name, FEATURES[name].call]
  rescue Exception => e
    [name, "threw #{e.full_message(highlight: false)}"]
  end
end
`

// TestRubyFeatures: what Ruby brings answers as natively.
func TestRubyFeatures(t *testing.T) {
	d := openRuby(t)
	features, err := os.ReadFile("../images/runtimes/ruby/features.rb")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"features.rb": string(features), "main.rb": rubyRunner} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	native := map[string]json.RawMessage{}
	text := natively(t, "ruby", "-W:no-experimental", "-rjson", "-e", `require ARGV[0]; puts JSON.generate(handler(event: {}))`, filepath.Join(dir, "main.rb"))
	if err := json.Unmarshal([]byte(text), &native); err != nil {
		t.Fatal(err)
	}
	if len(native) < 60 {
		t.Errorf("%d features, want 60 or more", len(native))
	}
	if _, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{
		Name: "features", Handler: "main.handler", Image: "ruby",
		Files: map[string][]byte{"main.rb": []byte(rubyRunner), "features.rb": features},
	}); err != nil {
		t.Fatal(describe(err))
	}
	for name, want := range native {
		t.Run(name, func(t *testing.T) {
			event, err := json.Marshal(map[string][]string{"names": {name}})
			if err != nil {
				t.Fatal(err)
			}
			r, err := d.Invoke(t.Context(), dispatcher.Request{Function: "features", Event: event, Timeout: 90 * time.Second})
			if err != nil {
				t.Fatal(describe(err))
			}
			got := output[map[string]json.RawMessage](t, r)[name]
			if !bytes.Equal(got, want) {
				t.Errorf("in the guest: %s\nnatively: %s\nlogs %v", got, want, r.Logs)
			}
			if len(r.Unsupported) > 0 {
				t.Logf("unsupported calls: %v", r.Unsupported)
			}
		})
	}
}

func deployRuby(t *testing.T, d *dispatcher.Dispatcher, name, handler, source string, lazy bool) {
	t.Helper()
	_, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{
		Name: name, Handler: handler, Image: "ruby", Lazy: lazy, Files: map[string][]byte{"main.rb": []byte(source)},
	})
	if err != nil {
		t.Fatalf("deploy %s: %s", name, describe(err))
	}
}

// TestRubyHandlers: the forms of handlers and errors of Lambda's Ruby model.
func TestRubyHandlers(t *testing.T) {
	d := openRuby(t)
	checkStarter(t, d, "ruby")
	for _, x := range []struct{ name, handler, source, event, want string }{
		{"function", "main.handler", `def handler(event:, context:) = { n: event["n"] + 1 }`, `{"n": 1}`, `{"n":2}`},
		{"class-method", "main.Shop::Orders.list", `module Shop; class Orders; def self.list(event:, context:) = [event, self.name]; end; end`, `[1]`, `[[1],"Shop::Orders"]`},
		{"other-name", "main.run", `def run(event:, context: nil) = event.keys`, `{"a": 1, "b": null}`, `["a","b"]`},
		{"private", "main.C.go", `class C; class << self; private def go(event:, **) = "went"; end; end`, `null`, `"went"`},
		{"nothing", "main.handler", `def handler(event:, context:); end`, `{}`, `null`},
		{"to-json", "main.handler", `require "json"; class P; def to_json(*a) = { p: 1 }.to_json(*a); end; def handler(event:, context:) = [P.new, :sym, 1.5, 2**70, Time.at(0).utc]`, `{}`, `[{"p":1},"sym",1.5,1180591620717411303424,"1970-01-01 00:00:00 UTC"]`},
		{"text", "main.handler", `def handler(event:, context:) = event["t"].reverse`, `{"t": "äöü€\u0000"}`, `"\u0000€üöä"`},
		{"main-object", "main.handler", "@at_load = 5\ndef handler(event:, context:) = [self.to_s, @at_load, Dir.pwd, __FILE__, $0, require(\"main\")]", `{}`, `["main",5,"/var/task","/var/task/main.rb","/usr/lib/seuss/ruby/driver.rb",false]`},
		{"surroundings", "main.handler", `def handler(event:, context:) = [ENV["AWS_LAMBDA_FUNCTION_NAME"], ENV["AWS_EXECUTION_ENV"], ENV["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], ENV["_HANDLER"], ENV["TZ"], ENV["RUBYLIB"], Time.now.utc_offset]`, `{}`,
			`["surroundings","AWS_Lambda_ruby3.1","2048","main.handler",":UTC","/opt/ruby/lib",0]`},
		{"context", "main.handler", `def handler(event:, context:) = [context.function_name, context.aws_request_id.length, context.get_remaining_time_in_millis > 0, context.memory_limit_in_mb, context.function_version, context.invoked_function_arn[0, 15], context.log_group_name, context.identity, context.client_context, context.deadline_ms > 1e12]`, `{}`,
			`["context",36,true,"2048","$LATEST","arn:aws:lambda:","/aws/lambda/context",null,null,true]`},
		{"raises", "main.handler", "def handler(event:, context:)\n  inner\nend\ndef inner = raise(TypeError, \"no luck\")", `{}`, "{\"errorType\":\"Function\\u003cTypeError\\u003e\",\"errorMessage\":\"no luck\",\"stackTrace\":[\"/var/task/main.rb:4:in `inner'\",\"/var/task/main.rb:2:in `handler'\"]}"},
		{"own-error", "main.handler", "module Shop; class Closed < StandardError; def message = \"käme später\"; end; end; def handler(event:, context:) = raise(Shop::Closed)", `{}`, `{"errorType":"Function\u003cShop::Closed\u003e","errorMessage":"käme später","stackTrace":["/var/task/main.rb:1:in ` + "`handler'" + `"]}`},
		{"name-error", "main.handler", `def handler(event:, context:) = evnt`, `{}`, `{"errorType":"Function\u003cNameError\u003e","errorMessage":"undefined local variable or method ` + "`evnt' for main:Object" + `","stackTrace":[`},
		{"system-error", "main.handler", `def handler(event:, context:) = File.read("/nowhere")`, `{}`, `{"errorType":"Function\u003cErrno::ENOENT\u003e","errorMessage":"No such file or directory @ rb_sysopen - /nowhere","stackTrace":[`},
		{"binary-message", "main.handler", `def handler(event:, context:) = raise("\xff\xfe".b)`, `{}`, `{"errorType":"Function\u003cRuntimeError\u003e","errorMessage":"` + "\ufffd\ufffd" + `","stackTrace":[`},
		{"keywords", "main.handler", `def handler(event, context) = 1`, `{}`, `{"errorType":"Function\u003cArgumentError\u003e","errorMessage":"wrong number of arguments`},
		{"throws", "main.handler", `def handler(event:, context:) = throw(:ball)`, `{}`, `{"errorType":"Function\u003cUncaughtThrowError\u003e","errorMessage":"uncaught throw :ball","stackTrace":[`},
		{"exit", "main.handler", `def handler(event:, context:) = exit(3)`, `{}`, `{"errorType":"Function\u003cSystemExit\u003e","errorMessage":"exit","stackTrace":[`},
		{"exit-at-once", "main.handler", `def handler(event:, context:) = exit!(3)`, `{}`, `{"errorType":"Runtime.ExitError"`},
		{"deep", "main.handler", `def handler(event:, context:) = handler(event: 1, context: nil) + 1`, `{}`, `{"errorType":"Function\u003cSystemStackError\u003e","errorMessage":"stack level too deep"`},
		{"memory", "main.handler", `def handler(event:, context:) = "x" * (3 << 30)`, `{}`, `{"errorType":"Function\u003cNoMemoryError\u003e","errorMessage":"failed to allocate memory"`},
		{"marshal", "main.handler", `def handler(event:, context:) = Float::NAN`, `{}`, `{"errorType":"Function\u003cJSON::GeneratorError\u003e"`},
		{"not-text", "main.handler", `def handler(event:, context:) = "\xff"`, `{}`, `{"errorType":"Function\u003cJSON::GeneratorError\u003e"`},
		{"large", "main.handler", `def handler(event:, context:) = "x" * (7 << 20)`, `{}`, `{"errorType":"Function.ResponseSizeTooLarge"`},
		{"large-answer", "main.handler", `def handler(event:, context:) = ("x" * (5 << 20)).then { |s| s }`, `{}`, `"` + strings.Repeat("x", 5<<20) + `"`},
		{"large-event", "main.handler", `def handler(event:, context:) = event["text"].length`, `{"text":"` + strings.Repeat("x", 3_000_000) + `"}`, `3000000`},
		{"closes-output", "main.handler", `def handler(event:, context:) = [STDOUT.close, STDERR.close, $stdout.closed?]`, `{}`, `[null,null,true]`},
		{"at-load", "main.handler", "require \"set\"\nTABLE = Set.new((1..1000).map { |n| n * n })\n$seen = 0\ndef handler(event:, context:) = [TABLE.include?(49), $seen += 1]", `{}`, `[true,1]`},
	} {
		t.Run(x.name, func(t *testing.T) {
			deployRuby(t, d, x.name, x.handler, x.source, false)
			for range 2 {
				r, err := d.Invoke(t.Context(), dispatcher.Request{Function: x.name, Event: []byte(x.event), Timeout: 60 * time.Second})
				if err != nil {
					t.Fatal(describe(err))
				}
				got := string(r.Output)
				if r.Error != nil {
					text, err := json.Marshal(r.Error)
					if err != nil {
						t.Fatal(err)
					}
					got = string(text)
				}
				if !strings.HasPrefix(got, x.want) || x.want[0] != '{' && got != x.want {
					t.Errorf("%.1000s, want %.1000s; logs %v", got, x.want, r.Logs)
				}
			}
		})
	}
	for _, x := range []struct{ kind, handler, source string }{
		{"Init<SyntaxError>", "main.handler", `def handler(`},
		{"Init<LoadError>", "main.handler", `require "nowhere"`},
		{"Init<LoadError>", "other.handler", `def handler(event:, context:) = 1`},
		{"Init<ArgumentError>", "main.A.b.c", `def handler(event:, context:) = 1`},
		{"Init<NoMethodError>", "main.other", `def handler(event:, context:) = 1`},
		{"Init<NameError>", "main.Nowhere.handler", `def handler(event:, context:) = 1`},
		{"Init<RuntimeError>", "main.handler", `raise "at load"`},
		{"Init<SystemExit>", "main.handler", `exit`},
	} {
		_, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: "bad", Handler: x.handler, Image: "ruby", Files: map[string][]byte{"main.rb": []byte(x.source)}})
		var failed *dispatcher.FunctionError
		if !as(err, &failed) || failed.Type != x.kind {
			t.Errorf("%s, %s: %v, want %s", x.handler, x.source, err, x.kind)
		}
	}
}

// TestRubyFiles: a function of several files finds them in all the ways that Ruby has,
// gems that Bundler has put below vendor/bundle included, and its environment; what it
// prints is its own invocation's.
func TestRubyFiles(t *testing.T) {
	d := openRuby(t)
	gem := "vendor/bundle/ruby/3.1.0/"
	if _, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{
		Name: "files", Handler: "app/main.App.call", Image: "ruby", Settings: functions.Settings{Environment: map[string]string{"GREETING": "Grüß Gott"}},
		Files: map[string][]byte{
			"app/main.rb": []byte("require_relative \"helper\"\nrequire \"lib/deep/other\"\nrequire \"shout\"\nrequire \"json\"\n" +
				"module App; def self.call(event:, context:) = (puts \"said #{event}\"; warn \"warned\"; $stdout.print \"no newline\"; [Helper::A, OTHER, \"a\".shout, ENV[\"GREETING\"], File.read(\"data/words.txt\"), File.read(File.join(__dir__, \"../data/words.txt\"))]); end"),
			"app/helper.rb":                       []byte("module Helper; A = __FILE__; end"),
			"lib/deep/other.rb":                   []byte("OTHER = __dir__"),
			"data/words.txt":                      []byte("wörter"),
			gem + "gems/shout-1.0.0/lib/shout.rb": []byte("class String; def shout = upcase + \"!\"; end"),
			gem + "specifications/shout-1.0.0.gemspec": []byte(`Gem::Specification.new do |s|
  s.name = "shout"; s.version = "1.0.0"; s.summary = "x"; s.authors = ["x"]; s.files = ["lib/shout.rb"]; s.require_paths = ["lib"]
end`),
		},
	}); err != nil {
		t.Fatal(describe(err))
	}
	for n := range 3 {
		r, err := d.Invoke(t.Context(), dispatcher.Request{Function: "files", Event: fmt.Appendf(nil, "%d", n), Timeout: 60 * time.Second})
		if err != nil {
			t.Fatal(describe(err))
		}
		want := `["/var/task/app/helper.rb","/var/task/lib/deep","A!","Grüß Gott","wörter","wörter"]`
		if string(r.Output) != want {
			t.Errorf("%s %v, want %s", r.Output, r.Error, want)
		}
		if got, want := fmt.Sprint(r.Logs), fmt.Sprintf("[{stdout said %d\n} {stderr warned\n} {stdout no newline}]", n); got != want {
			t.Errorf("printed %q, want %q", got, want)
		}
	}
}

func invokeRuby(t *testing.T, d *dispatcher.Dispatcher, name string, event []byte) *dispatcher.Result {
	t.Helper()
	r, err := d.Invoke(t.Context(), dispatcher.Request{Function: name, Event: event, Timeout: 60 * time.Second})
	if err != nil {
		t.Fatal(describe(err))
	}
	return r
}
