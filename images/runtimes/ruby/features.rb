# frozen_string_literal: true

# What Ruby brings, each with an answer that is the same wherever it runs.
require "stringio"

FEATURES = {}

def feature(name, &block)
  FEATURES[name] = block
end

# ---- The language -----------------------------------------------------------

feature("strings") do
  s = +"Grüße, Welt"
  [s.upcase, s.reverse, s.bytes.length, s.tr("a-y", "b-z"), s.unicode_normalize(:nfd).length, s.scan(/\p{Alpha}+/), s.center(20, "*"),
   s.each_grapheme_cluster.count, s.unpack("U*").sum, "%08.3f|%-5s|%+d|%x" % [3.14159, "ab", 5, 255], s.crypt("ab"), s.sum, s.hash == s.dup.hash]
end
feature("encodings") do
  text = "Żółw €"
  out = %w[UTF-16LE UTF-32BE ISO-8859-2 Windows-1250 UTF-7].map { |e| text.encode(e, undef: :replace).bytes.sum rescue $!.class.name }
  out << "日本".encode("EUC-JP").bytes << "日本".encode("Shift_JIS").bytes << "\xff".dup.force_encoding("UTF-8").scrub("?")
  out << Encoding.list.length << Encoding.default_external.name << __ENCODING__.name << "한글".encode("EUC-KR").bytes << "中文".encode("GB18030").bytes
end
feature("regexp") do
  m = /(?<year>\d{4})-(?<month>\d\d)(?=-)/.match("on 2024-02-29")
  [m[:year], m.pre_match, "foobar"[/o+(?!o)b/], "aAbB".gsub(/[a-z]/) { |c| c.upcase + "." }, "x1y22".scan(/([a-z])(\d+)/), "ab\ncd" =~ /^cd$/,
   "日本語" =~ /\p{Han}{3}/, "((a)(b))"[/\((?:[^()]|\g<0>)*\)/], "foo.bar".sub(/(\w+)\.(\w+)/, '\2.\1')]
end
feature("integers") do
  [2**200, (2**200).digits.sum, 7.pow(10**9, 1_000_007), -7 / 2, -7 % 3, 10.gcd(4), 255.to_s(2), Integer.sqrt(10**40), 0b1010 ^ 3, 5.bit_length, 100.downto(90).sum, (10**30).hash == (10**30).hash]
end
feature("floats") do
  [0.1 + 0.2, 1e308 * 10, (0.0 / 0).nan?, 2.5.round(half: :even), 3.7 % 1, 1234.5678.floor(2), Math.sqrt(2), Math.atan2(1, 2), Math.gamma(5.5), 1.0.next_float, 12345678912345.678.to_s, Math.hypot(3, 4), Math.erf(0.3)].map(&:to_s)
end
feature("rational-complex") { [Rational(3, 4) + 1r / 3, Complex(1, 2) * Complex(0, 1), 0.75.rationalize, Complex.polar(2, 1).abs, "3/7".to_r].map(&:to_s) }
feature("arrays") do
  a = (1..20).to_a
  [a.each_slice(7).to_a, a.partition(&:even?), a.each_cons(2).count, a.combination(3).count, a.permutation(2).first(3), a.inject(:*), a.group_by { |n| n % 3 }, a.tally.size, a.rotate(3).first,
   a.pack("C*").unpack1("H*"), a.bsearch { |n| n >= 13 }, a.zip(a.reverse).last, a.sum.fdiv(3), a.product([1, 2]).length, [3, 1, 2].sort_by { -_1 }, [[1, [2]], 3].flatten, a.minmax, [1, 2, 2].uniq]
end
feature("hashes") do
  h = { "b" => 1, a: 2, 3 => [4], nil => 5 }
  h.default_proc = proc { |_, k| k.to_s * 2 }
  [h["x"], h.invert.length, h.sort_by { |_, v| v.to_s }.map(&:first).map(&:to_s), h.transform_values(&:to_s), h.min_by { |_, v| v.to_s }.to_s, h.each_with_object([]) { |(k, _), o| o << k.to_s }, h.to_a.length, h.dig(3, 0), h.compare_by_identity.length, h.any? { |_, v| v == 5 }, h.filter_map { |k, v| k if v == 2 }]
end
feature("ranges-enumerators") do
  fib = Enumerator.new { |y| a, b = 0, 1; loop { y << a; a, b = b, a + b } }
  [fib.lazy.select(&:even?).map { _1 * 2 }.first(8), (1..Float::INFINITY).lazy.map { |x| x * 2 }.reject { |x| x % 3 == 0 }.first(4), ("a".."zz").count, (1..10).step(3).to_a, 1.step(2, 0.25).to_a, fib.next, fib.next, fib.peek, Enumerator::Chain.new([1], [2]).to_a, Enumerator.produce(1) { _1 * 3 }.take(5)]
end
feature("pattern-matching") do
  check = lambda do |x|
    case x
    in { type: :circle, r: Float | Integer => r } then "circle #{r}"
    in [Integer => a, *, String => b] then "list #{a} #{b}"
    in { nested: [{ id: 1.. => id }, *] } if id < 10 then "nested #{id}"
    in ^($pinned ||= 7) then "pinned"
    in nil then "nothing"
    else "other"
    end
  end
  [{ type: :circle, r: 2 }, [1, :x, "z"], { nested: [{ id: 5 }, 2] }, 7, nil, 1.5].map(&check)
end
feature("procs") do
  add = ->(a, b = 2, *rest, k: 1, **o, &blk) { [a, b, rest, k, o, blk&.call] }
  twice = proc { |x| x * 2 }
  [add.(1), add.call(1, 3, 4, k: 5, z: 6) { 7 }, add.arity, add.parameters.map(&:to_s), (twice >> twice << :succ.to_proc).call(3), twice.curry[4], method(:puts).arity, add.lambda?, [1, 2].each_with_index.map(&:+)]
