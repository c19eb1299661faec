/* Numbers in vectors of the processor: REAL is float or double. */

#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined __AVX__
#include <immintrin.h>
#endif

#ifndef REAL
#define REAL float
#endif
typedef REAL real;
typedef ptrdiff_t size;

/* Channels that are computed at once: a cache line. */
#define LANES ((size)(64 / sizeof(real)))
/* The processor's own vectors, how many make a panel (one cache line or two), and the rows of a
 * product that are computed at once: as many sums as there are registers. COLUMNS divides LANES. */
#if defined VECTOR /* the others, too: for tests */
#elif defined __AVX512F__
#define VECTOR 64
#define VECTORS 2
#define ROWS 12
#define COLUMNS 8
#elif defined __AVX__
#define VECTOR 32
#define VECTORS 2
#define ROWS 6
#define COLUMNS 4
#else
#define VECTOR 16
#define VECTORS 4
#define ROWS 4
#define COLUMNS 4
#endif
typedef real vector __attribute__((vector_size(VECTOR), aligned(sizeof(real)), may_alias));
#define LENGTH ((size)(VECTOR / sizeof(real)))
#define PANEL (VECTORS * LENGTH)
/* Threads cost some microseconds: values for which they are worth it. */
#define MANY 32768
#define EXP(x) (sizeof(real) == sizeof(float) ? (real)expf((float)(x)) : (real)exp((double)(x)))
#define SQRT(x) (sizeof(real) == sizeof(float) ? (real)sqrtf((float)(x)) : (real)sqrt((double)(x)))
#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 16")
/* The vectors of a block of LANES channels. */
#define BLOCK (LANES / LENGTH)
#define EACH UNROLLED for (size v = 0; v < BLOCK; v++)

INLINE size least(size a, size b) { return a < b ? a : b; }

/* Fewer values than a vector has, of which there may be none. */
#if VECTOR == 64 && defined __AVX512F__
INLINE unsigned mask_of(size m) { return m > 0 ? (1u << m) - 1 : 0; }
INLINE vector load_some(const real *x, size m) {
    if (sizeof(real) == sizeof(float))
        return (vector)_mm512_maskz_loadu_ps((__mmask16)mask_of(m), (const float *)x);
    return (vector)_mm512_maskz_loadu_pd((__mmask8)mask_of(m), (const double *)x);
}
INLINE void store_some(vector value, real *x, size m) {
    if (sizeof(real) == sizeof(float))
        _mm512_mask_storeu_ps((float *)x, (__mmask16)mask_of(m), (__m512)value);
    else
        _mm512_mask_storeu_pd((double *)x, (__mmask8)mask_of(m), (__m512d)value);
}
#elif VECTOR == 32 && defined __AVX__
INLINE __m256i mask_of(size m) {
    static const int64_t all_and_none[8] = {-1, -1, -1, -1};
    /* Bytes: of a vector's 32, so many are of the values. */
    const char *end = (const char *)(all_and_none + 4);
    return _mm256_loadu_si256((const __m256i *)(end - (m > 0 ? m : 0) * (size)sizeof(real)));
}
INLINE vector load_some(const real *x, size m) {
    if (sizeof(real) == sizeof(float))
        return (vector)_mm256_maskload_ps((const float *)x, mask_of(m));
    return (vector)_mm256_maskload_pd((const double *)x, mask_of(m));
}
INLINE void store_some(vector value, real *x, size m) {
    if (sizeof(real) == sizeof(float))
        _mm256_maskstore_ps((float *)x, mask_of(m), (__m256)value);
    else
        _mm256_maskstore_pd((double *)x, mask_of(m), (__m256d)value);
}
#else
/* Not inlined: hundreds of copies would take long to compile. */
static __attribute__((noinline)) vector load_some(const real *x, size m) {
    vector out = {0};
    for (size l = 0; l < m; l++) out[l] = x[l];
    return out;
}
static __attribute__((noinline)) void store_some(vector value, real *x, size m) {
    for (size l = 0; l < m; l++) x[l] = value[l];
}
#endif

/* A vector of the values from x on, of which there are m. */
INLINE vector load(const real *x, size m) {
    return m >= LENGTH ? *(const vector *)x : load_some(x, m);
}

INLINE void store(vector value, real *x, size m) {
    if (m >= LENGTH)
        *(vector *)x = value;
    else
        store_some(value, x, m);
}

/* The v-th vector of a block's channels, of which there are m. */
#define LOAD(x) load((x) + v * LENGTH, m - v * LENGTH)
#define STORE(value, x) store(value, (x) + v * LENGTH, m - v * LENGTH)

/* A transformed array is (S * S, panels, rows, width): columns stand in panels of PANEL columns,
 * of which the last may be LANES wide, and is filled up. */
INLINE size filled(size c) { return (c + LANES - 1) / LANES * LANES; }
INLINE size width_at(size k, size c) { return least(PANEL, filled(c) - k / PANEL * PANEL); }
INLINE size place(size row, size k, size rows, size c) {
    return k / PANEL * PANEL * rows + row * width_at(k, c) + k % PANEL;
}
