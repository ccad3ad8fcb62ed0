package tests

import (
	"fmt"
	"seuss/dispatcher"
	"seuss/lineage"
	"strings"
	"testing"
	"time"
)

// TestRubyArguments: a lazy function is captured half way, and goes on from there
// with another query.
func TestRubyArguments(t *testing.T) {
	d := openRuby(t)
	deployRuby(t, d, "lazy", "main.handler", `
def handler(event:, context:)
  table = Array.new(event["rows"]) { |n| n * n }
  slow = 1 # worth a snapshot
  4_000_000.times { |n| slow = (slow * 31 + n) % 65_521 }
  known = event.key?("query")
  query = event["query"]
  { known: known, answer: query && table[query], keys: event.keys.sort, missing: event["missing"], slow: slow }
end
`, true)
	n, err := d.CaptureArgument(t.Context(), "lazy", dispatcher.Capture{Event: []byte(`{"rows": 1000, "query": 5}`), StopAt: "query"})
	if err != nil {
		t.Fatal(describe(err))
	}
	if n.Info.Kind != lineage.KindArgument || n.Info.Key.NextKey != "query" {
		t.Errorf("captured %s at %q", n.Info.Kind, n.Info.Key.NextKey)
	}
	for n, x := range []struct{ query, want string }{
		{`{"rows": 1000, "query": 30}`, `{"known":true,"answer":900,"keys":["query","rows"],"missing":null,`},
		{`{"rows": 1000}`, `{"known":false,"answer":null,"keys":["rows"],"missing":null,`},
		{`{"rows": 7, "query": 6}`, `{"known":true,"answer":36,"keys":["query","rows"],"missing":null,`},
	} {
		r, err := d.Invoke(t.Context(), dispatcher.Request{Function: "lazy", Event: []byte(x.query), Timeout: 60 * time.Second, Explain: true})
		if err != nil {
			t.Fatal(describe(err))
		}
		if !strings.HasPrefix(string(r.Output), x.want) {
			t.Errorf("%s: %s %v, want %s", x.query, r.Output, r.Error, x.want)
		}
		if n == 0 && r.Path != dispatcher.PathArgument { // later ones go by what starts have cost
			t.Errorf("%s started from %s: %+v", x.query, r.Path, r.Candidates)
		}
	}
}

// TestRubyPurity: the certificate of a state knows what outside input went into it, by
// whichever of Ruby's ways; what a function only computes is none.
func TestRubyPurity(t *testing.T) {
	d := openRuby(t)
	for _, x := range []struct {
		name, before string
		pure         bool
	}{
		{"computes", `200_000.times.map { |n| n.to_s }; GC.start; "x".hash; Object.new.object_id`, true},
		{"rand", `rand`, false},
		{"random-bytes", `Random.bytes(4)`, false},
		{"shuffle", `[1, 2, 3].shuffle`, false},
		{"reseeds", `srand(5)`, false},
		{"new-generator", `Random.new`, false},
		{"secure", `require "securerandom"; SecureRandom.hex`, false},
		{"openssl", `require "openssl"; OpenSSL::Random.random_bytes(4)`, false},
		{"clock", `Time.now`, false},
		{"context", `context.aws_request_id`, false},
		{"remaining", `context.get_remaining_time_in_millis`, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			deployRuby(t, d, x.name, "main.handler", "def handler(event:, context:)\n  event[\"a\"]\n  "+x.before+"\n  event[\"b\"]\nend", true)
			n, err := d.CaptureArgument(t.Context(), x.name, dispatcher.Capture{Event: []byte(`{"a": 1, "b": 2}`), StopAt: "b", AllowImpure: true})
			if err != nil {
				t.Fatal(describe(err))
			}
			if got := n.Info.Purity.Pure(); got != x.pure {
				t.Errorf("pure %v, reasons %v", got, n.Info.Purity.Reasons)
			}
		})
	}
}

