/*
 * proctext.c: the rows of /proc and /sys and what their files say. A file
 * that shows time or randomness counts as an outside input, like the call
 * that would have asked for it.
 */
#include "proc.h"

enum { HZ = 100 }; /* USER_HZ, time(7) */

static u64 ticks(void)
{
	purity_clock();
	return mono_ns() / (NS_PER_SEC / HZ);
}

static u64 kib(u64 pages) { return pages * (PAGE_SIZE / 1024); }
static u64 pages_used(void) { return ram_pages_total() - ram_pages_free(); }

static const char *comm(u32 tid)
{
	const char *name = thread_name(tid ? tid : KERNEL_PID);
	return name ? name : "";
}

static void text_bytes(struct text *t, const char *p, u64 n)
{
	if (t->len < t->cap)
		memcpy(t->buf + t->len, p, MIN(n, t->cap - t->len));
	t->len += n;
}

/* ---- the process --------------------------------------------------------------------- */

static void show_status(struct text *t, u32 tid)
{
	u64 used = kib(pages_used());
	text_add(t, "Name:\t%s\nUmask:\t%04o\nState:\tR (running)\nTgid:\t%u\nNgid:\t0\nPid:\t%u\nPPid:\t0\nTracerPid:\t0\n",
		 comm(tid), file_umask, (u32)KERNEL_PID, tid ? tid : KERNEL_PID);
	text_add(t, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nFDSize:\t%u\nGroups:\t", cred.uid, cred.euid, cred.suid, cred.fsuid,
		 cred.gid, cred.egid, cred.sgid, cred.fsgid, fd_table_size());
	const u32 *groups;
	for (u32 i = 0, n = cred_groups(&groups); i < n; i++)
		text_add(t, "%u ", groups[i]);
	text_add(t, "\nNoNewPrivs:\t%u\n", (u32)cred_no_new_privs);
	text_add(t, "VmPeak:\t%8lu kB\nVmSize:\t%8lu kB\nVmLck:\t       0 kB\nVmHWM:\t%8lu kB\nVmRSS:\t%8lu kB\nVmSwap:\t       0 kB\n",
		 used, used, used, used);
	text_add(t, "Threads:\t%u\nSeccomp:\t0\nCpus_allowed:\t1\nCpus_allowed_list:\t0\nMems_allowed_list:\t0\n",
		 thread_tids(NULL, 0));
}

/* proc(5): fields 1 to 52. */
static void show_stat(struct text *t, u32 tid)
{
	text_add(t, "%u (%s) R 0 %u %u 0 -1 4194304 0 0 0 0 %lu 0 0 0 20 0 %u 0 0 %lu %lu 18446744073709551615 ",
		 tid ? tid : KERNEL_PID, comm(tid), (u32)KERNEL_PID, (u32)KERNEL_PID, ticks(), thread_tids(NULL, 0),
		 pages_used() * PAGE_SIZE, pages_used());
	text_add(t, "0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
}

static void show_statm(struct text *t, u32 tid)
{
	(void)tid;
	text_add(t, "%lu %lu 0 0 0 %lu 0\n", pages_used(), pages_used(), pages_used());
}

static void show_comm(struct text *t, u32 tid) { text_add(t, "%s\n", comm(tid)); }

static void show_maps(struct text *t, u32 tid)
{
	(void)tid;
	t->len += (u64)mm_maps(t->buf + t->len, t->cap - t->len, false);
}

static void show_smaps(struct text *t, u32 tid)
{
	(void)tid;
	t->len += (u64)mm_maps(t->buf + t->len, t->cap - t->len, true);
}

/* A column of the given width; what is wider is followed by one space. */
static void column(struct text *t, const char *s, u64 width)
{
	u64 len = strlen(s);
	text_add(t, "%s ", s);
	for (; len < width; len++)
		text_add(t, " ");
}

static void show_limits(struct text *t, u32 tid)
{
	static const struct { const char *name, *unit; } rows[] = { /* by RLIMIT_* */
		{"Max cpu time", "seconds"}, {"Max file size", "bytes"}, {"Max data size", "bytes"}, {"Max stack size", "bytes"},
		{"Max core file size", "bytes"}, {"Max resident set", "bytes"}, {"Max processes", "processes"},
		{"Max open files", "files"}, {"Max locked memory", "bytes"}, {"Max address space", "bytes"}, {"Max file locks", "locks"},
		{"Max pending signals", "signals"}, {"Max msgqueue size", "bytes"}, {"Max nice priority", ""},
		{"Max realtime priority", ""}, {"Max realtime timeout", "us"},
	};
	(void)tid;
	text_add(t, "Limit                     Soft Limit           Hard Limit           Units     \n");
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		u64 v[2];
		char number[24];
		limit_get((int)i, v);
		column(t, rows[i].name, 25);
		for (int k = 0; k < 2; k++) {
			ksnprintf(number, sizeof number, "%lu", v[k]);
			column(t, v[k] == ~0ull ? "unlimited" : number, 20);
		}
		if (*rows[i].unit)
			column(t, rows[i].unit, 9);
		text_add(t, "\n");
	}
}

