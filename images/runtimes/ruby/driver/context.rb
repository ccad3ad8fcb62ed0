# frozen_string_literal: true

module SeussDriver
  # Lambda's context object. Its fields are parsed when the first is read, and
  # that is noted.
  class Context
    # Variables of Lambda that may be others at each invocation (a published version
    # starts from the snapshot of its code, whatever its number), by the field that says so.
    VARYING = {
      "function_version" => "AWS_LAMBDA_FUNCTION_VERSION", "memory_limit_in_mb" => "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"
    }.freeze

    attr_writer :used, :marks

    def initialize
      @marks = []
      @adopted = false # the environment has what this invocation's context says
      @raw = "{}"
      @fields = nil
      @used = false
    end

    # A function that has read its context has taken outside input in.
    def used = @used || @adopted

    def renew(raw)
      @raw = raw
      @fields = nil
      @marks.each { |mark| adopt unless raw.include?(mark) }
    end

    %w[aws_request_id invoked_function_arn log_group_name log_stream_name function_name memory_limit_in_mb
       function_version identity client_context deadline_ms].each do |name|
      define_method(name) { field(name) }
    end

    def get_remaining_time_in_millis
      [field("deadline_ms") - Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond), 0].max
    end

    def inspect = "#<LambdaContext>"

    private

    def adopt
      @adopted = true
      VARYING.each do |name, variable|
        said = @raw[/"#{name}":"([^"\\]*)"/n, 1]
        ENV[variable] = said if said
      end
    end

    def field(name)
      @used = true
      @fields ||= JSON.parse(@raw.dup.force_encoding(Encoding::UTF_8))
      @fields[name]
    end
  end
end