end
feature("objects") do
  point = Struct.new(:x, :y, keyword_init: true) { def +(o) = self.class.new(x: x + o.x, y: y + o.y) }
  base = Class.new { include Comparable; attr_accessor :n; def initialize(n) = @n = n; def <=>(o) = n <=> o.n; def method_missing(m, *a) = m.to_s.end_with?("?") ? [m, a] : super; def respond_to_missing?(m, p = false) = m.end_with?("?") || super }
  a, b = base.new(1), base.new(2)
  loud = Module.new { def n = super * 10 }
  c = base.new(3).extend(loud)
  [(point.new(x: 1, y: 2) + point.new(x: 3, y: 4)).to_h, a < b, [b, a].min.n, a.clamp(b, b).n, a.what?(1), c.n, a.respond_to?(:x?), c.singleton_methods, base.instance_methods(false).length, (a.missing rescue $!.class.name), a.frozen?, a.dup.freeze.frozen?, base.ancestors.include?(Comparable)]
end
feature("refinements") { eval("module Doubling; refine(Integer) { def double = self * 2 }; end; using Doubling; 21.double", TOPLEVEL_BINDING) }
feature("metaprogramming") do
  k = Class.new { %w[a b].each { |n| define_method(n) { |x = 1| n * x } }; class << self; def build(&b) = new.tap { _1.instance_eval(&b) }; end; def set(v) = @v = v }
  o = k.build { set(5) }
  [o.a(3), o.instance_variable_get(:@v), k.instance_method(:b).bind_call(o), o.public_send(:b, 2), k.class_eval("1 + 1"), binding.local_variables.length, ObjectSpace.count_objects.key?(:TOTAL), __method__.to_s, Kernel.const_defined?(:String), TracePoint.new(:call) {}.enabled?]
end
feature("exceptions") do
  log = []
  begin
    begin
      raise ArgumentError, "first"
    rescue => e
      raise KeyError, "second"
    ensure
      log << "ensured"
    end
  rescue KeyError => e
    log << e.message << e.cause.message << e.backtrace.class.name << e.full_message(highlight: false).lines.length.positive?
  end
  tries = 0
  begin
    tries += 1
    raise "again" if tries < 3
  rescue
    retry
  else
    log << tries
  end
  log << catch(:done) { 10.times { |n| throw :done, n if n == 4 } } << (Integer("x") rescue $!.message) << ([].fetch(3) rescue $!.message) << ({ a: 1 }.fetch(:b) rescue $!.message) << (raise(Class.new(StandardError), "own") rescue $!.message)
  log << (nil.foo rescue $!.class.name) << (1 / 0 rescue $!.message) << (Float("1.5x") rescue $!.message)
end
feature("stack-overflow") do
  def deeper(n) = deeper(n + 1) + 1
  [(begin; deeper(0); rescue SystemStackError; "caught"; end), Thread.new { begin; deeper(0); rescue SystemStackError; "caught in a thread"; end }.value, (begin; deeper(0); rescue SystemStackError; "again"; end)]
end
feature("frozen") { [("a".freeze << "b" rescue $!.class.name), [1].freeze.frozen?, :sym.frozen?, (1.0.frozen?), ([1].freeze << 2 rescue $!.class.name)] }
feature("eval-iseq") { [eval("1 + 2 * 3"), RubyVM::InstructionSequence.compile("40 + 2").eval, RubyVM::AbstractSyntaxTree.parse("1 + 1").type.to_s, binding.eval("__FILE__").class.name, ERB_RESULT ||= (require "erb"; ERB.new("<% 3.times do |i| %><%= i %>,<% end %>", trim_mode: "-").result(binding))] }
feature("heredocs-format") do
  text = <<~TEXT
    indented
      more
  TEXT
  [text, format("%-10s|%05d|%.2e", "x", 42, 12_345.678), format("%<a>s %{b}", a: :y, b: 1), "é".inspect, "\u{1F600}".dump, '"a\\tb"'.undump]
end
feature("comparable-sorting") { [%w[b10 a2 a10].sort, %w[b10 a2 a10].sort_by { |s| s.scan(/\d+|\D+/).map { |x| x =~ /\d/ ? [0, x.to_i] : [1, x] }.flatten.map(&:to_s) }, [3, 1].max, [0.1, 1, 2r].sort.map(&:to_s), (1..100_000).map { |n| n * 7919 % 100_003 }.sort.each_slice(10_000).map(&:first)] }
feature("gsub-hash-case") { ["cat".gsub(/[aeiou]/, "a" => "4"), "Straße".casecmp?("STRASSE"), "ǅ".swapcase, "İ".downcase.length, "ÀÉ".downcase(:ascii), "i".upcase(:turkic), "title case".split.map(&:capitalize).join(" ")] }
feature("string-io-bytes") { s = "abc".b; [s.getbyte(1), s.setbyte(0, 255), s.unpack("C*"), [1.5, 2].pack("eG").bytes, ["abc"].pack("m"), "YWJj\n".unpack1("m"), [1, 300].pack("w*").bytes, [-1].pack("q>").unpack1("Q>"), s.byteslice(1, 2), "a,b;c".split(/[,;]/), s.encoding.name] }

# ---- The standard library ------------------------------------------------------

