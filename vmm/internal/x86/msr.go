package x86

// Model-specific registers that more than one package names, Intel SDM vol. 4 and
// AMD APM vol. 2, appendix A.
const (
	MSRTSC          = 0x10
	MSRKVMFirst     = 0x4b564d00 // KVM's own, Documentation/virt/kvm/x86/msr.rst
	MSRExtended     = 0xc0000000 // where the second range begins
	MSRAMDFirst     = 0xc0010000 // where AMD's begins
	MSRAPICBase     = 0x1b
	MSREFER         = 0xc0000080
	MSRSTAR         = 0xc0000081
	MSRLSTAR        = 0xc0000082
	MSRFMASK        = 0xc0000084
	MSRFSBase       = 0xc0000100
	MSRGSBase       = 0xc0000101
	MSRKernelGSBase = 0xc0000102
)
