/* Choose the instruction set at run time. This file is compiled for the oldest processor of the platform. */
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "layer.h"

#define DECLARE(isa)                                                      \
    int64_t weightshare_count_memory_##isa(enum Map, const Layer *); \
    int32_t weightshare_compute_##isa(enum Map, const Layer *, ParallelFor);
DECLARE(portable)
#ifdef HAS_AVX2
DECLARE(avx2)
#endif
#ifdef HAS_AVX512
DECLARE(avx512)
#endif

#define API __attribute__((visibility("default")))

static CountMemory count_memory;
static Compute compute;

/* Version of `Layer` and of the functions below. */
API int32_t weightshare_version(void) { return 2; }

#if defined(__x86_64__)
/* Return 2 if processor and system support AVX-512 (F, DQ, BW, VL), 1 if AVX2, FMA and F16C, else 0. This asks
 * the processor directly, because not every compiler initializes __builtin_cpu_supports in shared libraries. */
static int find_level(void) {
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    const unsigned basic = 1u << 12 | 1u << 27 | 1u << 28 | 1u << 29; /* FMA, OSXSAVE, AVX, F16C */
    if ((c & basic) != basic) return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0)); /* registers that the system saves */
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (low & 0x6) != 0x6 || !(b >> 5 & 1)) return 0;
    const unsigned wide = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    return (b & wide) == wide && (low & 0xe6) == 0xe6 ? 2 : 1;
}
#endif

/* Return whether the library contains an instruction set and the processor can run it. */
API int32_t weightshare_supports(const char *isa) {
    if (!strcmp(isa, "portable")) return 1;
#ifdef HAS_AVX2
    if (!strcmp(isa, "avx2")) return find_level() >= 1;
#endif
#ifdef HAS_AVX512
    if (!strcmp(isa, "avx512")) return find_level() >= 2;
#endif
    return 0;
}

/* Select an instruction set; return whether it is supported. */
API int32_t weightshare_select(const char *isa) {
    if (!weightshare_supports(isa)) return 0;
    count_memory = weightshare_count_memory_portable, compute = weightshare_compute_portable;
#ifdef HAS_AVX2
    if (!strcmp(isa, "avx2")) count_memory = weightshare_count_memory_avx2, compute = weightshare_compute_avx2;
#endif
#ifdef HAS_AVX512
    if (!strcmp(isa, "avx512"))
        count_memory = weightshare_count_memory_avx512, compute = weightshare_compute_avx512;
#endif
    return 1;
}

/* Return the bytes of working memory that a map needs. */
API int64_t weightshare_count_memory(int32_t map, const Layer *layer) { return count_memory(map, layer); }

/* Compute a map of a layer whose addresses are given separately; return 0, or the error of `parallel_for`. */
API int32_t weightshare_compute(int32_t map, const Layer *sizes, const void *first, const void *second,
                                void *result, void *memory, ParallelFor parallel_for) {
    Layer layer = *sizes;
    layer.first = first, layer.second = second, layer.result = result, layer.memory = memory;
    return compute(map, &layer, parallel_for);
}