// TestRubyLazyEvent: an event that asks for its keys answers as a Hash does.
func TestRubyLazyEvent(t *testing.T) {
	d := openRuby(t)
	source := `
CASES = [
  ->(e) { [e["a"], e["none"], e[:a], e[nil], e[1], e["b"]["c"], e.dig("b", "c"), e["\xff"], e["ä"]] },
  ->(e) { [e.fetch("a"), e.fetch("none", 5), e.fetch("none") { |k| k * 2 }, (e.fetch("none") rescue $!.message)] },
  ->(e) { [e.key?("a"), e.has_key?("none"), e.include?("ä"), e.member?(:a)] },
  ->(e) { [e.values_at("d", "none", "a"), e.slice("d", "a"), e.fetch_values("a"), e.except("b")] },
  ->(e) { [e.keys, e.values, e.length, e.to_a, e.first, e.count, e.empty?, e.any?] },
  ->(e) { e["d"]; e["b"]; [e.keys, e.to_h, e.inspect, e.to_s, "#{e}"] },
  ->(e) { e["a"] = 9; e.store("new", [1]); e.delete("d"); [e["d"], e.delete("none"), e.keys, e] },
  ->(e) { e.delete("a"); e["a"] = 1; e.delete("b") { 5 }; [e.to_a, e] },
  ->(e) { e["d"] << 3; e["b"]["z"] = 1; [e.to_h, e == e.to_h, e.to_h == e, e != e.dup, e.eql?(e.to_h), e.hash == e.to_h.hash] },
  ->(e) { [Hash === e, e.is_a?(Hash), e.kind_of?(Enumerable), e.is_a?(Array), e.instance_of?(Hash), e.class, e.nil?, !e, e.frozen?, e.respond_to?(:each_pair), e.respond_to?(:to_str)].map(&:to_s) },
  ->(e) { case e; when Array then 1; when Hash then 2; end },
  ->(e) { case e; in { a: Integer } then 1; in Hash then 2; end },
  ->(e) { [{ "x" => 1 }.merge(e), { **e }, Hash[e], [e].flatten, e.merge("a" => 2), Array(e)] },
  ->(e) { [JSON.generate(e), e.to_json, JSON.dump("in" => e), [e].to_json, JSON.pretty_generate(e)] },
  ->(e) { require "yaml"; [e.to_h.to_yaml, format("%{x}", x: e["a"]), format("%s", e)] },
  ->(e) { out = []; e.each { |k, v| out << k << v }; e.each_pair.with_index { |(k, _), n| out << [k, n] }; e.each_with_object(out) { |(k, v), o| o << v }; out },
  ->(e) { [e.map { |k, _| k }, e.select { |_, v| v }, e.reject { |k, _| k == "a" }, e.sort_by { |k, _| k }, e.min_by { |k, _| k }, e.group_by { |_, v| v.class.name }, e.partition { |k, _| k > "b" }, e.sum { |_, v| v.to_s.length }, e.find { |k, _| k == "d" }, e.reduce(0) { |n, _| n + 1 }] },
  ->(e) { [e.transform_keys(&:to_sym), e.transform_values(&:to_s), e.filter_map { |k, v| k if v }, e.to_h { |k, v| [v.to_s, k] }, e.invert, e.key(1), e.rassoc(1), e.assoc("a"), e.compact, e.zip([1])] },
  ->(e) { e.default = 7; [e["none"], e["a"]] },
  ->(e) { e.merge!("a" => 5, "q" => 6); e.delete_if { |_, v| v == 5 }; e.transform_values!(&:to_s); [e, e.shift, e.length] },
  ->(e) { e.clear; [e, e["a"], e.key?("b")] },
  ->(e) { e.freeze; [(e.store("x", 1) rescue $!.class.name), e.frozen?] },
  ->(e) { d = e.dup; d["a"] = 100; c = e.clone; c.delete("b"); [e["a"], d["a"], c.keys, e.itself.equal?(e), e.tap { |x| x["t"] = 1 }.key?("t"), e.then { |x| x["a"] }, e.public_send(:[], "d"), e.method(:fetch).call("a")] },
  ->(e) { def named(a: 0, **rest) = [a, rest]; [named(**e.transform_keys(&:to_sym)), e.each_slice(2).to_a, e.lazy.map { |k, _| k }.to_a, e.compare_by_identity.length, e.sort.first, e.entries.length, e.each_entry.to_a.length, e.min, e.sum([]) { |k, _| [k] }] },
  ->(e) { puts e; p e; print e, "\n"; $stdout.puts [e]; e },
  ->(e) { e["b"].each { |k, v| e["from-#{k}"] = v }; e },
  ->(e) { e.compare_by_identity; e.keys },
  ->(e) { [e > {}, e >= { "a" => 1 }, e <= e.to_h, e.dig("none", "x"), (e.dig("a", "x") rescue $!.class.name), e.deconstruct_keys(nil)] },
].freeze

def handler(event:, context:)
  number = event["number"]
  CASES[number].call(event)
end
`
	deployRuby(t, d, "eager-event", "main.handler", source, false)
	deployRuby(t, d, "lazy-event", "main.handler", source, true)
	for n := range strings.Count(source, "->(e)") {
		event := fmt.Appendf(nil, `{"a": 1, "b": {"c": [2, null]}, "number": %d, "d": ["x"], "ä": "ö", "e": null}`, n)
		want := invokeRuby(t, d, "eager-event", event)
		got := invokeRuby(t, d, "lazy-event", event)
		if string(got.Output) != string(want.Output) || fmt.Sprint(got.Logs) != fmt.Sprint(want.Logs) || want.Error != nil || got.Error != nil {
			t.Errorf("case %d\nlazy:  %s %v %v\neager: %s %v %v", n, got.Output, got.Logs, got.Error, want.Output, want.Logs, want.Error)
		}
	}
}