feature("json") { require "json"; d = JSON.parse('{"a":[1,2.5,null,true,"\u00fc"],"b":{"c":1e3}}', symbolize_names: true); [d, JSON.generate(d), JSON.pretty_generate(d).lines.length, (JSON.parse("{") rescue $!.class.name), JSON.dump([Float::MAX]), (JSON.generate(Float::NAN) rescue $!.class.name), [1, "a", nil].to_json] }
feature("yaml") { require "yaml"; require "date"; d = YAML.load("a: [1, 2.5, ~, yes]\nb: &x {c: 'd'}\ne: *x\nf: |\n  text\n  more\n", aliases: true); [d, d.to_yaml, YAML.dump("x" => [:s, 1..2]), (YAML.load("a: b: c") rescue $!.class.name), YAML.load("2024-02-29", permitted_classes: [Date]).to_s] }
feature("bigdecimal") { require "bigdecimal/util"; require "bigdecimal/math"; a = BigDecimal("1.1"); [(a + BigDecimal("2.2")).to_s, (a / 3).round(20).to_s, a.sqrt(30).round(25).to_s, BigMath.PI(40).round(35).to_s, "3.14".to_d.to_f, BigDecimal("NaN").nan?, (BigDecimal("1e400") * 2).exponent, BigDecimal("123.456").round(1, half: :even).to_s("F")] }
feature("digest") { require "digest"; [Digest::MD5.hexdigest("a"), Digest::SHA1.base64digest("a"), Digest::SHA256.hexdigest("a" * 100_000), Digest::SHA512.new.update("a").update("b").hexdigest, Digest::SHA384.hexdigest(""), Digest::RMD160.hexdigest("x")] }
feature("openssl-digest") do
  require "openssl"
  [
    OpenSSL::Digest.hexdigest("SHA3-256", "a"), OpenSSL::Digest.new("BLAKE2b512").hexdigest("a"),
    OpenSSL::HMAC.hexdigest("SHA256", "key", "data"),
    OpenSSL::KDF.pbkdf2_hmac("pw", salt: "salt", iterations: 1000, length: 20, hash: "sha256").unpack1("H*"),
    OpenSSL::KDF.scrypt("pw", salt: "s", N: 256, r: 8, p: 1, length: 16).unpack1("H*"),
    OpenSSL::KDF.hkdf("ikm", salt: "s", info: "i", length: 16, hash: "SHA256").unpack1("H*"), OpenSSL.fixed_length_secure_compare("a", "a")
  ]
end
feature("openssl-cipher") do
  require "openssl"
  c = OpenSSL::Cipher.new("aes-256-gcm").encrypt
  c.key = "k" * 32
  c.iv = "i" * 12
  c.auth_data = "a"
  x = c.update("secret") + c.final
  d = OpenSSL::Cipher.new("aes-256-gcm").decrypt
  d.key = "k" * 32
  d.iv = "i" * 12
  d.auth_tag = c.auth_tag
  d.auth_data = "a"
  [
    x.unpack1("H*"), c.auth_tag.unpack1("H*"), d.update(x) + d.final, OpenSSL::Cipher.ciphers.length > 50,
    %w[aes-128-cbc chacha20-poly1305].map { |n| OpenSSL::Cipher.new(n).iv_len }
  ]
end
feature("openssl-pkey") do
  require "openssl"
  e = OpenSSL::PKey::EC.generate("prime256v1")
  s = e.sign("SHA256", "data")
  r = OpenSSL::PKey::RSA.new(2048)
  k = OpenSSL::PKey.generate_key("ED25519")
  [
    e.verify("SHA256", s, "data"), e.verify("SHA256", s, "other"), r.private_decrypt(r.public_encrypt("x")),
    k.verify(nil, k.sign(nil, "m"), "m"), OpenSSL::PKey.read(r.to_pem).n == r.n, OpenSSL::BN.new("65537").prime?
  ]
end
feature("openssl-x509") do
  require "openssl"
  k = OpenSSL::PKey::RSA.new(2048)
  c = OpenSSL::X509::Certificate.new
  c.version = 2
  c.serial = 7
  c.subject = c.issuer = OpenSSL::X509::Name.parse("/CN=test")
  c.public_key = k.public_key
  c.not_before = Time.at(0)
  c.not_after = Time.at(2**31)
  c.sign(k, "SHA256")
  [
    c.verify(k), OpenSSL::X509::Certificate.new(c.to_pem).subject.to_s, c.serial.to_i, OpenSSL::ASN1.decode(c.to_der).value.length,
    OpenSSL::X509::Store.new.tap { _1.add_cert(c) }.verify(c)
  ]
end
feature("tls") do
  require "openssl"; require "socket"
  k = OpenSSL::PKey::EC.generate("prime256v1")
  c = OpenSSL::X509::Certificate.new.tap { |x| x.version = 2; x.serial = 1; x.subject = x.issuer = OpenSSL::X509::Name.parse("/CN=localhost"); x.public_key = k; x.not_before = Time.now - 100; x.not_after = Time.now + 1000; x.sign(k, "SHA256") }
  context = OpenSSL::SSL::SSLContext.new.tap { |x| x.cert = c; x.key = k }
  server = TCPServer.new("127.0.0.1", 0)
  thread = Thread.new { s = OpenSSL::SSL::SSLServer.new(server, context).accept; s.puts(s.gets.upcase); s.close }
  client = OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", server.addr[1]), OpenSSL::SSL::SSLContext.new.tap { |x| x.cert_store = OpenSSL::X509::Store.new.tap { |s| s.add_cert(c) }; x.verify_mode = OpenSSL::SSL::VERIFY_PEER }).connect
  client.puts("over tls")
  [client.gets, client.ssl_version, client.peer_cert.subject.to_s].tap { thread.join }
end
feature("zlib") { require "zlib"; s = "abc" * 10_000; z = Zlib.deflate(s, 9); [z.length, Zlib.inflate(z) == s, Zlib.crc32(s), Zlib.adler32(s), Zlib.gunzip(Zlib.gzip(s)).length, (Zlib.inflate("x") rescue $!.class.name), Zlib::GzipReader.new(StringIO.new(Zlib.gzip("l1\nl2\n"))).each_line.to_a] }
feature("time") do
  t = Time.utc(2024, 2, 29, 12, 30, 15.5r)
  require "time"
  [
    t.iso8601(3), t.strftime("%A %d %B %Y %j %U %L %N %s"), (t + 86_400).yday, Time.parse("2024-03-01 01:02:03 +0200").utc.to_s,
    t.round.to_i, Time.at(1.5).utc.usec, t.localtime("+09:00").to_s, t.to_r.to_s, (Time.iso8601("x") rescue $!.class.name),
    Time.httpdate("Thu, 29 Feb 2024 12:30:15 GMT").to_i
  ]
