package platform

import (
	"fmt"
	"slices"
	"strings"
)

// CPUFeatures identifies what a processor offers to programs. A snapshot
// embeds such choices (which memcpy a C library picked), so it may only be
// restored where at least the same features exist.
type CPUFeatures struct {
	Vendor string   // CPUID leaf 0
	Model  string   // family-model-stepping, CPUID leaf 1, hexadecimal
	Names  []string // features by their usual names, sorted
	// XSaveBytes is the size of the extended state area that the guest uses.
	XSaveBytes uint32
}

// String returns one line that two equal processors share.
func (f CPUFeatures) String() string {
	return fmt.Sprintf("%s %s xsave=%d %s", f.Vendor, f.Model, f.XSaveBytes, strings.Join(f.Names, ","))
}

// Missing returns the names in f that host lacks, nil if there are none. A
// different size of the extended state counts as missing.
func (f CPUFeatures) Missing(host CPUFeatures) []string {
	missing := host.Lacks(f.Names)
	if f.XSaveBytes != host.XSaveBytes {
		missing = append(missing, fmt.Sprintf("xsave=%d (host: %d)", f.XSaveBytes, host.XSaveBytes))
	}
	return missing
}

// Lacks returns which of some features f has not: code that was loaded where there were
// all of them must not run here then.
func (f CPUFeatures) Lacks(names []string) (missing []string) {
	for _, n := range names {
		if _, ok := slices.BinarySearch(f.Names, n); !ok {
			missing = append(missing, n)
		}
	}
	return missing
}

// Registers of a CPUID leaf.
const (
	regEAX = iota
	regEBX
	regECX
	regEDX
)

// featureBits lists the features that programs choose code by: those that the
// C library's ifuncs, Go, V8 and OpenSSL test. Bits as in Intel SDM vol. 2,
// CPUID, and AMD APM vol. 3, appendix E.
var featureBits = []struct {
	leaf, sub uint32
	reg, bit  uint8
	name      string
}{
	{1, 0, regEDX, 8, "cx8"}, {1, 0, regEDX, 15, "cmov"}, {1, 0, regEDX, 23, "mmx"}, {1, 0, regEDX, 24, "fxsr"},
	{1, 0, regEDX, 25, "sse"}, {1, 0, regEDX, 26, "sse2"},
	{1, 0, regECX, 0, "sse3"}, {1, 0, regECX, 1, "pclmulqdq"}, {1, 0, regECX, 9, "ssse3"}, {1, 0, regECX, 12, "fma"},
	{1, 0, regECX, 13, "cx16"}, {1, 0, regECX, 19, "sse4_1"}, {1, 0, regECX, 20, "sse4_2"}, {1, 0, regECX, 22, "movbe"},
	{1, 0, regECX, 23, "popcnt"}, {1, 0, regECX, 25, "aes"}, {1, 0, regECX, 26, "xsave"},
	{1, 0, regECX, 28, "avx"}, {1, 0, regECX, 29, "f16c"}, {1, 0, regECX, 30, "rdrand"},
	{7, 0, regEBX, 0, "fsgsbase"}, {7, 0, regEBX, 3, "bmi1"}, {7, 0, regEBX, 4, "hle"}, {7, 0, regEBX, 5, "avx2"},
	{7, 0, regEBX, 8, "bmi2"}, {7, 0, regEBX, 9, "erms"}, {7, 0, regEBX, 11, "rtm"}, {7, 0, regEBX, 16, "avx512f"},
	{7, 0, regEBX, 17, "avx512dq"}, {7, 0, regEBX, 18, "rdseed"}, {7, 0, regEBX, 19, "adx"}, {7, 0, regEBX, 21, "avx512ifma"},
	{7, 0, regEBX, 23, "clflushopt"}, {7, 0, regEBX, 24, "clwb"}, {7, 0, regEBX, 28, "avx512cd"}, {7, 0, regEBX, 29, "sha_ni"},
	{7, 0, regEBX, 30, "avx512bw"}, {7, 0, regEBX, 31, "avx512vl"},
	{7, 0, regECX, 1, "avx512vbmi"}, {7, 0, regECX, 3, "pku"}, {7, 0, regECX, 6, "avx512_vbmi2"}, {7, 0, regECX, 8, "gfni"},
	{7, 0, regECX, 9, "vaes"}, {7, 0, regECX, 10, "vpclmulqdq"}, {7, 0, regECX, 11, "avx512_vnni"},
	{7, 0, regECX, 12, "avx512_bitalg"}, {7, 0, regECX, 14, "avx512_vpopcntdq"}, {7, 0, regECX, 22, "rdpid"},
	{7, 0, regECX, 25, "cldemote"}, {7, 0, regECX, 27, "movdiri"}, {7, 0, regECX, 28, "movdir64b"},
	{7, 0, regEDX, 4, "fsrm"}, {7, 0, regEDX, 8, "avx512_vp2intersect"}, {7, 0, regEDX, 14, "serialize"},
	{7, 0, regEDX, 22, "amx_bf16"}, {7, 0, regEDX, 23, "avx512_fp16"}, {7, 0, regEDX, 24, "amx_tile"}, {7, 0, regEDX, 25, "amx_int8"},
	{7, 1, regEAX, 4, "avx_vnni"}, {7, 1, regEAX, 5, "avx512_bf16"}, {7, 1, regEAX, 10, "fzrm"}, {7, 1, regEAX, 11, "fsrs"},
	{7, 1, regEAX, 12, "fsrc"},
	{0xd, 1, regEAX, 0, "xsaveopt"}, {0xd, 1, regEAX, 1, "xsavec"}, {0xd, 1, regEAX, 2, "xgetbv1"},
	{0x80000001, 0, regECX, 0, "lahf_lm"}, {0x80000001, 0, regECX, 5, "lzcnt"}, {0x80000001, 0, regECX, 6, "sse4a"},
	{0x80000001, 0, regECX, 11, "xop"}, {0x80000001, 0, regECX, 16, "fma4"}, {0x80000001, 0, regECX, 21, "tbm"},
	{0x80000001, 0, regEDX, 11, "syscall"}, {0x80000001, 0, regEDX, 27, "rdtscp"},
}