/* The bytes of `count` strings after `skip` others among the boot arguments. */
static void show_args(struct text *t, u32 skip, u32 count)
{
	const char *p = boot_args, *end = boot_args + ABI_ARGS_SIZE, *from = p;
	for (u32 i = 0; i < skip + count && p < end; i++) {
		if (i == skip)
			from = p;
		p += strnlen(p, (u64)(end - p)) + 1;
	}
	if (count && p > from)
		text_bytes(t, from, (u64)(MIN(p, end) - from));
}

static bool args_set; /* else they are what the monitor booted */
static u32 arg_count, env_count;

void proc_set_args(u32 argc, u32 envc)
{
	args_set = true;
	arg_count = argc;
	env_count = envc;
}

static void show_cmdline(struct text *t, u32 tid)
{
	(void)tid;
	show_args(t, 0, args_set ? arg_count : boot_info->argc);
}

static void show_environ(struct text *t, u32 tid)
{
	(void)tid;
	show_args(t, args_set ? arg_count : boot_info->argc, args_set ? env_count : boot_info->envc);
}

static void show_auxv(struct text *t, u32 tid)
{
	(void)tid;
	u64 n = 0;
	while (exec_auxv[n])
		n += 2;
	text_bytes(t, (const char *)exec_auxv, (n + 2) * sizeof *exec_auxv);
}

static void show_cgroup(struct text *t, u32 arg) { (void)arg, text_add(t, "0::/\n"); }
static void show_zero(struct text *t, u32 arg) { (void)arg, text_add(t, "0\n"); }

static const struct {
	u32 id, dev;
	const char *at, *type;
} mounts[] = {
	{1, DEV_ROOT, "/", "overlay"}, {2, DEV_PROC, "/proc", "proc"},     {3, DEV_SYS, "/sys", "sysfs"},
	{4, DEV_DEV, "/dev", "tmpfs"}, {5, DEV_SHM, "/dev/shm", "tmpfs"},
};

static void show_mountinfo(struct text *t, u32 arg)
{
	(void)arg;
	for (u32 i = 0; i < ARRAY_SIZE(mounts); i++)
		text_add(t, "%u %u 0:%u / %s rw - %s %s rw\n", mounts[i].id, i == 0 ? 0u : i == 4 ? 4u : 1u, mounts[i].dev,
			 mounts[i].at, mounts[i].type, mounts[i].type);
}

static void show_mounts(struct text *t, u32 arg)
{
	(void)arg;
	for (u32 i = 0; i < ARRAY_SIZE(mounts); i++)
		text_add(t, "%s %s %s rw 0 0\n", mounts[i].type, mounts[i].at, mounts[i].type);
}

/* ---- the system ------------------------------------------------------------------------- */

static void cpuid(u32 leaf, u32 r[4]) /* eax, ebx, ecx, edx */
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}

