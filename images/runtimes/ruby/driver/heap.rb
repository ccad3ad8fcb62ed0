# frozen_string_literal: true

require "fiddle"

module SeussDriver
  # What is done to the heaps of Ruby and of the C library before a capture, so
  # that functions' snapshots and requests touch, and so copy, few pages.
  module Heap
    # An object is old for the collector once it has survived this many
    # collections (RVALUE_OLD_AGE of Ruby's collector).
    OLD_AGE = 3

    # Above this many bytes in one piece free() merges the small free blocks that it
    # has put aside (glibc's FASTBIN_CONSOLIDATION_THRESHOLD); below
    # DEFAULT_MMAP_THRESHOLD malloc() takes such a piece from the heap.
    LARGE_BYTES = 100_000

    CACHED = 7 # blocks of each size (TCACHE_FILL_COUNT)

    # Up to this size free blocks are filled.
    FILLED_BYTES = 1024
    SMALLEST_BYTES = 32 # of a block (MINSIZE)

    class << self
      # Garbage goes, and what stays is old, so that later minor collections neither
      # mark it nor touch its pages.
      def settle
        (OLD_AGE + 1).times { GC.start }
        C_LIBRARY.malloc_trim
        # malloc() sorts what free() has merged when it next looks for something large:
        # now, not in the first function.
        2.times { String.new(capacity: LARGE_BYTES).clear }
      end

      # Fills the free blocks of the C library's heap, for good. Start-up leaves holes
      # all over it; what a function allocates next would go into them, a few bytes in
      # each of a hundred pages. With the holes filled it lies together. The pages that
      # this fills are in the base anyway.
      def fill
        FILLED_BYTES.step(SMALLEST_BYTES, -16) do |bytes| # malloc's sizes are multiples of 16
          misses = 0 # in a row: what lies in the thread's cache is not counted as free
          while misses <= CACHED
            before = C_LIBRARY.free_below_top
            Fiddle.malloc(bytes - 8) # each block has 8 bytes of malloc's own
            misses = C_LIBRARY.free_below_top < before ? 0 : misses + 1
          end
        end
      end
    end

    # The two functions of glibc's that are needed.
    C_LIBRARY = Module.new do
      trim = Fiddle::Function.new(Fiddle.dlopen(nil)["malloc_trim"], [Fiddle::TYPE_SIZE_T], Fiddle::TYPE_INT)
      define_singleton_method(:malloc_trim) { trim.call(0) }

      # mallinfo2 returns ten size_t: in memory, whose address the caller passes (System V
      # ABI). The last two are the free bytes, and how many of them are at the top.
      info = Fiddle::Function.new(Fiddle.dlopen(nil)["mallinfo2"], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_VOID)
      result = Fiddle::Pointer.malloc(10 * Fiddle::SIZEOF_SIZE_T, Fiddle::RUBY_FREE)
      define_singleton_method(:free_below_top) do
        info.call(result)
        free, at_top = result[8 * Fiddle::SIZEOF_SIZE_T, 2 * Fiddle::SIZEOF_SIZE_T].unpack("J2")
        free - at_top
      end
    end
    private_constant :C_LIBRARY
  end
end
