package tests

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/lineage"
)

// TestRubyClonesAreDistinct: two clones of one snapshot never draw the same, be it
// from the default generator, from the kernel or from OpenSSL; and what a file draws
// as it is loaded is not that of another function.
func TestRubyClonesAreDistinct(t *testing.T) {
	d := openRuby(t)
	source := `
require "openssl"
require "securerandom"
require "tmpdir"
def draw
  {
    rand: rand, kernel_rand: Kernel.rand(2**60), random_rand: Random.rand(1.0), bytes: Random.bytes(8).unpack1("H*"),
    shuffle: (1..40).to_a.shuffle.join(","), sample: (1..2**20).to_a.sample(4).join(","), seed: Random.seed, new_seed: Random.new_seed,
    new: Random.new.rand, urandom: Random.urandom(8).unpack1("H*"), hex: SecureRandom.hex, uuid: SecureRandom.uuid,
    number: SecureRandom.random_number, openssl: OpenSSL::Random.random_bytes(16).unpack1("H*"),
    bn: OpenSSL::BN.rand(128).to_s, key: OpenSSL::PKey.generate_key("ED25519").public_to_pem,
    iv: OpenSSL::Cipher.new("aes-128-cbc").encrypt.random_iv.unpack1("H*"),
    name: Dir::Tmpname.create("x") {}, thread: Thread.new { rand }.value, fiber: Fiber.new { rand }.resume,
    device: File.binread("/dev/urandom", 8).unpack1("H*"), ractor: Ractor.new { rand }.take,
  }
end
AT_LOAD = draw
def handler(event:, context:) = { now: draw, at_load: AT_LOAD }
`
	seen := map[string]string{}
	note := func(values map[string]any, who string) {
		for what, v := range values {
			text := fmt.Sprint(v)
			if before, ok := seen[text]; ok {
				t.Errorf("%s of %s is %s, as %s", what, who, text, before)
			}
			seen[text] = what + " of " + who
		}
	}
	for _, name := range []string{"draw-1", "draw-2"} {
		deployRuby(t, d, name, "main.handler", source, false)
		var loaded map[string]any
		for n := range 4 {
			r, err := d.Invoke(t.Context(), dispatcher.Request{Function: name, Event: []byte(`{}`), Timeout: 90 * time.Second})
			if err != nil {
				t.Fatal(describe(err))
			}
			got := output[struct {
				Now    map[string]any `json:"now"`
				AtLoad map[string]any `json:"at_load"`
			}](t, r)
			note(got.Now, fmt.Sprintf("%s, clone %d", name, n))
			if n == 0 {
				loaded = got.AtLoad
				note(loaded, name+" at load")
			} else if !reflect.DeepEqual(loaded, got.AtLoad) {
				t.Errorf("%s: what it drew at load changes", name)
			}
		}
	}
}

// TestRubyInvocationsAreFresh: what an invocation keeps in any of Ruby's ways, no other
// one finds.
func TestRubyInvocationsAreFresh(t *testing.T) {
	d := openRuby(t, func(o *dispatcher.Options) { o.PoolSize = 2 })
	deployRuby(t, d, "keeps", "main.handler", `
require "tmpdir"
$kept = []
class Keeper; @@calls = 0; def self.call = @@calls += 1; end
def handler(event:, context:)
  secret = event["secret"]
  $kept << secret
  (@kept ||= []) << secret
  Object.const_set("K#{secret}", secret)
  ENV["SECRET"] = ENV["SECRET"].to_s + secret
  File.write("#{Dir.tmpdir}/left-behind", secret, mode: "a")
  File.write("note.rb", "$noted = $noted.to_i + 1")
  Thread.new { Thread.current[:kept] = secret; loop { sleep } }
  Fiber[:kept] = secret if Fiber.respond_to?(:[]=)
  $LOAD_PATH << secret
  load "./note.rb"
  at_exit { puts secret }
  String.class_eval { attr_accessor :"a#{secret}" }
  [$kept.length, @kept.length, Keeper.call, ENV["SECRET"].length, File.size("#{Dir.tmpdir}/left-behind"), $noted, Thread.list.length,
   Object.constants.grep(/\AKs\d/).length, $LOAD_PATH.grep(/\As\d/).length, String.instance_methods.grep(/\Aas\d/).length]
end
`, false)
	var wg sync.WaitGroup
	for worker := range 2 {
		wg.Go(func() {
			for n := range 50 {
				r, err := d.Invoke(t.Context(), dispatcher.Request{Function: "keeps", Event: fmt.Appendf(nil, `{"secret": "s%d%03d"}`, worker, n), Timeout: time.Minute})
				if err != nil {
					t.Error(describe(err))
					return
				}
				if string(r.Output) != "[1,1,1,5,5,1,2,1,1,2]" || len(r.Logs) > 0 {
					t.Errorf("worker %d, invocation %d: %s %v %v", worker, n, r.Output, r.Error, r.Logs)
				}
			}
		})
	}
	wg.Wait()
}

