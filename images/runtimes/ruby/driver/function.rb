# frozen_string_literal: true

module SeussDriver
  TASK_ROOT = "/var/task"

  # A deployed function: its files in the task root, and the method that handles
  # events.
  class Function
    MAIN = TOPLEVEL_BINDING.receiver

    # request is that of MSG_LOAD.
    def initialize(request)
      @surroundings = request.fetch("surroundings", {})
      ENV.update(@surroundings)
      ENV.update(request.fetch("environment", {}))
      @files = []
      @directories = []
      write(request["files"])
      file, @type, @method = split(request["handler"])
      search
      # The require of RubyGems, which looks for gems first, would leave its traces
      # in dozens of pages, and each would be in the function's snapshot.
      # In an instance that code was run in it is there, as a method of the main object.
      MAIN.__send__(:gem_original_require, "#{TASK_ROOT}/#{file}") unless request["snapshot"] && file == "main"
      @receiver = @type ? Object.const_get(@type) : MAIN
      check(request["handler"])
    end

    def call(event, context)
      @receiver.__send__(@method, event: event, context: context)
    end

    # What a context says of Context::VARYING if the environment says the same.
    def marks
      Context::VARYING.filter_map { |field, name| %("#{field}":"#{@surroundings[name]}").b.freeze if @surroundings[name] }
    end

    # Drops what the constructor brought: files, constants, methods of the main
    # object and features, but not the libraries from outside the task root.
    def forget
      Object.constants.each { |name| Object.__send__(:remove_const, name) if ours?(Object.const_source_location(name)) }
      (Object.private_instance_methods(false) + Object.public_instance_methods(false)).each do |name|
        Object.remove_method(name) if ours?(Object.instance_method(name).source_location)
      end
      $LOADED_FEATURES.reject! { |path| path.start_with?("#{TASK_ROOT}/") }
      @files.each { |path| File.unlink(path) } # what an image has there stays
      @directories.reverse_each { |path| Dir.rmdir(path) if Dir.empty?(path) }
    end

    private

    def write(files)
      files.each do |path, content|
        target = "#{TASK_ROOT}/#{path}"
        make_directories(File.dirname(target)) if path.include?("/")
        File.binwrite(target, content.unpack1("m0"))
        @files << target
      end
    end

    def make_directories(path)
      return if File.directory?(path)

      make_directories(File.dirname(path))
      Dir.mkdir(path)
      @directories << path
    end

    # FILE.METHOD or FILE.CLASS.METHOD; directories of FILE are separated by /.
    def split(handler)
      at = (handler.rindex("/") || -1) + 1
      file, *type, method = handler[at..].split(".", -1)
      if method.to_s.empty? || type.length > 1 || file.empty? || type.first&.empty?
        raise ArgumentError, "Invalid handler #{handler}: want FILE.METHOD or FILE.CLASS.METHOD, " \
                             "where FILE.rb is one of the function's files and METHOD is one of CLASS itself"
      end
      [handler[0, at] + file, type.first, method.to_sym]
    end

    # Finds gems that Bundler put below vendor/bundle, and those of layers. (The task root
    # itself is in the load path from the start.)
    def search
      version = RbConfig::CONFIG["ruby_version"]
      gems = ["#{TASK_ROOT}/vendor/bundle/ruby/#{version}", "/opt/ruby/gems/#{version}"].select { |dir| File.directory?(dir) }
      return if gems.empty?

      ENV["GEM_PATH"] = [*gems, *Gem.path].join(File::PATH_SEPARATOR)
      Gem.clear_paths
    end

    def check(handler)
      return if @receiver.respond_to?(@method, true)

      raise NoMethodError, "undefined method `#{@method}' for #{@type || "main"}: handler #{handler} is missing"
    end

    def ours?(location)
      location&.first&.start_with?("#{TASK_ROOT}/")
    end
  end
end
