/* execve.c: a program in another's place: what stays, what goes, scripts, and errors. */
#include "abi.h"
#include <elf.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

#pragma GCC diagnostic ignored "-Wstringop-overread"
#pragma GCC diagnostic ignored "-Wformat-truncation"

extern char **environ;
static char self[PATH_MAX], dir[] = "/tmp/exec-XXXXXX", path[PATH_MAX], path2[PATH_MAX];

static const char *in(char *buf, const char *name) { return snprintf(buf, PATH_MAX, "%s/%s", dir, name), buf; }

static void write_file(const char *name, const void *data, size_t n, int mode)
{
	int fd = open(in(path, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, data, n) != (ssize_t)n || fchmod(fd, (mode_t)mode))
		printf("write %s: %s\n", name, strerror(errno));
	close(fd);
}
static void script(const char *name, const char *text) { write_file(name, text, strlen(text), 0755); }

static long try(const char *file)
{
	char *const argv[] = {"zero", "one", NULL}, *const envp[] = {NULL};
	return execve(in(path, file), argv, envp);
}

static void errors(void)
{
	static char big[200000], *many[] = {"x", big, NULL};
	char *const argv[] = {"x", NULL};
	memset(big, 'b', sizeof big - 1);
	R(execve("", argv, environ));
	R(execve("/no/such/file", argv, environ));
	R(execve(NULL, argv, environ));
	R(execve((char *)8, argv, environ));
	R(execve(self, (char **)8, environ));
	R(execve(self, (char *[]){"x", (char *)8, NULL}, environ));
	R(execve(self, argv, (char **)8));
	R(execve(self, many, environ));
	R(execve(self, argv, many));
	R(execve(dir, argv, environ));
	R(execve("/dev/null", argv, environ));
	R(execve("/proc/self/maps", argv, environ));
	snprintf(path2, sizeof path2, "%s/below", self);
	R(execve(path2, argv, environ));
	write_file("plain", "hello\n", 6, 0644);
	R(try("plain"));
	write_file("plain", "hello\n", 6, 0755);
	R(try("plain"));
	write_file("empty", "", 0, 0755);
	R(try("empty"));
	Elf64_Ehdr e = {.e_ident = ELFMAG, .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_phoff = sizeof e, .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1};
	e.e_ident[EI_CLASS] = ELFCLASS64, e.e_ident[EI_DATA] = ELFDATA2LSB, e.e_ident[EI_VERSION] = EV_CURRENT;
	write_file("cut", &e, sizeof e, 0755);
	R(try("cut"));
	e.e_machine = EM_AARCH64;
	write_file("other", &e, sizeof e, 0755);
	R(try("other"));
	e.e_machine = EM_X86_64, e.e_type = ET_REL;
	write_file("object", &e, sizeof e, 0755);
	R(try("object"));
	struct { Elf64_Ehdr e; Elf64_Phdr p, load; char interp[16]; } i = {
		.e = e, .p = {.p_type = PT_INTERP, .p_offset = sizeof e + 2 * sizeof i.p, .p_filesz = 11},
		.load = {.p_type = PT_LOAD, .p_filesz = 64, .p_memsz = 64, .p_flags = PF_R}, .interp = "/no/ld.so."};
	i.e.e_type = ET_DYN, i.e.e_phnum = 2;
	write_file("interp", &i, sizeof i, 0755);
	R(try("interp"));
	i.interp[10] = 'x';
	write_file("interp", &i, sizeof i, 0755);
	R(try("interp"));
	strcpy(i.interp, "/etc/hosts");
	i.p.p_filesz = 1;
	write_file("interp", &i, sizeof i, 0755);
	R(try("interp"));
	script("script", "#!/no/such/interpreter\n");
	R(try("script"));
	script("script", "#!\n");
	R(try("script"));
	script("script", "#!   \t \n");
	R(try("script"));
	memset(big, 'a', 300);
	memcpy(big, "#!/", 3);
	write_file("script", big, 300, 0755);
	R(try("script"));
	snprintf(path2, sizeof path2, "#!%s/loop\n", dir);
	script("loop", path2);
	R(try("loop"));
	snprintf(path2, sizeof path2, "#!%s/plain x\n", dir);
	script("script", path2);
	R(try("script"));
	symlink("around", in(path, "around"));
	R(try("around"));
}