end
feature("time-zones") { before = ENV["TZ"]; begin; %w[Europe/Berlin America/New_York Asia/Kolkata Australia/Lord_Howe UTC].map { |z| ENV["TZ"] = z; [Time.at(1_700_000_000).to_s, Time.at(1_690_000_000).isdst] }; ensure; ENV["TZ"] = before; end }
feature("date") { require "date"; d = Date.new(2024, 2, 29); [(d >> 12).to_s, d.cwday, d.cweek, d.jd, (Date.new(2024, 12, 31) - d).to_i, DateTime.parse("2024-02-29T12:00:00+01:00").to_time.utc.to_s, Date.valid_date?(2023, 2, 29), d.step(d + 3).map(&:day), Date.parse("3rd Feb 2001").to_s, d.strftime("%G-W%V-%u")] }
feature("set") { require "set"; a = Set[1, 2, 3]; [(a | [4]).to_a, (a & [2]).to_a, (a ^ [3, 4]).to_a, a.subset?(Set[1, 2, 3, 4]), a.add?(1), a.inspect] }
feature("stringio") { require "stringio"; io = StringIO.new("l1\nl2\nl3"); [io.gets, io.read(2), io.pos, io.rewind, io.each_line.to_a, io.eof?, StringIO.new.tap { |o| o.printf("%d", 5); o.puts([1, [2]]) }.string, StringIO.new("é").each_char.to_a] }
feature("strscan") { require "strscan"; s = StringScanner.new("key = 42;"); [s.scan(/\w+/), s.skip(/\s*=\s*/), s.scan_until(/;/), s.eos?, s.pos, s.string.length] }
feature("csv") { require "csv"; t = CSV.parse("a,b\n1,\"x,y\"\n2,z\n", headers: true); [t.map(&:to_h), t["a"], CSV.generate { |c| c << ["q\"", nil, 1.5] }, (CSV.parse("a\"b") rescue $!.class.name), CSV.parse("a;b", col_sep: ";")] }
feature("erb-cgi-uri") do
  require "erb"
  require "cgi"
  require "uri"
  [
    ERB.new("<% 3.times do |i| %><%= i %>,<% end %>").result, CGI.escape("a b&ü"), CGI.unescapeHTML("&lt;&amp;&#39;"),
    URI("https://u:p@example.com:8080/p?q=1#f").then { [_1.host, _1.port, _1.query, _1.userinfo] }, URI.join("http://a/b/c", "../d").to_s,
    URI.encode_www_form(a: 1, b: "x y"), URI.decode_www_form("a=1&b=%20")
  ]