// XCR0 components that features by prefix need (Intel SDM vol. 1, 13.1): a
// feature whose registers are not enabled cannot be used.
var featureState = []struct {
	prefix string
	xcr0   uint64
}{
	{"avx512", 0xe6}, {"avx", 0x6}, {"vaes", 0x6}, {"vpclmulqdq", 0x6}, {"fma", 0x6}, {"f16c", 0x6}, {"xop", 0x6},
	{"amx", 0x60000}, {"pku", 0x200},
}

func enabledIn(name string, xcr0 uint64) bool {
	for _, f := range featureState {
		if strings.HasPrefix(name, f.prefix) {
			return xcr0&f.xcr0 == f.xcr0
		}
	}
	return true
}

// ReadCPUFeatures names the features that a CPUID function shows and that can
// be used with the given XCR0.
func ReadCPUFeatures(cpuid func(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32), xcr0 uint64, xsaveBytes uint32) CPUFeatures {
	f := CPUFeatures{XSaveBytes: xsaveBytes}
	_, b, c, d := cpuid(0, 0)
	var vendor []byte
	for _, r := range []uint32{b, d, c} {
		vendor = append(vendor, byte(r), byte(r>>8), byte(r>>16), byte(r>>24))
	}
	f.Vendor = strings.TrimRight(string(vendor), "\x00")
	a, _, _, _ := cpuid(1, 0)
	// Extended family and model, Intel SDM vol. 2, CPUID, figure 3-6.
	family, model := a>>8&0xf, a>>4&0xf
	if family == 6 || family == 15 {
		model |= a >> 12 & 0xf0
	}
	if family == 15 {
		family += a >> 20 & 0xff
	}
	f.Model = fmt.Sprintf("%x-%x-%x", family, model, a&0xf)
	for _, bit := range featureBits {
		var r [4]uint32
		r[regEAX], r[regEBX], r[regECX], r[regEDX] = cpuid(bit.leaf, bit.sub)
		if r[bit.reg]>>bit.bit&1 != 0 && enabledIn(bit.name, xcr0) {
			f.Names = append(f.Names, bit.name)
		}
	}
	slices.Sort(f.Names)
	return f
}