// TestRubyThreadsAtLoad: threads that a file starts as it is loaded are in its
// snapshot, and wait or run in every instance; a file whose thread never rests cannot
// be captured, and the error says so.
func TestRubyThreadsAtLoad(t *testing.T) {
	d := openRuby(t)
	deployRuby(t, d, "workers", "main.handler", `
WORK, DONE = Queue.new, Queue.new
WORKERS = Array.new(3) { Thread.new { loop { DONE << WORK.pop * 2 } } }
TICKS = Queue.new
Thread.new { loop { sleep 0.01; TICKS << 1 } }
FIBER = Fiber.new { |x| loop { x = Fiber.yield(x + 1) } }
FIBER.resume(0)
def handler(event:, context:)
  5.times { |n| WORK << n }
  [Array.new(5) { DONE.pop }.sort, WORKERS.map(&:alive?).uniq, TICKS.pop, FIBER.resume(41)]
end
`, false)
	for range 3 {
		if r := invokeRuby(t, d, "workers", []byte("1")); string(r.Output) != "[[0,2,4,6,8],[true],1,42]" {
			t.Errorf("%s %v", r.Output, r.Error)
		}
	}
	_, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: "spins", Handler: "main.handler", Image: "ruby", Files: map[string][]byte{
		"main.rb": []byte("Thread.new { loop {} }\ndef handler(event:, context:) = 1\n")}})
	if err == nil || !strings.Contains(err.Error(), "computes on") {
		t.Errorf("a file whose thread never rests: %v", err)
	}
}

// TestRubyImports: libraries that an import snapshot holds are loaded in the functions
// below it; one that is missing is named.
func TestRubyImports(t *testing.T) {
	d := openRuby(t)
	code := map[string][]byte{"main.rb": []byte(`
AT_LOAD = [require("csv"), require("rexml/document"), require("prime")]
def handler(event:, context:) = [AT_LOAD, CSV.parse_line("a,b"), REXML::Document.new("<a/>").root.name, 7.prime?]
`)}
	spec := dispatcher.FunctionSpec{Name: "imports", Handler: "main.handler", Image: "ruby", Imports: []string{"csv", "rexml/document"}, Files: code}
	n, err := d.Deploy(t.Context(), spec)
	if err != nil {
		t.Fatal(describe(err))
	}
	if parent, err := d.Store().Get(n.Info.Parent); err != nil || parent.Info.Kind != lineage.KindImport {
		t.Errorf("the function's snapshot does not lie below one of its imports: %v", err)
	}
	if r := invokeRuby(t, d, "imports", []byte("1")); string(r.Output) != `[[false,false,true],["a","b"],"a",true]` {
		t.Errorf("%s %v", r.Output, r.Error)
	}
	spec.Imports = []string{"nowhere/library"}
	var failed *dispatcher.FunctionError
	if _, err := d.Deploy(t.Context(), spec); !as(err, &failed) || failed.Type != "Init<LoadError>" {
		t.Errorf("a library that is missing: %v", err)
	}
}

// TestRubyBaseWarmUp: what the function that an image was built with requires is in
// the base of that image; the function itself is not.
func TestRubyBaseWarmUp(t *testing.T) {
	t.Parallel()
	requireRuby(t)
	c := newCLI(t)
	c.state = t.TempDir()
	warm := c.file("warm.rb", `
require "prime"
class Warm; end
WARMED = []
def handler(event:, context:)
  raise ArgumentError, event["fail"] if event["fail"]
  WARMED << 97.prime?
end
`)
	left := c.file("left.rb", `
def handler(event:, context:)
  [defined?(Prime), defined?(Warm), defined?(WARMED), Dir.children("/var/task"), require("prime")]
end
`)
	c.want(0, "ruby", "image", "build", "--runtime", "ruby", "--warm-up-code", warm, "--warm-up", `{}`, "--warm-up-runs", "3")
	c.want(0, `["constant",null,null,["left.rb"],false]`, "run", left, "--event", "{}")
	c.want(0, "ruby", "image", "build", "--runtime", "ruby", "--warm-up-code", warm, "--warm-up", `{"fail": "on purpose"}`)
	c.want(1, "warm-up event 1 of the image failed", "run", left, "--event", "{}")
}