end
feature("net-http") do
  require "net/http"; require "socket"
  server = TCPServer.new("127.0.0.1", 0)
  thread = Thread.new { c = server.accept; head = c.gets("\r\n\r\n"); c.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nX-Line: #{head.lines.first.chomp}\r\n\r\nhello"); c.close }
  r = Net::HTTP.get_response(URI("http://127.0.0.1:#{server.addr[1]}/path?x=1"))
  thread.join
  [r.code, r.body, r["x-line"], r.content_type]
end
feature("webrick-or-rack") do
  require "webrick" rescue next "no webrick"
  s = WEBrick::HTTPServer.new(Port: 0, BindAddress: "127.0.0.1", Logger: WEBrick::Log.new(File::NULL), AccessLog: [])
  s.mount_proc("/") { |q, r| r.body = q.query["n"].to_i.succ.to_s }
  t = Thread.new { s.start }
  require "net/http"
  b = Net::HTTP.get(URI("http://127.0.0.1:#{s.listeners[0].addr[1]}/?n=41"))
  s.shutdown
  t.join(10)
  b
end
feature("optparse-getopt") { require "optparse"; o = {}; r = OptionParser.new { |p| p.on("-v", "--[no-]verbose") { |v| o[:v] = v }; p.on("-nN", Integer) { |n| o[:n] = n } }.parse(%w[-v -n 5 rest]); [o, r] }
feature("logger") { require "logger"; out = StringIO.new; l = Logger.new(out); l.formatter = ->(s, _, p, m) { "#{s} #{p} #{m}\n" }; l.info("a"); l.debug { "b" }; l.level = :warn; l.info("c"); l.error("prog") { "d" }; out.string }
feature("pstore-tempfile") { require "pstore"; require "tmpdir"; Dir.mktmpdir { |d| s = PStore.new("#{d}/s"); s.transaction { s[:a] = [1, { b: 2 }] }; s.transaction(true) { s[:a] } } }
feature("tempfile") { require "tempfile"; Tempfile.create("x") { |f| f.write("data" * 1000); f.flush; f.rewind; [f.read.length, File.size(f.path), File.basename(f.path).start_with?("x"), f.stat.mode.to_s(8)] } }
feature("securerandom") { require "securerandom"; [SecureRandom.hex(8).length, SecureRandom.uuid =~ /\A\h{8}-\h{4}-4\h{3}-[89ab]\h{3}-\h{12}\z/, SecureRandom.random_number(10).between?(0, 9), SecureRandom.alphanumeric(5).length, SecureRandom.bytes(16) == SecureRandom.bytes(16), SecureRandom.urlsafe_base64.class.name] }
feature("random") { r = Random.new(42); [r.rand, r.rand(100), r.bytes(4).bytes, r.rand(1..6), Random.new(42) == Random.new(42), [1, 2, 3, 4, 5].shuffle(random: Random.new(1)), [1, 2, 3].sample(random: Random.new(7)), Random.rand(1.0).between?(0, 1), (srand(5); [rand(1000), rand(1000)]), Random.new_seed.class.name, Random.seed] }
feature("marshal") { o = [1, 2**100, 1.5, "s", :sym, { a: [nil, true] }, 1..3, Time.at(0).utc, Rational(1, 3), Class, Struct.new("Marshalled", :a).new(1)]; s = Marshal.dump(o); [s.bytes.sum, Marshal.load(s).inspect, (Marshal.dump(proc {}) rescue $!.class.name), Marshal.load(Marshal.dump("é")).encoding.name].tap { Struct.send(:remove_const, :Marshalled) } }
feature("forwardable-delegate") do
  require "forwardable"
  require "delegate"
  require "ostruct"
  require "singleton"
  require "observer"
  k = Class.new { extend Forwardable; def_delegators :@a, :size, :<<; def initialize = @a = [] }
  o = k.new
  o << 1
  d = SimpleDelegator.new([1, 2])
  s = Class.new { include Singleton }
  [o.size, d.length, d.__getobj__, OpenStruct.new(a: 1).tap { _1.b = 2 }.to_h, s.instance.equal?(s.instance), (s.new rescue $!.class.name)]
end
feature("matrix-prime") { require "prime"; p = [Prime.first(8), 360.prime_division, 97.prime?]; begin; require "matrix"; p << Matrix[[1, 2], [3, 4]].determinant << (Matrix[[1, 2], [3, 4]] * Vector[1, 1]).to_a << Matrix[[2, 0], [0, 3]].inverse.to_s; rescue LoadError; p << "no matrix"; end; p }
feature("benchmark-pp") { require "benchmark"; require "pp"; [Benchmark.realtime { 1 + 1 }.class.name, { a: (1..40).to_a }.pretty_inspect.lines.length, Benchmark.measure { 1 }.class.name] }
feature("shellwords-abbrev") { require "shellwords"; require "abbrev"; require "English"; require "find"; [Shellwords.split("a 'b c' d\\ e"), ["x y"].shelljoin, %w[car cat].abbrev.keys.sort, $PROCESS_ID == $$, Find.find("/etc/hosts").to_a] }
feature("ripper-coverage") { require "ripper"; require "coverage"; [Ripper.sexp("a = 1").flatten.length, Ripper.lex("def x; end").length, Coverage.running?] }
feature("objspace") { require "objspace"; [ObjectSpace.memsize_of("x" * 1000) >= 1000, ObjectSpace.each_object(Class).first.is_a?(Class), ObjectSpace.memsize_of_all.positive?, ObjectSpace.trace_object_allocations { ObjectSpace.allocation_sourceline(Object.new).is_a?(Integer) }] }
feature("fiddle") do
  require "fiddle"
  require "fiddle/import"
  sort = Fiddle::Function.new(Fiddle.dlopen(nil)["qsort"], [Fiddle::TYPE_VOIDP, Fiddle::TYPE_SIZE_T, Fiddle::TYPE_SIZE_T, Fiddle::TYPE_VOIDP], Fiddle::TYPE_VOID)
  compare = Class.new(Fiddle::Closure) { def call(a, b) = a[0] <=> b[0] }.new(Fiddle::TYPE_INT, [Fiddle::TYPE_VOIDP, Fiddle::TYPE_VOIDP])
  p = Fiddle::Pointer["hello".dup]
  [
    Fiddle::Function.new(Fiddle.dlopen(nil)["strlen"], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_INT).call("twelve chars"), p[0, 5],
    Fiddle::SIZEOF_LONG, sort.class.name, compare.class.superclass.name,
    Fiddle::Function.new(Fiddle.dlopen("libm.so.6")["cos"], [Fiddle::TYPE_DOUBLE], Fiddle::TYPE_DOUBLE).call(0.5)
  ]
end
feature("fiddle-callback") do
  require "fiddle"
  compare = Class.new(Fiddle::Closure) { def call(a, b) = Fiddle::Pointer.new(a)[0] <=> Fiddle::Pointer.new(b)[0] }.new(Fiddle::TYPE_INT, [Fiddle::TYPE_UINTPTR_T, Fiddle::TYPE_UINTPTR_T])
  buffer = Fiddle::Pointer.malloc(6, Fiddle::RUBY_FREE)
  buffer[0, 6] = "badcfe"
  Fiddle::Function.new(Fiddle.dlopen(nil)["qsort"], [Fiddle::TYPE_VOIDP, Fiddle::TYPE_SIZE_T, Fiddle::TYPE_SIZE_T, Fiddle::TYPE_VOIDP], Fiddle::TYPE_VOID).call(buffer, 6, 1, compare)
  buffer[0, 6]
end
feature("etc") { require "etc"; [Etc.getpwuid(0).name, Etc.getpwnam("root").uid, Etc.getgrgid(0).name, Etc.sysconf(Etc::SC_PAGESIZE), Etc.uname[:sysname], Etc.uname[:machine], Etc.nprocessors.positive?] }
feature("ipaddr-resolv") { require "ipaddr"; require "resolv"; a = IPAddr.new("10.1.2.0/24"); [a.include?("10.1.2.77"), a.to_range.first.to_s, IPAddr.new("::1").ipv6?, Resolv.getaddress("localhost"), IPAddr.new("192.168.1.1").to_i] }
feature("weakref-gc") { require "weakref"; w = ObjectSpace::WeakMap.new; k = "key".dup; w[k] = Object.new.tap { |o| @kept = o }; GC.start; before = GC.count; GC.start; [w.key?(k), GC.count > before, GC.stat[:heap_live_slots].positive?, WeakRef.new(k).weakref_alive?, GC.stress, (GC.disable; GC.enable)] }
feature("finalizers") { r = []; 50.times { ObjectSpace.define_finalizer(Object.new, proc { r << 1 }) }; 100_000.times { Object.new }; GC.start; r.length.positive? }
feature("gc-load") { kept = []; 60.times { |n| kept << Array.new(20_000) { |i| "#{n}-#{i}" }; kept.shift if kept.length > 5 }; kept.sum { |a| a.sum(&:length) } }
feature("gc-compact") { a = Array.new(50_000) { |i| i.to_s }; a.select!.with_index { |_, i| i % 3 == 0 }; GC.compact; GC.start; [a.length, a.last, a.sum(&:to_i)] }
feature("big-memory") { s = "x" * (60 << 20); s.setbyte(50 << 20, 65); [s.length, s[50 << 20], s.count("x")] }

# ---- Threads, fibers, ractors --------------------------------------------------

feature("threads") { m = Mutex.new; n = 0; t = 8.times.map { |i| Thread.new { 1000.times { m.synchronize { n += i } }; Thread.current[:x] = i } }; t.each(&:join); [n, t.map { _1[:x] }, t.map(&:alive?).uniq, Thread.new { raise "in thread" }.tap { _1.report_on_exception = false }.then { |x| begin; x.join; rescue => e; e.message; end }, Thread.current.name.class.name, Thread.list.length >= 1] }
feature("many-threads") { 200.times.map { |i| Thread.new { sleep 0.001; i } }.sum(&:value) }
feature("preemption") { stop = false; n = 0; t = Thread.new { n += 1 until stop }; sleep 0.05; stop = true; [t.join(10).class.name, n.positive?] }
feature("queues") { q = SizedQueue.new(3); out = Queue.new; w = 4.times.map { Thread.new { while (x = q.pop) != :end; out << x * x; end } }; 100.times { |i| q << i }; 4.times { q << :end }; w.each(&:join); r = []; r << out.pop until out.empty?; [r.sort.sum, q.empty?, (out.pop(true) rescue $!.class.name), out.close.closed?, out.pop] }
feature("condition-variables") { m = Mutex.new; c = ConditionVariable.new; turn = 0; log = []; t = 3.times.map { |i| Thread.new { 3.times { m.synchronize { c.wait(m, 5) while turn != i; log << i; turn = (turn + 1) % 3; c.broadcast } } } }; t.each(&:join); log }
feature("monitor") { require "monitor"; m = Monitor.new; c = m.new_cond; ready = false; t = Thread.new { m.synchronize { c.wait_until { ready }; m.synchronize { "nested" } } }; m.synchronize { ready = true; c.signal }; t.value }
feature("thread-control") { t = Thread.new { Thread.stop; :woken }; sleep 0.001 until t.stop?; t.wakeup; k = Thread.new { loop { sleep } }; sleep 0.001 until k.stop?; k.kill; r = Thread.new { begin; sleep; rescue => e; e.message; end }; sleep 0.001 until r.stop?; r.raise("poked"); [t.value, k.join.status, r.value, Thread.handle_interrupt(RuntimeError => :never) { 1 }, Thread.new { Thread.exit; 1 }.value, (Mutex.new.tap(&:lock).lock rescue $!.class.name)] }
feature("deadlock-detection") { Thread.new { Thread.stop } ; Thread.new { (Queue.new.pop rescue $!.class.name) }.then { |t| t.join(0.05).class.name } }
feature("timeout") { require "timeout"; [(Timeout.timeout(0.02) { sleep 10 } rescue $!.class.name), (Timeout.timeout(0.02) { loop {} } rescue $!.class.name), Timeout.timeout(10) { :in_time }, (Timeout.timeout(0.01, ArgumentError) { sleep 1 } rescue $!.class.name)] }
feature("fibers") { f = Fiber.new { |x| y = Fiber.yield(x + 1); z = Fiber.yield(y * 2); z.to_s }; g = Fiber.new { raise "in fiber" }; [f.resume(1), f.resume(10), f.alive?, f.resume(:z), f.alive?, (f.resume rescue $!.class.name), (g.resume rescue $!.message)] }
feature("many-fibers") { 2000.times.map { |i| Fiber.new { Fiber.yield(i); i } }.sum { |f| f.resume + f.resume } }
feature("fiber-scheduler") do
  scheduler = Class.new do
    def initialize = (@ready, @waiting, @now = [], {}, clock)
    def clock = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    def run
      until @ready.empty? && @waiting.empty?
        @ready.shift.resume until @ready.empty?
        @now = clock
        due, @waiting = @waiting.partition { |_, t| t <= @now }.map(&:to_h)
        due.sort_by(&:last).each { |f, _| f.resume if f.alive? }
        Kernel.instance_method(:sleep).bind_call(self, 0.001) if @ready.empty?
      end
    end
    def close = run
    # From the moment of the last turn: naps of one turn end in the order of their lengths, on however slow a machine.
    def kernel_sleep(d = nil) = (@waiting[Fiber.current] = @now + d; Fiber.yield)
    def block(_, t = nil) = kernel_sleep(t || 0.001)
    def unblock(_, f) = @ready << f
    def io_wait(io, e, t) = (kernel_sleep(0.001); e)
    def fiber(&b) = Fiber.new(blocking: false, &b).tap(&:resume)
  end
  log = []
  Thread.new { Fiber.set_scheduler(scheduler.new); 3.times { |i| Fiber.schedule { log << "a#{i}"; sleep(0.005 * (3 - i)); log << "b#{i}" } } }.join
  log
end
feature("ractors") { r = Ractor.new(5) { |n| Ractor.yield(n * 2); Ractor.receive + 1 }; [r.take, r.send(41).take, 3.times.map { |i| Ractor.new(i) { |x| (1..1000).sum * x } }.map(&:take), (Ractor.make_shareable([1, "a"]).frozen?)] }
feature("thread-locals") { Thread.current.thread_variable_set(:a, 1); f = Fiber.new { [Thread.current[:f], Thread.current.thread_variable_get(:a)] }; Thread.current[:f] = 2; f.resume }
feature("sleep-clock") do
  a = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  sleep 0.02
  d = Process.clock_gettime(Process::CLOCK_MONOTONIC) - a
  [
    d >= 0.02, d < 10, Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID).positive?,
    Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond) > 1_600_000_000_000, Process.clock_getres(Process::CLOCK_MONOTONIC) < 0.1,
    Process.times.utime >= 0
  ]
