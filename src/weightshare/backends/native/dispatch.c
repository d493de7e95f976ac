/* Choose the instruction set at run time. This file is compiled for the oldest processor of the platform. */
#include <string.h>

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
API int32_t weightshare_version(void) { return 1; }

/* Return whether the library contains an instruction set and the processor can run it. */
API int32_t weightshare_supports(const char *isa) {
    if (!strcmp(isa, "portable")) return 1;
#if defined(HAS_AVX2) || defined(HAS_AVX512)
    __builtin_cpu_init();
#endif
#ifdef HAS_AVX2
    if (!strcmp(isa, "avx2"))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#ifdef HAS_AVX512
    if (!strcmp(isa, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("fma");
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
