// Makes a program believe that it runs on an older x86 processor: Linux, LD_PRELOAD.
//
// The kernel lets a thread ask that the instruction CPUID raises a signal (arch_prctl, ARCH_SET_CPUID; threads
// and programs that it starts inherit it). The handler answers with the real leaves, less the instruction sets
// that M3E_PROCESSOR does not name. Code runs at full speed; the ways not taken are the ones that the older
// processor lacks. Caches and clock stay those of this machine: compare ratios, not times.
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

// From the kernel's asm/prctl.h, which not every system has installed.
#define SET_CPUID 0x1012

// Bits of leaf 7 (Intel's manual, volume 2A, CPUID).
enum {
  // subleaf 0, ebx
  avx512_ebx = 1u << 16 | 1u << 17 | 1u << 21 | 1u << 28 | 1u << 30 | 1u << 31,
  // subleaf 0, ecx: VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ
  avx512_ecx = 1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14,
  // subleaf 0, edx: VP2INTERSECT, AMX-BF16, FP16, AMX-TILE, AMX-INT8
  newest_edx = 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25,
  // subleaf 1, eax
  avx_vnni = 1u << 4,
  avx512_bf16 = 1u << 5,
  amx_fp16 = 1u << 21,
};

static int has_avx512, has_avx_vnni;

static void let_cpuid_run(long yes) { syscall(SYS_arch_prctl, SET_CPUID, yes); }

static void answer(int signal_number, siginfo_t* info, void* context) {
  (void)info;
  greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
  const unsigned char* instruction = (const unsigned char*)registers[REG_RIP];
  if (instruction[0] != 0x0f || instruction[1] != 0xa2) {  // a real fault, not CPUID
    signal(signal_number, SIG_DFL);
    return;
  }
  const unsigned leaf = (unsigned)registers[REG_RAX], subleaf = (unsigned)registers[REG_RCX];
  unsigned a = leaf, b, c = subleaf, d;
  let_cpuid_run(1);
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  let_cpuid_run(0);
  if (leaf == 7 && subleaf == 0) {
    d &= ~newest_edx;
    if (!has_avx512) b &= ~avx512_ebx, c &= ~avx512_ecx;
  }
  if (leaf == 7 && subleaf == 1) {
    a &= ~(avx512_bf16 | amx_fp16);
    if (!has_avx_vnni) a &= ~avx_vnni;
  }
  registers[REG_RAX] = a;
  registers[REG_RBX] = b;
  registers[REG_RCX] = c;
  registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
  const char* processor = getenv("M3E_PROCESSOR");
  if (!processor) return;
  has_avx512 = strcmp(processor, "avx512vnni") == 0;
  has_avx_vnni = has_avx512 || strcmp(processor, "avxvnni") == 0;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = answer;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, NULL);
  let_cpuid_run(0);
}
