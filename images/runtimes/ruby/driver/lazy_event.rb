# frozen_string_literal: true

module SeussDriver
  # The event of a function deployed with lazy arguments: it answers as the Hash
  # does that other functions get.
  #
  # A key's value is asked for when the key is first read. The host may take a
  # snapshot at that moment and let later requests, equal so far, start there.
  # Whatever needs all keys at once asks for the whole event.
  #
  # It is no Hash: Ruby's own C code would read one without asking. Such code
  # calls to_hash on what is none, and gets the whole event.
  class LazyEvent < BasicObject
    # Whether an event can have such a key at all.
    def self.name?(key)
      ::String === key && key.valid_encoding? && (key.encoding == ::Encoding::UTF_8 || key.ascii_only?)
    end

    # From now on events are Hashes for Hash === too.
    def self.appear
      return if @appeared

      ::Hash.singleton_class.prepend(HashCase)
      @appeared = true
    end

    def initialize(ask)
      @ask = ask
      @known = {}   # what has been asked for or written
      @gone = {}    # keys that are absent or deleted
      @late = {}    # keys that were deleted and then written: they come last
      @whole = false
    end

    # to_hash returns the whole event.
    def to_hash
      return @known if @whole

      _, event = @ask.call(nil)
      # In the event's own order; what the function has changed stays.
      all = {}
      event.each { |key, value| all[key] = @known.fetch(key, value) unless @gone.key?(key) || @late.key?(key) }
      @known.each { |key, value| all[key] = value }
      @whole = true
      @known = all
    end

    def [](key)
      _bind(key)[key]
    end

    def []=(key, value)
      @late[key] = true if @gone.delete(key)
      @known[key] = value
    end
    alias store []=

    def key?(key)
      _bind(key).key?(key)
    end
    alias has_key? key?
    alias include? key?
    alias member? key?

    def fetch(key, *default, &block)
      _bind(key).fetch(key, *default, &block)
    end

    def dig(key, *rest)
      _bind(key).dig(key, *rest)
    end

    def values_at(*keys)
      keys.each { |key| _bind(key) }
      @known.values_at(*keys)
    end

    def fetch_values(*keys, &block)
      keys.each { |key| _bind(key) }
      @known.fetch_values(*keys, &block)
    end

    def slice(*keys)
      keys.each { |key| _bind(key) }
      @known.slice(*keys)
    end

    def delete(key, &block)
      _bind(key)
      @gone[key] = true
      @known.delete(key, &block)
    end

    def class = ::Hash

    # What it is for is_a?, `case` and `Hash ===`, see HashCase.
    def is_a?(type) = ::Hash <= type ? true : false
    alias kind_of? is_a?
    def instance_of?(type) = ::Hash.equal?(type)
    def nil? = false

    def respond_to?(name, all = false)
      ::Hash.method_defined?(name) || (all && ::Hash.private_method_defined?(name))
    end

    def ==(other)
      equal?(other) || to_hash == other
    end

    def !=(other)
      !(self == other)
    end

    def deconstruct_keys(_) = to_hash
    def hash = to_hash.hash
    def to_h(&block) = to_hash.to_h(&block)
    def dup = to_hash.dup
    def clone(freeze: nil) = to_hash.clone(freeze: freeze)

    # Everything else of a Hash, methods that libraries add included.
    def method_missing(name, *args, **options, &block)
      result = to_hash.public_send(name, *args, **options, &block)
      result.equal?(@known) ? self : result
    end

    private

    # _bind asks for a key that is not known yet and returns what is known.
    def _bind(key)
      return @known if @whole || @known.key?(key) || @gone.key?(key) || !LazyEvent.name?(key)

      present, value = @ask.call(key)
      if present
        @known[key] = value
      else
        @gone[key.dup.freeze] = true
      end
      @known
    end
  end

  # Hash === of a lazy event.
  module HashCase
    def ===(object)
      super || (equal?(::Hash) && LazyEvent === object)
    end
  end
end
