# frozen_string_literal: true

# The Ruby driver: the first program of a Ruby guest.
#
# It connects to the host once and then serves one request after the other on
# that stream: require libraries, load a function, invoke it. Whatever the host
# captures, it captures while this program waits in Link#receive, so every
# request starts in a memory that has seen no other request.
#
# A handler has the signature of AWS Lambda's Ruby model,
# handler(event:, context:); results and errors have Lambda's JSON forms.

require "fcntl"
require "json"
require "socket"

require_relative "protocol"
require_relative "errors"
require_relative "context"
require_relative "lazy_event"
require_relative "generators"
require_relative "heap"
require_relative "function"
require_relative "warm_up"

module SeussDriver
  # The stream to the host: frames of a length, a type and a payload.
  class Link
    AF_VSOCK = 40 # linux/socket.h
    CID_HOST = 2  # VMADDR_CID_HOST, linux/vm_sockets.h
    BUFFER_BYTES = 65_536

    def initialize
      @io = Socket.new(AF_VSOCK, Socket::SOCK_STREAM, 0)
      @io.connect([AF_VSOCK, 0, DRIVER_PORT, CID_HOST, 0].pack("SSLLL")) # struct sockaddr_vm
      # Ruby makes sockets non-blocking, and would wait in poll as well as in read.
      @io.fcntl(Fcntl::F_SETFL, @io.fcntl(Fcntl::F_GETFL) & ~File::NONBLOCK)
      @buffer = String.new(capacity: BUFFER_BYTES)
      own
    end

    # Declares the stream the driver's own and starts the purity counters at zero.
    def own
      @io.setsockopt(AF_VSOCK, SO_DRIVER, OWN)
    end
    OWN = [0].pack("Q").freeze
    private_constant :OWN

    # Lets other threads run after a restore: they have had to wait for this.
    def seeded
      @io.setsockopt(AF_VSOCK, SO_SEEDED, OWN)
    end

    def send(kind, payload)
      frame = [payload.bytesize, kind].pack("L<C") << payload.b
      frame = frame.byteslice(@io.syswrite(frame)..) until frame.empty?
    end

    # Returns the type of the next frame and the frame itself, whose payload begins
    # at FRAME_HEADER. The next call may use the frame's memory again.
    def receive
      frame = @io.sysread(BUFFER_BYTES, @buffer)
      frame = more(frame.dup, FRAME_HEADER) if frame.bytesize < FRAME_HEADER
      bytes = FRAME_HEADER + frame.unpack1("L<")
      frame = more(frame.dup, bytes) if frame.bytesize < bytes
      [frame.getbyte(FRAME_HEADER - 1), frame]
    rescue EOFError, SystemCallError
      exit!(0)
    end

    private

    def more(frame, bytes)
      frame << @io.sysread([bytes - frame.bytesize, BUFFER_BYTES].min, @buffer) while frame.bytesize < bytes
      frame
    end
  end

  class Driver
    def initialize
      @link = Link.new
      @context = Context.new
      @generators = Generators.new(@link)
      @function = nil
    end

    attr_reader :link

    def load(request)
      @function = Function.new(request)
      @context.marks = @function.marks
    end

    # Drops what load brought, see Function#forget.
    def forget
      @function.forget
      @function = nil
    end

    # Invokes the function on what follows FRAME_HEADER in a frame, and returns the
    # type and the payload of the answer.
    def invoke(lazy, frame)
      result = @function.call(lazy ? begin_lazy(frame) : parse(renew(frame), frame), @context)
      body = JSON.generate(result)
      return [MSG_RESULT, body] if body.bytesize <= RESULT_BYTES

      [MSG_ERROR, Errors.too_large(body.bytesize)]
    rescue Exception => e # whatever it is, it is the function's own
      [MSG_ERROR, Errors.document(e, "Function")]
    end

    def serve
      loop do
        kind, frame = @link.receive
        answer = case kind
                 when MSG_INVOKE then invoke(false, frame)
                 when MSG_INVOKE_LAZY then invoke(true, frame)
                 else prepare(kind, frame)
                 end
        flush(STDOUT)
        flush(STDERR)
        @link.send(*answer)
        frame = answer = nil
      end
    end

    private

    def begin_lazy(frame)
      renew(frame)
      @context.used = false
      @generators.begin
      @link.own
      LazyEvent.appear
      LazyEvent.new(method(:ask))
    end

    # Asks for the value of a key, or for the whole event.
    def ask(key)
      flags = key ? 0 : WANT_ALL
      flags |= WANT_CONTEXT if @context.used
      flags |= WANT_RANDOM if @generators.drawn?
      flush(STDOUT)
      @link.send(MSG_WANT, [flags].pack("C") << key.to_s.b)
      kind, frame = @link.receive
      raise "the host answered WANT with message #{kind}" if kind != MSG_ARG

      at = renew(frame)
      @generators.mark
      frame.getbyte(at) == 0 ? [false, nil] : [true, parse(at + 1, frame)]
    end

    # Takes over the seed and the context of a frame; returns where they end.
    def renew(frame)
      @generators.reseed(frame.byteslice(FRAME_HEADER, SEED_BYTES))
      at = FRAME_HEADER + SEED_BYTES
      bytes = frame.unpack1("L<", offset: at)
      at += 4
      @context.renew(frame.byteslice(at, bytes))
      at + bytes
    end

    def parse(from, frame)
      JSON.parse(frame.byteslice(from..).force_encoding(Encoding::UTF_8))
    end

    def prepare(kind, frame)
      request = parse(FRAME_HEADER, frame)
      # What libraries draw as they are loaded must not be what those of another
      # function drew: both come from one snapshot.
      @generators.reseed(Random.urandom(SEED_BYTES))
      case kind
      when MSG_LOAD then load(request)
      when MSG_IMPORT
        request.each { |name| require name }
        Heap.settle
      when MSG_EXEC
        if request["files"]
          require_relative "files"
          return [MSG_RESULT, JSON.generate({ value: Files.run(request["files"]) })]
        end
        require_relative "execute"
        return Execute.run(request["code"])
      else raise "message #{kind} is not one of the host's"
      end
      [MSG_DONE, "{}"]
    rescue Exception => e # the code of a library or of the function raised it
      [MSG_ERROR, Errors.document(e, "Init")]
    end

    def flush(stream)
      stream.flush
    rescue IOError
      # the function has closed it
    end
  end

  # Ends the program if the monitor speaks another version of the driver protocol.
  def self.check_protocol
    monitor = ENV.delete("SEUSS_DRIVER_PROTOCOL")
    return if monitor.nil? || monitor == VERSION.to_s

    abort("the monitor speaks driver protocol #{monitor}, this driver #{VERSION}: build the image anew")
  end

  def self.main
    check_protocol
    STDOUT.sync = true
    # A collection would read the clock, and nothing outside a function's event may
    # go into what an argument snapshot holds.
    GC.measure_total_time = false
    Dir.chdir(TASK_ROOT)
    $LOAD_PATH.unshift(TASK_ROOT)
    driver = Driver.new
    WarmUp.built_in(driver)
    WarmUp.configured(driver)
    require "json" # Ruby's indices of paths and features are made anew after changes, here and now
    GC.compact if GC.respond_to?(:compact)
    Heap.settle
    Heap.fill
    driver.link.send(MSG_READY, JSON.generate(protocol: VERSION, runtime: "ruby", version: RUBY_VERSION))
    driver.serve
  end
end

SeussDriver.main