/* The name of the thread: that of the file that was executed. */
static void comm(const char *want)
{
	char name[16];
	prctl(PR_GET_NAME, name);
	R(strncmp(name, want, 15));
}

/* Lines of /proc that tell of this program, with the temporary directory's name left out. */
static void tell(const char *file)
{
	char buf[PATH_MAX * 2];
	int fd = open(file, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof buf - 1);
	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < n; i++)
		buf[i] = buf[i] ? buf[i] : '|';
	buf[n < 0 ? 0 : n] = 0;
	char *d = strstr(buf, "/tmp/exec-");
	while (d) {
		memset(d + 10, '-', 6);
		d = strstr(d + 1, "/tmp/exec-");
	}
	printf("%s: %s\n", file, buf);
}

static void *wait_for_ever(void *arg)
{
	char c;
	int *p = arg;
	switch (p[2]) {
	case 0: return (void *)(long)read(p[0], &c, 1);
	case 1: return (void *)(long)pause();
	case 2: return (void *)(long)poll(&(struct pollfd){.fd = p[0], .events = POLLIN}, 1, -1);
	case 3: return (void *)(long)usleep(1000000000);
	case 4: for (;;) ;
	default: { static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER; pthread_mutex_lock(&m); pthread_mutex_lock(&m); return NULL; }
	}
}

static void handler(int sig) { (void)sig; }