/* Names as Linux's arch/x86/include/asm/cpufeatures.h gives them. */
static const struct {
	u8 leaf, reg, bit;
	const char *name;
} features[] = {
	{1, 3, 0, "fpu"},     {1, 3, 4, "tsc"},      {1, 3, 8, "cx8"},     {1, 3, 15, "cmov"},   {1, 3, 23, "mmx"},
	{1, 3, 24, "fxsr"},   {1, 3, 25, "sse"},     {1, 3, 26, "sse2"},   {1, 2, 0, "pni"},     {1, 2, 1, "pclmulqdq"},
	{1, 2, 9, "ssse3"},   {1, 2, 12, "fma"},     {1, 2, 13, "cx16"},   {1, 2, 19, "sse4_1"}, {1, 2, 20, "sse4_2"},
	{1, 2, 22, "movbe"},  {1, 2, 23, "popcnt"},  {1, 2, 25, "aes"},    {1, 2, 26, "xsave"},  {1, 2, 28, "avx"},
	{1, 2, 29, "f16c"},   {1, 2, 30, "rdrand"},  {7, 1, 3, "bmi1"},    {7, 1, 5, "avx2"},    {7, 1, 8, "bmi2"},
	{7, 1, 16, "avx512f"}, {7, 1, 17, "avx512dq"}, {7, 1, 18, "rdseed"}, {7, 1, 19, "adx"},   {7, 1, 29, "sha_ni"},
	{7, 1, 30, "avx512bw"}, {7, 1, 31, "avx512vl"},
};

static void show_cpuinfo(struct text *t, u32 arg)
{
	(void)arg;
	u32 max[4], one[4], seven[4] = {0}, ext[4], brand[13] = {0};
	cpuid(0, max);
	cpuid(1, one);
	if (max[0] >= 7)
		cpuid(7, seven);
	cpuid(0x80000000, ext);
	for (u32 i = 0; i < 3 && ext[0] >= 0x80000004; i++)
		cpuid(0x80000002 + i, brand + 4 * i);
	u32 vendor[4] = {max[1], max[3], max[2], 0};
	u32 family = one[0] >> 8 & 15, model = (one[0] >> 4 & 15) | (one[0] >> 12 & 0xf0);
	if (family == 15)
		family += one[0] >> 20 & 0xff;
	u64 mult = identity->tsc_mult, khz = mult ? (1000000ull << 32) / mult : 0;
	text_add(t, "processor\t: 0\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\nmodel name\t: %s\nstepping\t: %u\n",
		 (const char *)vendor, family, model, brand[0] ? (const char *)brand : "unknown", one[0] & 15);
	text_add(t, "cpu MHz\t\t: %lu.%03lu\nphysical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\nflags\t\t:", khz / 1000,
		 khz % 1000);
	for (u32 i = 0; i < ARRAY_SIZE(features); i++)
		if ((features[i].leaf == 1 ? one : seven)[features[i].reg] >> features[i].bit & 1)
			text_add(t, " %s", features[i].name);
	text_add(t, "\nbogomips\t: %lu.%02lu\n\n", khz / 500, khz / 5 % 100);
}

static void show_meminfo(struct text *t, u32 arg)
{
	(void)arg;
	static const char *const zeros[] = {"Buffers:", "Cached:", "SwapCached:", "Active:", "Inactive:", "Shmem:", "Slab:", "SwapTotal:", "SwapFree:", "Dirty:"};
	text_add(t, "%-16s%8lu kB\n%-16s%8lu kB\n%-16s%8lu kB\n", "MemTotal:", kib(ram_pages_total()), "MemFree:",
		 kib(ram_pages_free()), "MemAvailable:", kib(ram_pages_free()));
	for (u32 i = 0; i < ARRAY_SIZE(zeros); i++)
		text_add(t, "%-16s%8lu kB\n", zeros[i], 0ul);
}

static void show_system_stat(struct text *t, u32 arg)
{
	(void)arg;
	u64 up = ticks();
	text_add(t, "cpu  %lu 0 0 0 0 0 0 0 0 0\ncpu0 %lu 0 0 0 0 0 0 0 0 0\nintr 0\nctxt 0\n", up, up);
	text_add(t, "btime %lu\nprocesses %u\nprocs_running 1\nprocs_blocked 0\n", (u64)((wall_ns() - mono_ns()) / NS_PER_SEC),
		 thread_tids(NULL, 0));
}

static void show_version(struct text *t, u32 arg)
{
	(void)arg;
	text_add(t, "Linux version %s (seuss) %s\n", KERNEL_RELEASE, KERNEL_VERSION);
}

static void show_uptime(struct text *t, u32 arg)
{
	(void)arg;
	u64 up = ticks();
	text_add(t, "%lu.%02lu 0.00\n", up / HZ, up % HZ);
}