end

# ---- The system ------------------------------------------------------------------

feature("files") do
  require "tmpdir"; require "fileutils"
  Dir.mktmpdir do |d|
    File.write("#{d}/a", "line 1\nline 2\n"); File.open("#{d}/a", "a") { |f| f.puts "line 3"; f.fsync }
    File.symlink("a", "#{d}/l"); File.rename("#{d}/a", "#{d}/b"); File.link("#{d}/b", "#{d}/h"); FileUtils.mkdir_p("#{d}/x/y"); FileUtils.cp("#{d}/b", "#{d}/x/y/c"); FileUtils.touch("#{d}/t")
    File.chmod(0o600, "#{d}/b"); File.utime(1, 2, "#{d}/b"); File.truncate("#{d}/x/y/c", 6)
    s = File.stat("#{d}/b")
    [Dir.children(d).sort, File.readlines("#{d}/b", chomp: true), s.nlink, s.mode.to_s(8), s.mtime.to_i, s.size, File.readlink("#{d}/l"), File.exist?("#{d}/l"), Dir.glob("#{d}/**/*").length, File.read("#{d}/x/y/c"), (File.read("#{d}/none") rescue $!.class.name), File.ftype("#{d}/x"), File.identical?("#{d}/b", "#{d}/h"), (Dir.rmdir("#{d}/x") rescue $!.class.name), FileUtils.rm_rf("#{d}/x").length, File.extname("a.tar.gz"), File.expand_path("../b", "/a/c"), File.realpath("#{d}/h") == File.realpath(d) + "/h"]
  end
