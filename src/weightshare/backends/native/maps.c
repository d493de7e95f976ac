/* The maps for one instruction set. The build compiles this file once per instruction set, with
 * ISA: suffix of the functions; VECTOR_BYTES: width of a vector; ACCUMULATORS: vectors that hold sums. */
#include <stdatomic.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "layer.h"

#ifndef ISA
#define ISA portable
#define VECTOR_BYTES 16
#define ACCUMULATORS 12
#endif
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define INLINE static inline __attribute__((always_inline))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Write a vector to an aligned address without loading its cache line; FENCE orders such writes. */
#if defined(__SSE2__)
#if VECTOR_BYTES == 64
#define STREAM(to, vector) _mm512_stream_si512((void *)(to), (__m512i)(vector))
#elif VECTOR_BYTES == 32
#define STREAM(to, vector) _mm256_stream_si256((void *)(to), (__m256i)(vector))
#else
#define STREAM(to, vector) _mm_stream_si128((void *)(to), (__m128i)(vector))
#endif
#define FENCE() _mm_sfence()
#else
#define STREAM(to, vector) memcpy(to, &(vector), VECTOR_BYTES)
#define FENCE() (void)0
#endif

/* Bytes of the weights, sums or gradients that a block keeps in cache. */
enum { WEIGHT_BLOCK = 192 << 10, SUM_BLOCK = 256 << 10, TRANSPOSED_BLOCK = 64 << 10 };
/* Largest products of input and output channels per group for which vectors run along a line: in any line, and
 * in long ones. */
enum { FEW_PRODUCTS = 8, MORE_PRODUCTS = 32 };
/* Largest weights of a vector, in bytes, for which outputs with more than FEW_PRODUCTS are computed that way. */
enum { MORE_WEIGHTS = 24 << 10 };
/* Output channels per group up to which the gradient of the input is gathered. */
enum { GATHER = 32 };
/* Lines of a band to which terms belong, in lines.inc. */
enum { FIRST = 1, SECOND = 2, BOTH = 3 };
/* Positions per chunk, so that a chunk fills the cache lines of images [N, C, *size]. */
enum { CHUNK = 16 };
/* Bytes from which the gradient of the weight bypasses the caches, and its pages are requested at once. */
enum { LARGE = 24 << 20 };
/* Bytes from which outputs and gradients of the input do so, if lines consist of whole vectors. */
enum { STREAMED = 4 << 20 };
/* Number of multiply-accumulates from which more than one thread computes a map. */
#define PARALLEL (1 << 16)

static int64_t divide_up(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }
static int64_t round_up(int64_t a, int64_t b) { return (a + b - 1) / b * b; }
static int64_t volume(const int64_t *size) { return size[0] * size[1] * size[2]; }
static int64_t bytes_of(int64_t type) { return type == FLOAT64 ? 8 : type == FLOAT32 ? 4 : 2; }

/* Have the system provide the whole pages of memory that is about to be written. One call takes less time than
 * the page faults that it avoids. Systems that do not know it fail without an effect. */
static void provide_pages(char *at, int64_t bytes) {
#if defined(__linux__)
    enum { POPULATE_WRITE = 23 }; /* of Linux 5.14; headers may be older */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)at + page - 1) / page * page, end = (uintptr_t)(at + bytes) / page * page;
    if (end > begin) madvise((void *)begin, end - begin, POPULATE_WRITE);
#else
    (void)at, (void)bytes;
#endif
}

/* Return the taps of one axis whose input lies in [low, high), for a position at input `at` (without padding). */
static void clip_taps(int64_t at, int64_t dilation, int64_t kernel, int64_t low, int64_t high, int64_t *begin,
                      int64_t *end) {
    *begin = MAX(0, divide_up(low - at, dilation));
    *end = MIN(kernel, divide_up(high - at, dilation));
    if (*end < *begin) *end = *begin;
}

/* -- 16-bit numbers ----------------------------------------------------------------------------------------- */

INLINE float read_bfloat16(uint16_t value) {
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}

INLINE uint16_t write_bfloat16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (value != value) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#ifdef __FLT16_MAX__
INLINE float read_float16(uint16_t value) {
    _Float16 half;
    memcpy(&half, &value, 2);
    return (float)half;
}

INLINE uint16_t write_float16(float value) {
    _Float16 half = (_Float16)value;
    uint16_t bits;
    memcpy(&bits, &half, 2);
    return bits;
}
#else
INLINE float read_float16(uint16_t value) {
    uint32_t sign = (uint32_t)(value & 0x8000) << 16, magnitude = value & 0x7fff, bits;
    float result;
    if (magnitude >= 0x7c00) bits = 0x7f800000 | (magnitude & 0x3ff) << 13;
    else if (magnitude >= 0x400) bits = (magnitude << 13) + (112u << 23);
    else {
        result = (float)magnitude * 0x1p-24f;
        memcpy(&bits, &result, 4);
    }
    bits |= sign;
    memcpy(&result, &bits, 4);
    return result;
}

INLINE uint16_t write_float16(float value) {
    uint32_t bits, sign, magnitude;
    memcpy(&bits, &value, 4);
    sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) { /* the sum rounds to a multiple of the smallest number */
        float shifted;
        memcpy(&shifted, &magnitude, 4);
        shifted += 0.5f;
        memcpy(&magnitude, &shifted, 4);
        return (uint16_t)(sign | (magnitude - 0x3f000000));
    }
    return (uint16_t)(sign | ((magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13));
}
#endif

/* -- the maps in both precisions ---------------------------------------------------------------------------- */

#define REAL float
#define REAL_BYTES 4
#define INTEGER int32_t
#define NAME(name) JOIN(name, float)
#include "maps.inc"
#undef REAL
#undef REAL_BYTES
#undef INTEGER
#undef NAME

#define REAL double
#define REAL_BYTES 8
#define INTEGER int64_t
#define NAME(name) JOIN(name, double)
#include "maps.inc"
#undef REAL
#undef REAL_BYTES
#undef INTEGER
#undef NAME

int64_t JOIN(weightshare_count_memory, ISA)(enum Map map, const Layer *layer) {
    return layer->type == FLOAT64 ? count_memory_double(map, layer) : count_memory_float(map, layer);
}

int32_t JOIN(weightshare_compute, ISA)(enum Map map, const Layer *layer, ParallelFor parallel_for) {
    return layer->type == FLOAT64 ? compute_double(map, layer, parallel_for)
                                  : compute_float(map, layer, parallel_for);
}