static void show_loadavg(struct text *t, u32 arg)
{
	(void)arg;
	text_add(t, "0.00 0.00 0.00 1/%u %u\n", thread_tids(NULL, 0), (u32)KERNEL_PID);
}

static void show_filesystems(struct text *t, u32 arg)
{
	(void)arg, text_add(t, "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\toverlay\n");
}

static void show_empty_line(struct text *t, u32 arg) { (void)arg, text_add(t, "\n"); }

static void show_uuid_bytes(struct text *t, u8 *b)
{
	b[6] = (u8)(0x40 | (b[6] & 0x0f)); /* RFC 4122: version 4 */
	b[8] = (u8)(0x80 | (b[8] & 0x3f));
	for (u32 i = 0; i < 16; i++)
		text_add(t, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
	text_add(t, "\n");
}

static void show_uuid(struct text *t, u32 arg)
{
	(void)arg;
	u8 b[16];
	purity_entropy();
	random_bytes(b, sizeof b);
	show_uuid_bytes(t, b);
}

/* Constant in one instance, different in every other: drawn once a generation. */
static void show_boot_id(struct text *t, u32 arg)
{
	(void)arg;
	static u64 generation;
	static u8 id[16];
	purity_entropy();
	if (generation != identity->generation) {
		generation = identity->generation;
		random_bytes(id, sizeof id);
	}
	show_uuid_bytes(t, id);
}

#define CONSTANT(name, value)                      \
	static void name(struct text *t, u32 arg)  \
	{                                          \
		(void)arg;                         \
		text_add(t, "%s\n", value);        \
	}
CONSTANT(show_osrelease, KERNEL_RELEASE)
CONSTANT(show_os_version, KERNEL_VERSION)
CONSTANT(show_ostype, "Linux")
CONSTANT(show_hostname, "seuss")
CONSTANT(show_pid_max, "32768")
CONSTANT(show_threads_max, "1024")
CONSTANT(show_ngroups_max, "65536")
CONSTANT(show_cap_last_cap, "40")
CONSTANT(show_entropy_avail, "256")
CONSTANT(show_max_map_count, "65530")
CONSTANT(show_file_max, "4096")
CONSTANT(show_pipe_max, "1048576")
CONSTANT(show_somaxconn, "4096")
CONSTANT(show_thp, "always madvise [never]")
CONSTANT(show_thp_size, "2097152")

/* ---- the table ------------------------------------------------------------------------------ */

enum { DIR = S_IFDIR | 0555, LNK = S_IFLNK | 0777, REG = S_IFREG | 0444 };

const struct proc_row proc_rows[] = {
	[P_PROC] = {"proc", P_PROC, DIR, NULL},
	[P_SYS] = {"sys", P_SYS, DIR, NULL},
	[P_SELF] = {"self", P_PROC, LNK, NULL},
	[P_THREAD_SELF] = {"thread-self", P_PROC, LNK, NULL},
	[P_PID] = {"1", P_PROC, DIR, NULL},
	[P_TASKS] = {"task", P_PID, DIR, NULL},
	[P_TASK] = {"", P_TASKS, DIR, NULL},
	[P_FDS] = {"fd", P_PID, S_IFDIR | 0500, NULL},
	[P_FD] = {"", P_FDS, LNK, NULL},
	[P_EXE] = {"exe", P_PID, LNK, NULL},
	[P_CWD] = {"cwd", P_PID, LNK, NULL},
	[P_ROOT] = {"root", P_PID, LNK, NULL},
	[P_MOUNTS] = {"mounts", P_PROC, LNK, NULL},
	[P_PROC_SYS] = {"sys", P_PROC, DIR, NULL},
	[P_PROC_SYS_KERNEL] = {"kernel", P_PROC_SYS, DIR, NULL},
	[P_PROC_SYS_RANDOM] = {"random", P_PROC_SYS_KERNEL, DIR, NULL},
	[P_PROC_SYS_VM] = {"vm", P_PROC_SYS, DIR, NULL},
	[P_PROC_SYS_FS] = {"fs", P_PROC_SYS, DIR, NULL},
	[P_PROC_SYS_NET] = {"net", P_PROC_SYS, DIR, NULL},
	[P_PROC_SYS_CORE] = {"core", P_PROC_SYS_NET, DIR, NULL},
	[P_SYS_DEVICES] = {"devices", P_SYS, DIR, NULL},
	[P_SYS_SYSTEM] = {"system", P_SYS_DEVICES, DIR, NULL},
	[P_SYS_CPU] = {"cpu", P_SYS_SYSTEM, DIR, NULL},
	[P_SYS_KERNEL] = {"kernel", P_SYS, DIR, NULL},
	[P_SYS_MM] = {"mm", P_SYS_KERNEL, DIR, NULL},
	[P_SYS_THP] = {"transparent_hugepage", P_SYS_MM, DIR, NULL},
	[P_SYS_FS] = {"fs", P_SYS, DIR, NULL},
	[P_FIRST] = {"cgroup", P_SYS_FS, DIR, NULL},

	{"status", P_PID, REG, show_status},
	{"stat", P_PID, REG, show_stat},
	{"statm", P_PID, REG, show_statm},
	{"comm", P_PID, REG, show_comm},
	{"maps", P_PID, REG, show_maps},
	{"smaps", P_PID, REG, show_smaps},
	{"limits", P_PID, REG, show_limits},
	{"cmdline", P_PID, REG, show_cmdline},
	{"environ", P_PID, REG, show_environ},
	{"auxv", P_PID, REG, show_auxv},
	{"cgroup", P_PID, REG, show_cgroup},
	{"mountinfo", P_PID, REG, show_mountinfo},
	{"mounts", P_PID, REG, show_mounts},
	{"oom_score_adj", P_PID, REG, show_zero},

	{"cpuinfo", P_PROC, REG, show_cpuinfo},
	{"meminfo", P_PROC, REG, show_meminfo},
	{"stat", P_PROC, REG, show_system_stat},
	{"version", P_PROC, REG, show_version},
	{"uptime", P_PROC, REG, show_uptime},
	{"loadavg", P_PROC, REG, show_loadavg},
	{"filesystems", P_PROC, REG, show_filesystems},
	{"cmdline", P_PROC, REG, show_empty_line},

	{"osrelease", P_PROC_SYS_KERNEL, REG, show_osrelease},
	{"ostype", P_PROC_SYS_KERNEL, REG, show_ostype},
	{"version", P_PROC_SYS_KERNEL, REG, show_os_version},
	{"hostname", P_PROC_SYS_KERNEL, REG, show_hostname},
	{"pid_max", P_PROC_SYS_KERNEL, REG, show_pid_max},
	{"threads-max", P_PROC_SYS_KERNEL, REG, show_threads_max},
	{"ngroups_max", P_PROC_SYS_KERNEL, REG, show_ngroups_max},
	{"cap_last_cap", P_PROC_SYS_KERNEL, REG, show_cap_last_cap},
	{"boot_id", P_PROC_SYS_RANDOM, REG, show_boot_id},
	{"uuid", P_PROC_SYS_RANDOM, REG, show_uuid},
	{"entropy_avail", P_PROC_SYS_RANDOM, REG, show_entropy_avail},
	{"poolsize", P_PROC_SYS_RANDOM, REG, show_entropy_avail},
	{"overcommit_memory", P_PROC_SYS_VM, REG, show_zero},
	{"max_map_count", P_PROC_SYS_VM, REG, show_max_map_count},
	{"file-max", P_PROC_SYS_FS, REG, show_file_max},
	{"nr_open", P_PROC_SYS_FS, REG, show_file_max},
	{"pipe-max-size", P_PROC_SYS_FS, REG, show_pipe_max},
	{"somaxconn", P_PROC_SYS_CORE, REG, show_somaxconn},

	{"online", P_SYS_CPU, REG, show_zero},
	{"possible", P_SYS_CPU, REG, show_zero},
	{"present", P_SYS_CPU, REG, show_zero},
	{"cpu0", P_SYS_CPU, DIR, NULL},
	{"enabled", P_SYS_THP, REG, show_thp},
	{"hpage_pmd_size", P_SYS_THP, REG, show_thp_size},
};
const u32 proc_row_count = ARRAY_SIZE(proc_rows);
