# frozen_string_literal: true

module SeussDriver
  # Files that the host puts into the instance and takes out of it: small steps, each of
  # which does a little. What one does wrong is its own answer's; none touches the program.
  module Files
    MOST_ENTRIES = 20_000 # of a directory, in one answer
    TYPES = { "file" => "file", "directory" => "directory", "link" => "link" }.freeze

    class << self
      # Returns what came of each step, up to the first that failed.
      def run(steps)
        answers = []
        steps.each do |step|
          answers << public_send(:"do_#{step["do"]}", step)
        rescue SystemCallError, IOError, ArgumentError => e
          answers << { error: e.message.scrub }
          break
        end
        answers
      end

      def do_stat(step) = { entries: [describe(step["path"], "")] }

      def do_follow(step) = { entries: [describe(File.realpath(step["path"]), "")] }

      def do_list(step)
        names = Dir.children(step["path"]).sort
        raise ArgumentError, "#{step["path"]} has #{names.size} entries, at most #{MOST_ENTRIES} are told at once" if names.size > MOST_ENTRIES

        { entries: names.map { |name| describe("#{step["path"]}/#{name}", name) } }
      end

      def do_read(step)
        { data: [File.binread(step["path"], step["bytes"], step["at"] || 0).to_s].pack("m0") }
      end

      def do_write(step)
        path, at = step["path"], step["at"] || 0
        File.unlink(path) if at.zero? && File.symlink?(path)
        File.open(path, at.zero? ? "wb" : "r+b") do |f|
          f.seek(at)
          f.write(step["data"].to_s.unpack1("m0"))
        end
        File.chmod(step["mode"], path) if at.zero?
        {}
      end

      def do_make(step)
        return {} if File.directory?(step["path"])

        Dir.mkdir(step["path"])
        File.chmod(step["mode"], step["path"])
        {}
      end

      def do_link(step)
        File.unlink(step["path"]) if File.symlink?(step["path"]) || File.exist?(step["path"])
        File.symlink(step["link"], step["path"])
        {}
      end

      private

      def describe(path, name)
        s = File.lstat(path)
        entry = { name: name, type: TYPES.fetch(s.ftype, "other"), mode: s.mode & 0o7777, size: s.size, time: s.mtime.to_i }
        entry[:link] = File.readlink(path) if s.symlink?
        entry
      end
    end
  end
end
