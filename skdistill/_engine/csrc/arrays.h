/* Arrays: sums, transposition, and many of them in one piece of memory. */

#pragma once

#include "vectors.h"

/* Add x to out. */
static void add(const real *x, real *out, size n) {
#pragma omp simd
    for (size i = 0; i < n; i++) out[i] += x[i];
}

/* (n, rows, columns) to (n, columns, rows). */
static void transposed(const real *x, real *out, size n, size rows, size columns) {
#pragma omp parallel for if (n * rows * columns > MANY)
    for (size i = 0; i < n; i++)
        for (size r = 0; r < rows; r++)
            for (size c = 0; c < columns; c++)
                out[(i * columns + c) * rows + r] = x[(i * rows + r) * columns + c];
}

/* The sums over rows of x (rows, c): of 64 rows first, so that rounding adds up less. */
static void sum_rows(const real *x, real *out, size rows, size c) {
#pragma omp parallel for schedule(static) if (rows * c > MANY)
    for (size k = 0; k < c; k += LANES) {
        size m = least(LANES, c - k);
        vector total[BLOCK];
        EACH total[v] = (vector){0};
        for (size first = 0; first < rows; first += 64) {
            vector sum[BLOCK];
            EACH sum[v] = (vector){0};
            for (size r = first; r < least(first + 64, rows); r++)
                EACH sum[v] += LOAD(x + r * c + k);
            EACH total[v] += sum[v];
        }
        EACH STORE(total[v], out + k);
    }
}

/* Consecutive arrays in one piece of memory; without memory, their size. */
typedef struct {
    real *base;
    size used;
} arena;

static real *take(arena *a, size n) {
    real *out = a->base ? a->base + a->used : NULL;
    a->used += filled(n);
    return out;
}