end
feature("file-io") { require "tempfile"; Tempfile.create { |f| f.binmode; f.write([1, 2, 3].pack("N*")); f.seek(4); a = f.read(4).unpack1("N"); f.pwrite("zz", 0); b = f.pread(2, 0); f.flock(File::LOCK_EX); f.seek(0, IO::SEEK_END); [a, b, f.pos, f.flock(File::LOCK_UN), f.sync, f.readbyte.class.name] rescue [a, b, $!.class.name] } }
feature("line-reading") do
  require "tempfile"
  Tempfile.create { |f| 5000.times { |i| f.puts "line #{i}" }; f.flush; f.rewind; [f.each_line.count, File.foreach(f.path).first(2), IO.readlines(f.path).last, (f.rewind; f.gets(nil).length), File.open(f.path, "r:UTF-16LE:UTF-8") { |x| x.external_encoding.name }, IO.copy_stream(f.path, "#{f.path}.c"), File.unlink("#{f.path}.c")] }
end
feature("pipes-select") do
  r, w = IO.pipe
  t = Thread.new { sleep 0.01; w.write("data"); w.close }
  ready = IO.select([r], nil, nil, 5)
  a = [ready[0].length, r.read, r.eof?, IO.select([], nil, nil, 0.01)]
  t.join
  r2, w2 = IO.pipe
  a + [r2.read_nonblock(5, exception: false).to_s, w2.write_nonblock("x" * 200_000).positive?, (w2.write_nonblock("x" * 200_000, exception: false)).to_s, r2.readpartial(10)]
end
feature("epipe") { r, w = IO.pipe; r.close; [(w.write("x"); w.flush) , 1] rescue $!.class.name }
feature("sockets-tcp") do
  require "socket"
  s = TCPServer.new("127.0.0.1", 0)
  t = Thread.new { 3.times { Thread.new(s.accept) { |c| while (l = c.gets); c.puts(l.chomp.reverse); end; c.close } } }
  r = 3.times.map { |i| TCPSocket.open("127.0.0.1", s.addr[1]) { |c| c.setsockopt(:TCP, :NODELAY, 1); c.puts("hello#{i}"); c.close_write; c.read } }
  t.join
  [r, s.addr[3], s.local_address.ip?, (TCPSocket.new("127.0.0.1", s.tap(&:close) && 1) rescue $!.class.name)]
end
feature("sockets-unix") { require "socket"; require "tmpdir"; a, b = UNIXSocket.pair; a.write("x"); r = [b.readpartial(5)]; Dir.mktmpdir { |d| s = UNIXServer.new("#{d}/s"); t = Thread.new { c = s.accept; c.write(c.gets.upcase); c.close }; c = UNIXSocket.new("#{d}/s"); c.puts("unix"); r << c.read; t.join }; a.send_io($stdout) rescue (r << $!.class.name); r }
feature("sockets-udp") { require "socket"; a = UDPSocket.new; a.bind("127.0.0.1", 0); b = UDPSocket.new; b.connect("127.0.0.1", a.addr[1]); b.send("datagram", 0); m, from = a.recvfrom(100); a.send("back", 0, "127.0.0.1", b.addr[1]); [m, from[3], b.recvfrom(10)[0], (b.recv_nonblock(10, exception: false)).to_s] }
feature("addrinfo") { require "socket"; [Addrinfo.tcp("127.0.0.1", 80).inspect_sockaddr, Socket.getaddrinfo("localhost", "http", Socket::AF_INET, :STREAM)[0][1], Addrinfo.getaddrinfo("127.0.0.1", 22).length.positive?, Socket.getservbyname("https"), Socket.unpack_sockaddr_in(Socket.sockaddr_in(80, "127.0.0.1")), Socket.gethostname.class.name] }
feature("signals") do
  log = []
  old = trap("USR1") { |n| log << n }
  trap("TERM") { log << :term }
  Process.kill("USR1", $$)
  Process.kill(:TERM, $$)
  sleep 0.001 until log.length == 2
  trap("USR1", old || "DEFAULT")
  trap("TERM", "DEFAULT")
  [
    log.map(&:to_s).sort, old.to_s, Signal.signame(9), (trap("KILL") {} rescue $!.class.name), (trap("VTALRM") {} rescue $!.class.name),
    Signal.list.length, (Process.kill("NOSUCH", $$) rescue $!.class.name)
  ]