// TestRubyLambda: Lambda's API takes functions for the Ruby that runs, and refuses those
// for another one by name.
func TestRubyLambda(t *testing.T) {
	t.Parallel()
	requireRuby(t)
	c := newCLI(t)
	c.state = treeCopy(t)
	c.want(0, "ruby", "image", "build", "--runtime", "ruby")
	d := &daemon{cli: c}
	d.start()
	t.Cleanup(d.kill)
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	f, err := z.Create("main.rb")
	if err == nil {
		_, err = f.Write([]byte("def handler(event:, context:) = [event, context.invoked_function_arn]"))
	}
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	code := base64.StdEncoding.EncodeToString(archive.Bytes())
	post := func(path, body string) (int, string) {
		t.Helper()
		r, err := d.http.Post(d.url+"/2015-03-31/functions"+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(text)
	}
	for _, x := range []struct {
		runtime string
		status  int
		answer  string
	}{{"ruby3.4", 400, "no image holds ruby3.4"}, {"ruby2.7", 400, "no image holds ruby2.7"}, {"ruby" + rubyVersion(t), 201, `"Runtime":"ruby3.`}} {
		status, answer := post("", fmt.Sprintf(`{"FunctionName": "rb", "Runtime": %q, "Role": "any", "Handler": "main.handler", "Code": {"ZipFile": %q}}`, x.runtime, code))
		if status != x.status || !strings.Contains(answer, x.answer) {
			t.Errorf("%s: %d %s, want %d and %s", x.runtime, status, answer, x.status, x.answer)
		}
	}
	if status, answer := post("/rb/invocations", `"äh"`); status != 200 || answer != `["äh","arn:aws:lambda:us-east-1:000000000000:function:rb"]` {
		t.Errorf("%d %s", status, answer)
	}
}

// rubyVersion is that of this machine's Ruby, such as 3.1.
func rubyVersion(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(natively(t, "ruby", "-e", `puts RUBY_VERSION[/\A\d+\.\d+/]`))
}

const outboundRuby = `
require "net/http"
require "resolv"
require "socket"
def attempt
  yield
rescue Resolv::ResolvError, SystemCallError, SocketError => e
  e.class.name
end
def handler(event:, context:)
  e = event
  {
    get: attempt { Net::HTTP.get(URI("http://#{e["name"]}:#{e["http"]}/big")).bytesize },
    echo: attempt { TCPSocket.open(e["addr"], e["echo"]) { |s| s.write("hello"); s.close_write; s.read } },
    lookup: attempt { Addrinfo.getaddrinfo(e["name"], nil, :INET, :STREAM).map(&:ip_address) },
    resolve: attempt { Resolv::DNS.open(nameserver: ["127.0.0.1"]) { |d| d.getaddress(e["name"]).to_s } },
    denied: attempt { TCPSocket.new("203.0.113.1", 443) },
    closed: attempt { TCPSocket.new(e["closed"], 80) },
    denied_name: attempt { Addrinfo.getaddrinfo("denied.example.net", nil) },
  }
end
`

// TestOutboundRuby: Net::HTTP, sockets and both resolvers.
func TestOutboundRuby(t *testing.T) {
	echo := echoServer(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte("r"), 1<<20))
	}))
	defer server.Close()
	d := openRuby(t, func(o *dispatcher.Options) {
		o.Network = outside(t, outsideName+":*", outsideAddr+":*", closedAddr+":80")
	})
	deployRuby(t, d, "outruby", "main.handler", outboundRuby, false)
	t.Cleanup(func() { d.RemoveFunction("outruby") })
	r := invokeRuby(t, d, "outruby", fmt.Appendf(nil, `{"name": %q, "addr": %q, "closed": %q, "http": %d, "echo": %d}`, outsideName, outsideAddr, closedAddr, portOf(t, server.URL), echo))
	const want = `{"get":1048576,"echo":"hello","lookup":["198.51.100.7"],"resolve":"198.51.100.7","denied":"Errno::EACCES","closed":"Errno::ECONNREFUSED","denied_name":"SocketError"}`
	if string(r.Output) != want {
		t.Errorf("%s %v, want\n%s", r.Output, r.Error, want)
	}
}
