/* The layer that the maps compute, and the functions that every instruction set provides. */
#ifndef WEIGHTSHARE_LAYER_H
#define WEIGHTSHARE_LAYER_H

#include <stdint.h>

enum Map { OUTPUT, INPUT_GRAD, WEIGHT_GRAD };
enum Type { FLOAT32, FLOAT64, BFLOAT16, FLOAT16 };

/* Sizes have three spatial axes; unused ones come first, with size 1. `first` is the input, or the gradient of
 * the output for INPUT_GRAD. `second` is the weight, or the gradient of the output for WEIGHT_GRAD. Images are
 * [N, C, *size], or [N, *size, C] if their `_last` is not 0. The weight is [banks, *kernel, in/groups, out].
 *
 * labels: bank of each position; null if each position has its own bank, as are the next two.
 * order, starts: positions sorted by bank, and the index of the first one of each bank; banks + 1 indices. */
typedef struct {
    const void *first, *second;
    void *result, *memory;
    const int64_t *labels, *order, *starts;
    int64_t batch, channels, outputs, groups, banks;
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], padding[3];
    int64_t type, first_last, second_last, result_last, threads;
} Layer;

typedef void (*Task)(int64_t begin, int64_t end, void *context);
typedef int32_t (*ParallelFor)(int64_t begin, int64_t end, int64_t grain, Task task, void *context);

/* Return the bytes of working memory that a map needs. */
typedef int64_t (*CountMemory)(enum Map map, const Layer *layer);
/* Compute a map; return 0, or the error of `parallel_for`. */
typedef int32_t (*Compute)(enum Map map, const Layer *layer, ParallelFor parallel_for);

#endif