/* The first program: makes whatever should go, or stay, and starts the next. */
static void first(const char *next)
{
	int p[6][3];
	pthread_t t;
	for (int i = 0; i < 6; i++) {
		if (pipe(p[i]))
			abort();
		p[i][2] = i;
		pthread_create(&t, NULL, wait_for_ever, p[i]);
	}
	usleep(10000);
	for (int i = 0; i < 6; i++)
		close(p[i][0]), close(p[i][1]);
	int keep = open("/dev/null", O_RDONLY), go = open("/dev/null", O_RDONLY | O_CLOEXEC);
	R(dup2(keep, 50));
	R(dup3(go, 51, O_CLOEXEC));
	close(keep), close(go);
	struct sigaction a = {.sa_handler = handler, .sa_flags = SA_RESTART};
	R(sigaction(SIGUSR1, &a, NULL));
	a.sa_handler = SIG_IGN;
	R(sigaction(SIGUSR2, &a, NULL));
	stack_t st = {.ss_sp = malloc(SIGSTKSZ), .ss_size = (size_t)SIGSTKSZ};
	R(sigaltstack(&st, NULL));
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGTERM), sigaddset(&s, SIGRTMIN);
	R(sigprocmask(SIG_BLOCK, &s, NULL));
	R(raise(SIGTERM));
	timer_t id;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	R(timer_create(CLOCK_MONOTONIC, &ev, &id));
	struct itimerval it = {.it_value = {1000, 0}};
	R(setitimer(ITIMER_REAL, &it, NULL));
	umask(027);
	R(chdir(dir));
	R(setrlimit(RLIMIT_NOFILE, &(struct rlimit){512, 1024}));
	OK(mmap((void *)0x8000000, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	memset((void *)0x8000000, 0x5a, 1 << 20);
	OK(mmap(NULL, 64 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	char *heap = malloc(8 << 20);
	memset(heap, 0x5a, 8 << 20);
	prctl(PR_SET_NAME, "renamed");
	unsigned mxcsr = 0x3f80;
	__asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
	char *const argv[] = {"next", "second", dir, "", "four words in one", NULL}, *const envp[] = {"A=1", "EMPTY=", "no equals", NULL};
	R(execve(next, argv, envp));
}

static void second(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		printf("argv %d %s\n", i, strncmp(argv[i], "/tmp/exec-", 10) ? argv[i] : strlen(argv[i]) > 16 ? argv[i] + 16 : "dir");
	for (char **e = environ; *e; e++)
		printf("env %s\n", *e);
	tell("/proc/self/cmdline");
	tell("/proc/self/environ");
	comm(strrchr(self, '/') + 1);
	char exe[PATH_MAX] = "";
	readlink("/proc/self/exe", exe, sizeof exe - 1);
	R(strcmp(exe, self));
	const char *fn = (char *)getauxval(AT_EXECFN);
	R(strcmp(fn, self));
	R(getauxval(AT_PHNUM) > 0);
	R(getauxval(AT_SECURE));
	R(syscall(SYS_gettid) == getpid());
	for (int fd = 40; fd < 60; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("open %d flags %d\n", fd, fcntl(fd, F_GETFD));
	struct sigaction a;
	for (int sig = 1; sig < 32; sig++)
		if (!sigaction(sig, NULL, &a) && a.sa_handler != SIG_DFL)
			printf("signal %d %s flags %x\n", sig, a.sa_handler == SIG_IGN ? "ignored" : "handled", a.sa_flags);
	stack_t st;
	R(sigaltstack(NULL, &st));
	R(st.ss_flags);
	sigset_t s;
	R(sigprocmask(SIG_SETMASK, NULL, &s));
	R(sigismember(&s, SIGTERM));
	R(sigismember(&s, SIGRTMIN));
	R(sigpending(&s));
	R(sigismember(&s, SIGTERM));
	struct itimerspec its;
	R(timer_gettime((timer_t)0, &its));
	struct itimerval it;
	R(getitimer(ITIMER_REAL, &it));
	R(it.it_value.tv_sec > 900);
	printf("umask %o\n", umask(0));
	char cwd[PATH_MAX];
	R(getcwd(cwd, sizeof cwd) ? strcmp(cwd, dir) : -1);
	struct rlimit l;
	R(getrlimit(RLIMIT_NOFILE, &l));
	R(l.rlim_cur);
	unsigned char vec;
	R(mincore((void *)0x8000000, 4096, &vec));
	unsigned mxcsr;
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	R(mxcsr);
	/* What memory comes anew is zero. */
	char *m = mmap(NULL, 32 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long sum = 0;
	for (int i = 0; i < 32 << 20; i += 512)
		sum += m[i];
	R(sum);
	char *b = sbrk(4 << 20);
	for (int i = 0; i < 4 << 20; i += 512)
		sum += b[i];
	R(sum);
	pthread_t t;
	int w[3] = {-1, -1, 0};
	R(pthread_create(&t, NULL, wait_for_ever, w));
	R(pthread_join(t, NULL));
}

static void links(void)
{
	symlink(self, in(path, "link"));
	snprintf(path2, sizeof path2, "#!%s\tscript   words of one argument \t\n", in(path, "link"));
	script("s1", path2);
	for (int i = 2; i <= 6; i++) {
		char name[8];
		snprintf(name, sizeof name, "s%d", i);
		snprintf(path2, sizeof path2, "#! %s/s%d -x\n", dir, i - 1);
		script(name, path2);
	}
}

int main(int argc, char **argv)
{
	readlink("/proc/self/exe", self, sizeof self - 1);
	if (argc > 2 && !strcmp(argv[1], "second")) {
		memcpy(dir, argv[2], sizeof dir);
		second(argc, argv);
		links();
		R(try("s6"));
		R(try("s5"));
		return 1;
	}
	if (argc > 2 && !strncmp(argv[1], "script", 6)) {
		for (int i = 1; i < argc; i++)
			printf("argv %d %s\n", i, strncmp(argv[i], "/tmp/exec-", 10) ? argv[i] : argv[i] + 16);
		comm("s5");
		const char *fn = (char *)getauxval(AT_EXECFN);
		printf("execfn %s\n", strncmp(fn, "/tmp/exec-", 10) ? "?" : fn + 16);
		return 7;
	}
	if (!mkdtemp(dir))
		return 2;
	seed = argc > 1 ? (uint64_t)atoi(argv[1]) : 1;
	errors();
	first(self);
	return 1;
}