end
feature("interrupt") { begin; Process.kill("INT", $$); sleep 5; rescue Interrupt; "interrupted"; end }
feature("process") { [Process.uid, Process.euid, Process.getrlimit(:NOFILE).length, Process.getpriority(Process::PRIO_PROCESS, 0).class.name, Process.pid == $$, Process.ppid.class.name, Process.clock_gettime(:TIMES_BASED_CLOCK_MONOTONIC).class.name, File.umask, Process.argv0.class.name, (Process.kill(0, $$)), (Process.wait rescue $!.class.name)] }
feature("environment") { ENV["SEUSS_A"] = "ü"; r = [ENV["SEUSS_A"], ENV.fetch("SEUSS_NONE", "d"), ENV.to_h.class.name, ENV.key?("PATH"), (ENV.fetch("a\0b") rescue $!.class.name), ENV.delete("SEUSS_A"), ENV["SEUSS_A"]]; r }
feature("directories") { require "tmpdir"; before = Dir.pwd; Dir.mktmpdir { |d| Dir.chdir(d) { File.write("f", ""); [Dir.entries(".").sort, File.exist?("f"), Dir.exist?(d), Dir.empty?(d), Dir.each_child(".").to_a, Dir["*"].length] } } << (Dir.pwd == before) << (Dir.mkdir("/proc/x") rescue $!.class.name.start_with?("Errno")) }
feature("pathname") { require "pathname"; require "tmpdir"; Dir.mktmpdir { |d| x = Pathname(d) + "a" + "b.txt"; x.dirname.mkpath; x.write("hi"); [x.basename.to_s, x.extname, x.read, x.relative_path_from(Pathname(d)).to_s, Pathname("/a/../b").cleanpath.to_s, x.exist?, Pathname(d).glob("**/*.txt").length, Pathname("a/b").each_filename.to_a] } }
feature("io-misc") do
  require "io/console"
  require "io/wait"
  require "io/nonblock"
  r, w = IO.pipe
  w << "x"
  [
    r.wait_readable(1).class.name, r.nread, r.nonblock?, $stdin.tty?, $stdout.fileno, IO.sysopen("/dev/null").positive?,
    File.open("/dev/zero") { _1.read(3) }.bytes, File.open("/dev/urandom") { _1.read(4) }.length, File.write("/dev/null", "x"),
    IO.console.class.name
  ]
end
feature("stdout-redirect") { before = $stdout; $stdout = StringIO.new; puts "captured"; s = $stdout.string; $stdout = before; require "tempfile"; Tempfile.create { |f| d = STDOUT.dup; STDOUT.reopen(f.path, "w"); STDOUT.puts("to the file"); STDOUT.flush; STDOUT.reopen(d); d.close; [s, File.read(f.path)] } }
feature("require") { require "tmpdir"; Dir.mktmpdir { |d| File.write("#{d}/lib_a.rb", "module LibA; VALUE = 5; end"); File.write("#{d}/lib_b.rb", "$lib_b = ($lib_b || 0) + 1"); $LOAD_PATH.unshift(d); r = [require("lib_a"), require("lib_a"), LibA::VALUE, load("#{d}/lib_b.rb"), load("#{d}/lib_b.rb"), $lib_b] rescue r = [$!.class.name]; $LOAD_PATH.shift; Object.send(:remove_const, :LibA) rescue 0; $lib_b = nil; begin; require "not/there"; rescue LoadError => e; r << e.message << e.path; end; r } }
feature("gems") { [Gem::VERSION.class.name, Gem::Version.new("1.10") > Gem::Version.new("1.9"), Gem.loaded_specs.class.name, (begin; gem "nonexistent-gem"; rescue LoadError => e; e.class.name; end), (require "rake"; Rake::VERSION), Gem::Requirement.new("~> 1.2").satisfied_by?(Gem::Version.new("1.9")), Gem::Specification.find_by_name("json").class.name] }
feature("libraries") { %w[socket etc pty nkf syslog readline dbm gdbm sdbm win32ole racc/parser rexml/document bundler irb rdoc].map { |l| begin; require l; [l, "there"]; rescue LoadError; [l, "none"]; end } }
feature("rexml") { require "rexml/document"; d = REXML::Document.new("<a><b id='1'>t</b><b id='2'/></a>"); [d.root.elements.to_a("b").map { _1.attributes["id"] }, REXML::XPath.first(d, "//b[@id='1']").text, d.to_s.length] }
feature("version") { [RUBY_VERSION, RUBY_ENGINE, RUBY_PLATFORM, RUBY_PATCHLEVEL, RUBY_DESCRIPTION] }
feature("warning") { before = $stderr; $stderr = StringIO.new; warn "careful"; Warning.warn("and more\n"); s = $stderr.string; $stderr = before; [s, Warning[:deprecated]] }
feature("callers") { [caller.class.name, caller_locations(0, 1)[0].lineno.class.name, __LINE__.class.name, $PROGRAM_NAME.class.name] }
feature("rbconfig") { require "rbconfig"; [RbConfig::CONFIG["ruby_version"], RbConfig.ruby] }
feature("unicode-width") { require "reline" rescue next "none"; [Reline::Unicode.calculate_width("日本x"), "e\u0301".unicode_normalize(:nfc).length, "ﬀ".upcase, "\u{1F468}\u200d\u{1F469}".grapheme_clusters.length] }
feature("racc-parser") { require "racc/parser"; Racc::Parser::Racc_Runtime_Type rescue $!.class.name }
