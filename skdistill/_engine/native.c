/* What torch makes of many operations in one pass, with the derivatives of `layers.py`:
 * convolutions by Winograd's transforms, or of few inputs; a whole instance normalization,
 * rectifier and average pooling; all blocks of such a network; Adam; and whole steps of a training,
 * of networks of images and of multilayer perceptrons.
 *
 * Images are (n, h, w, c), with the channels last, in REAL (float or double). A pair, of values and
 * tangents, is two such arrays, one after the other. Every function writes all of its output, but
 * `winograd_adjoint` adds to the gradient of its kernels, and `adam_steps_adjoint` to those of
 * samples and labels.
 */

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

/* ---- Winograd's F(R x R, 3 x 3): kernels of 3 x 3, stride 1, padding 1 -------------------------
 *
 * An output tile of R x R is A' [(G k G') * (B' d B)] A for a patch d of S x S, S = R + 2, and
 * kernels k. In the transformed arrays, (S * S, tiles, channels) and (S * S, n_out, n_in), a
 * convolution is S * S products of matrices. R is 2, with the points 0, 1, -1 and infinity, or 4,
 * with 0, the four below and infinity, which lose less to rounding than 1, -1, 2, -2 do. The
 * functions of a tile take one vector of channels, or the m that remain.
 */

#define MOST 6 /* S, at most */
#define SIDE(R) ((R) + 2)
#define PRODUCTS(R) (SIDE(R) * SIDE(R))
/* The points are N, -N, F and -F. */
#define N (real)0.70710678118654752440
#define F (real)1.41421356237309504880
#define N2 (real)0.5
#define F2 (real)2
/* G's rows are divided by these. */
#define OF_N (real)(-1.5)
#define OF_F (real)6

/* Along one side: B', and B. */
INLINE void input_side(const vector *d, vector *t, size R) {
    if (R == 2) {
        t[0] = d[0] - d[2];
        t[1] = d[1] + d[2];
        t[2] = d[2] - d[1];
        t[3] = d[1] - d[3];
        return;
    }
    vector even = d[4] - F2 * d[2], odd = N * (d[3] - F2 * d[1]);
    t[0] = d[0] - (N2 + F2) * d[2] + d[4];
    t[1] = even + odd;
    t[2] = even - odd;
    even = d[4] - N2 * d[2], odd = F * (d[3] - N2 * d[1]);
    t[3] = even + odd;
    t[4] = even - odd;
    t[5] = d[1] - (N2 + F2) * d[3] + d[5];
}

INLINE void input_side_adjoint(const vector *t, vector *d, size R) {
    if (R == 2) {
        d[0] = t[0];
        d[1] = t[1] - t[2] + t[3];
        d[2] = t[1] + t[2] - t[0];
        d[3] = -t[3];
        return;
    }
    vector even_n = t[1] + t[2], odd_n = N * (t[1] - t[2]);
    vector even_f = t[3] + t[4], odd_f = F * (t[3] - t[4]);
    d[0] = t[0];
    d[1] = t[5] - F2 * odd_n - N2 * odd_f;
    d[2] = -(N2 + F2) * t[0] - F2 * even_n - N2 * even_f;
    d[3] = odd_n + odd_f - (N2 + F2) * t[5];
    d[4] = t[0] + even_n + even_f;
    d[5] = t[5];
}

/* A', and A. */
INLINE void output_side(const vector *p, vector *y, size R) {
    if (R == 2) {
        y[0] = p[0] + p[1] + p[2];
        y[1] = p[1] - p[2] - p[3];
        return;
    }
    vector even_n = p[1] + p[2], odd_n = N * (p[1] - p[2]);
    vector even_f = p[3] + p[4], odd_f = F * (p[3] - p[4]);
    y[0] = p[0] + even_n + even_f;
    y[1] = odd_n + odd_f;
    y[2] = N2 * even_n + F2 * even_f;
    y[3] = N2 * odd_n + F2 * odd_f + p[5];
}

INLINE void output_side_adjoint(const vector *y, vector *p, size R) {
    if (R == 2) {
        p[0] = y[0];
        p[1] = y[0] + y[1];
        p[2] = y[0] - y[1];
        p[3] = -y[1];
        return;
    }
    vector even = y[0] + N2 * y[2], odd = N * (y[1] + N2 * y[3]);
    p[0] = y[0];
    p[1] = even + odd;
    p[2] = even - odd;
    even = y[0] + F2 * y[2], odd = F * (y[1] + F2 * y[3]);
    p[3] = even + odd;
    p[4] = even - odd;
    p[5] = y[3];
}

/* G, and G'. */
INLINE void kernel_side(const vector *k, vector *u, size R) {
    if (R == 2) {
        u[0] = k[0];
        u[1] = (k[0] + k[1] + k[2]) / 2;
        u[2] = (k[0] - k[1] + k[2]) / 2;
        u[3] = k[2];
        return;
    }
    vector even = (k[0] + N2 * k[2]) * (1 / OF_N), odd = k[1] * (N / OF_N);
    u[0] = k[0];
    u[1] = even + odd;
    u[2] = even - odd;
    even = (k[0] + F2 * k[2]) * (1 / OF_F), odd = k[1] * (F / OF_F);
    u[3] = even + odd;
    u[4] = even - odd;
    u[5] = k[2];
}

INLINE void kernel_side_adjoint(const vector *u, vector *k, size R) {
    if (R == 2) {
        vector half = u[1] / 2, other = u[2] / 2;
        k[0] = u[0] + half + other;
        k[1] = half - other;
        k[2] = half + other + u[3];
        return;
    }
    vector even_n = (u[1] + u[2]) * (1 / OF_N), even_f = (u[3] + u[4]) * (1 / OF_F);
    k[0] = u[0] + even_n + even_f;
    k[1] = (u[1] - u[2]) * (N / OF_N) + (u[3] - u[4]) * (F / OF_F);
    k[2] = N2 * even_n + F2 * even_f + u[5];
}

#undef N
#undef F
#undef N2
#undef F2
#undef OF_N
#undef OF_F

#define OF_SIDE(i, S) UNROLLED for (size i = 0; i < (S); i++)

INLINE void input_tile(const real *x, real *out, size i, size j, size h, size w, size c, size step,
                       size m, size R) {
    size S = SIDE(R);
    vector t[MOST][MOST];
    OF_SIDE(b, S) {
        vector d[MOST], of_d[MOST];
        OF_SIDE(a, S) {
            size y = i + a, z = j + b;
            d[a] = y < 0 || y >= h || z < 0 || z >= w ? (vector){0} : load(x + (y * w + z) * c, m);
        }
        input_side(d, of_d, R);
        OF_SIDE(a, S) t[a][b] = of_d[a];
    }
    OF_SIDE(a, S) {
        vector of_t[MOST];
        input_side(t[a], of_t, R);
        OF_SIDE(b, S) store(of_t[b], out + (S * a + b) * step, m);
    }
}

INLINE void input_tile_adjoint(const real *in, real *x, size i, size j, size h, size w, size c,
                               size step, size m, size R) {
    size S = SIDE(R);
    vector t[MOST][MOST];
    OF_SIDE(a, S) {
        vector v[MOST];
        OF_SIDE(b, S) v[b] = load(in + (S * a + b) * step, m);
        input_side_adjoint(v, t[a], R);
    }
    OF_SIDE(b, S) {
        vector of_t[MOST], d[MOST];
        OF_SIDE(a, S) of_t[a] = t[a][b];
        input_side_adjoint(of_t, d, R);
        OF_SIDE(a, S) {
            size y = i + a, z = j + b;
            real *pixel = x + (y * w + z) * c;
            if (y >= 0 && y < h && z >= 0 && z < w) store(load(pixel, m) + d[a], pixel, m);
        }
    }
}

INLINE void output_tile(const real *p, const real *bias, real *y, size i, size j, size h, size w,
                        size c, size step, size m, size R) {
    size S = SIDE(R);
    vector t[MOST][MOST], shift = load(bias, m);
    OF_SIDE(b, S) {
        vector of_p[MOST], of_y[MOST];
        OF_SIDE(a, S) of_p[a] = load(p + (S * a + b) * step, m);
        output_side(of_p, of_y, R);
        OF_SIDE(a, R) t[a][b] = of_y[a];
    }
    OF_SIDE(a, R) if (i + a < h) {
        vector of_y[MOST];
        real *pixel = y + ((i + a) * w + j) * c;
        output_side(t[a], of_y, R);
        OF_SIDE(b, R) if (j + b < w) store(of_y[b] + shift, pixel + b * c, m);
    }
}

INLINE void output_tile_adjoint(const real *y, real *p, size i, size j, size h, size w, size c,
                                size step, size m, size R) {
    size S = SIDE(R);
    vector t[MOST][MOST];
    OF_SIDE(a, R) {
        const real *pixel = y + ((i + a) * w + j) * c;
        vector g[MOST];
        OF_SIDE(b, R) g[b] = i + a < h && j + b < w ? load(pixel + b * c, m) : (vector){0};
        output_side_adjoint(g, t[a], R);
    }
    OF_SIDE(b, S) {
        vector g[MOST], of_g[MOST];
        OF_SIDE(a, R) g[a] = t[a][b];
        output_side_adjoint(g, of_g, R);
        OF_SIDE(a, S) store(of_g[a], p + (S * a + b) * step, m);
    }
}

/* A transformed array is (S * S, panels, rows, width): columns stand in panels of PANEL columns,
 * of which the last may be LANES wide, and is filled up. */
INLINE size filled(size c) { return (c + LANES - 1) / LANES * LANES; }
INLINE size width_at(size k, size c) { return least(PANEL, filled(c) - k / PANEL * PANEL); }
INLINE size place(size row, size k, size rows, size c) {
    return k / PANEL * PANEL * rows + row * width_at(k, c) + k % PANEL;
}

/* ---- Products of matrices: sums of one or two, as derivatives along a direction are -------------
 */

typedef struct {
    const real *left, *right;
} term;

/* M rows of left (rows, inner) times a panel of right (inner, N vectors). The order in which a
 * value is summed depends on `inner` alone. */
INLINE void times(const real *left, const real *right, size inner, size width,
                  vector sum[ROWS][VECTORS], size M, size N) {
    for (size k = 0; k < inner; k++, right += N * LENGTH) {
        vector values[VECTORS];
        UNROLLED for (size v = 0; v < N; v++)
            values[v] = *(const vector *)(right + v * LENGTH);
        UNROLLED for (size r = 0; r < M; r++)
            UNROLLED for (size v = 0; v < N; v++) sum[r][v] += left[r * width + k] * values[v];
    }
}

INLINE void rows_of(const term *terms, size n_terms, size row, size rows, size inner, real *out,
                    size M, size N) {
    vector sum[ROWS][VECTORS];
    UNROLLED for (size r = 0; r < M; r++)
        UNROLLED for (size v = 0; v < N; v++) sum[r][v] = (vector){0};
    for (size i = 0; i < n_terms; i++)
        for (size k = 0; k < inner; k += PANEL) {
            const real *left = terms[i].left + place(row, k, rows, inner);
            const real *right = terms[i].right + k * N * LENGTH;
            if (PANEL == LANES || width_at(k, inner) == PANEL)
                times(left, right, least(PANEL, inner - k), PANEL, sum, M, N);
            else
                times(left, right, inner - k, LANES, sum, M, N);
        }
    UNROLLED for (size r = 0; r < M; r++)
        UNROLLED for (size v = 0; v < N; v++)
            *(vector *)(out + ((row + r) * N + v) * LENGTH) = sum[r][v];
}

#define ALL_ROWS(N)                                                                                \
    for (; row + ROWS <= rows; row += ROWS)                                                        \
        rows_of(terms, n_terms, row, rows, inner, out, ROWS, N);                                   \
    for (; row + 3 <= rows; row += 3) rows_of(terms, n_terms, row, rows, inner, out, 3, N);        \
    for (; row < rows; row++) rows_of(terms, n_terms, row, rows, inner, out, 1, N);

/* One panel of the products, (rows, N vectors). */
static void panel_of(const term *terms, size n_terms, size rows, size inner, size width,
                     real *out) {
    size row = 0;
    if (PANEL == LANES || width == PANEL) {
        ALL_ROWS(VECTORS)
    } else {
        ALL_ROWS(LANES / LENGTH)
    }
}

/* sums (products, rows, columns) of left (products, rows, inner) times right (products, inner,
 * columns); a part of the work of every thread. */
static void multiply(const term *terms, size n_terms, size rows, size inner, size columns,
                     real *out, size products) {
    size panels = (columns + PANEL - 1) / PANEL;
#pragma omp for schedule(static)
    for (size q = 0; q < products * panels; q++) {
        size p = q / panels, k = q % panels * PANEL;
        term own[2];
        for (size i = 0; i < n_terms; i++) {
            own[i].left = terms[i].left + p * rows * filled(inner);
            own[i].right = terms[i].right + p * inner * filled(columns) + k * inner;
        }
        panel_of(own, n_terms, rows, inner, width_at(k, columns),
                 out + p * rows * filled(columns) + k * rows);
    }
}

/* M columns of left, (rows, M), transposed, times a panel of right, (rows, N vectors): added to
 * out. */
INLINE void columns_of(const term *terms, size n_terms, size rows, size width, real *out, size c,
                       size m, size M, size N) {
    vector sum[COLUMNS][VECTORS];
    UNROLLED for (size r = 0; r < M; r++)
        UNROLLED for (size v = 0; v < N; v++) sum[r][v] = (vector){0};
    for (size i = 0; i < n_terms; i++) {
        const real *left = terms[i].left, *right = terms[i].right;
        for (size row = 0; row < rows; row++, left += width, right += N * LENGTH) {
            vector values[VECTORS];
            UNROLLED for (size v = 0; v < N; v++)
                values[v] = *(const vector *)(right + v * LENGTH);
            UNROLLED for (size r = 0; r < M; r++)
                UNROLLED for (size v = 0; v < N; v++) sum[r][v] += left[r] * values[v];
        }
    }
    UNROLLED for (size r = 0; r < M; r++)
        UNROLLED for (size v = 0; v < N; v++) {
            real *to = out + r * c + v * LENGTH;
            size left = m - v * LENGTH;
            if (left > 0) store(load(to, left) + sum[r][v], to, left);
        }
}

#define ALL_COLUMNS(N)                                                                             \
    for (; o + COLUMNS <= n_out; o += COLUMNS) {                                                   \
        NEXT_TERMS                                                                                 \
        columns_of(own, n_terms, rows, width_at(o, n_out), out + o * c + k, c,                     \
                   least(PANEL, c - k), COLUMNS, N);                                               \
    }                                                                                              \
    for (; o < n_out; o++) {                                                                       \
        NEXT_TERMS                                                                                 \
        columns_of(own, n_terms, rows, width_at(o, n_out), out + o * c + k, c,                     \
                   least(PANEL, c - k), 1, N);                                                     \
    }
#define NEXT_TERMS                                                                                 \
    for (size i = 0; i < n_terms; i++)                                                             \
        own[i].left = terms[i].left + p * rows * filled(n_out) + place(0, o, rows, n_out);

/* Adds to sums, (products, n_out, c), the transposed left (products, rows, n_out) times right
 * (products, rows, c). */
static void multiply_transposed(const term *terms, size n_terms, size rows, size n_out, size c,
                                real *sums, size products) {
    size panels = (c + PANEL - 1) / PANEL;
#pragma omp for schedule(static)
    for (size q = 0; q < products * panels; q++) {
        size p = q / panels, k = q % panels * PANEL, o = 0;
        real *out = sums + p * n_out * c;
        term own[2];
        for (size i = 0; i < n_terms; i++)
            own[i].right = terms[i].right + p * rows * filled(c) + k * rows;
        if (PANEL == LANES || width_at(k, c) == PANEL) {
            ALL_COLUMNS(VECTORS)
        } else {
            ALL_COLUMNS(LANES / LENGTH)
        }
    }
}

/* ---- Transforms of images; a part of the work of every thread -----------------------------------
 */

/* All channels of a tile, in vectors, and what remains. */
#define CHANNELS(CALL)                                                                             \
    for (size k = 0; k < c; k += LENGTH) {                                                         \
        size at = place(tile, k, tiles, c);                                                        \
        if (c - k >= LENGTH)                                                                       \
            CALL(LENGTH);                                                                          \
        else                                                                                       \
            CALL(c - k);                                                                           \
    }

/* A function for the R at hand, compiled for both because its loops over a tile are unrolled. */
#define FOR_R(function, ...)                                                                       \
    {                                                                                              \
        if (r == 2)                                                                                \
            function(__VA_ARGS__, 2);                                                              \
        else                                                                                       \
            function(__VA_ARGS__, 4);                                                              \
    }

/* Tiles of n images of h x w. */
#define TILES(R)                                                                                   \
    size rows = (h + R - 1) / R, columns = (w + R - 1) / R, tiles = n * rows * columns,            \
         step = tiles * filled(c);

INLINE void to_input_of(const real *x, real *v, size n, size h, size w, size c, size R) {
    TILES(R)
#pragma omp for schedule(static)
    for (size q = 0; q < n * rows; q++)
        for (size j = 0; j < columns; j++) {
            size tile = q * columns + j;
#define CALL(M)                                                                                    \
    input_tile(x + q / rows * h * w * c + k, v + at, q % rows * R - 1, j * R - 1, h, w, c, step,   \
               M, R)
            CHANNELS(CALL)
#undef CALL
        }
}

static void to_input(const real *x, real *v, size n, size h, size w, size c, size r) {
    FOR_R(to_input_of, x, v, n, h, w, c)
}

INLINE void from_input_of(const real *v, real *x, size n, size h, size w, size c, size R) {
    TILES(R)
    size parts = (c + LENGTH - 1) / LENGTH;
    /* Tiles overlap: a thread takes all tiles of some channels. */
#pragma omp for schedule(static)
    for (size q = 0; q < n * parts; q++) {
        size k = q % parts * LENGTH, m = least(LENGTH, c - k);
        real *image = x + q / parts * h * w * c + k;
        for (size i = 0; i < h * w; i++) store((vector){0}, image + i * c, m);
        for (size i = 0; i < rows; i++)
            for (size j = 0; j < columns; j++) {
                size at = place((q / parts * rows + i) * columns + j, k, tiles, c);
#define CALL(M)                                                                                    \
    input_tile_adjoint(v + at, image, i * R - 1, j * R - 1, h, w, c, step, M, R)
                if (m == LENGTH)
                    CALL(LENGTH);
                else
                    CALL(m);
#undef CALL
            }
    }
}

static void from_input(const real *v, real *x, size n, size h, size w, size c, size r) {
    FOR_R(from_input_of, v, x, n, h, w, c)
}

INLINE void from_output_of(const real *p, const real *bias, real *y, size n, size h, size w,
                           size c, size R) {
    TILES(R)
#pragma omp for schedule(static)
    for (size q = 0; q < n * rows; q++)
        for (size j = 0; j < columns; j++) {
            size tile = q * columns + j;
#define CALL(M)                                                                                    \
    output_tile(p + at, bias + k, y + q / rows * h * w * c + k, q % rows * R, j * R, h, w, c,      \
                step, M, R)
            CHANNELS(CALL)
#undef CALL
        }
}

static void from_output(const real *p, const real *bias, real *y, size n, size h, size w, size c,
                        size r) {
    FOR_R(from_output_of, p, bias, y, n, h, w, c)
}

INLINE void to_output_of(const real *y, real *p, size n, size h, size w, size c, size R) {
    TILES(R)
#pragma omp for schedule(static)
    for (size q = 0; q < n * rows; q++)
        for (size j = 0; j < columns; j++) {
            size tile = q * columns + j;
#define CALL(M)                                                                                    \
    output_tile_adjoint(y + q / rows * h * w * c + k, p + at, q % rows * R, j * R, h, w, c, step,  \
                        M, R)
            CHANNELS(CALL)
#undef CALL
        }
}

static void to_output(const real *y, real *p, size n, size h, size w, size c, size r) {
    FOR_R(to_output_of, y, p, n, h, w, c)
}

INLINE void kernel_tile(const real *k, real *u, size c, size step, size m, size R) {
    size S = SIDE(R);
    vector t[MOST][3];
    UNROLLED for (size b = 0; b < 3; b++) {
        vector of_k[3], of_u[MOST];
        UNROLLED for (size a = 0; a < 3; a++) of_k[a] = load(k + (3 * a + b) * c, m);
        kernel_side(of_k, of_u, R);
        OF_SIDE(a, S) t[a][b] = of_u[a];
    }
    OF_SIDE(a, S) {
        vector of_u[MOST];
        kernel_side(t[a], of_u, R);
        OF_SIDE(b, S) store(of_u[b], u + (S * a + b) * step, LENGTH);
    }
}

INLINE void kernel_tile_adjoint(const real *u, real *k, size c, size step, size m, size R) {
    size S = SIDE(R);
    vector t[MOST][3];
    OF_SIDE(a, S) {
        vector of_u[MOST];
        OF_SIDE(b, S) of_u[b] = load(u + (S * a + b) * step, m);
        kernel_side_adjoint(of_u, t[a], R);
    }
    UNROLLED for (size b = 0; b < 3; b++) {
        vector of_t[MOST], of_k[3];
        OF_SIDE(a, S) of_t[a] = t[a][b];
        kernel_side_adjoint(of_t, of_k, R);
        UNROLLED for (size a = 0; a < 3; a++) store(of_k[a], k + (3 * a + b) * c, m);
    }
}

INLINE void kernels(const real *w, real *forward, real *backward, size n_out, size c, size R) {
    size step = n_out * filled(c), step_forward = c * filled(n_out);
    size blocks = filled(n_out) / LANES;
#pragma omp for schedule(static)
    for (size q = 0; q < blocks; q++)
        for (size k = 0; k < filled(c); k += LENGTH) {
            size first = q * LANES, n = least(LANES, n_out - first), m = least(LENGTH, c - k);
            real all[PRODUCTS(MOST - 2) * LANES * LENGTH];
            for (size o = 0; o < n; o++) {
                const real *from = w + (first + o) * 9 * c + k;
                if (m == LENGTH)
                    kernel_tile(from, all + o * LENGTH, c, LANES * LENGTH, LENGTH, R);
                else
                    kernel_tile(from, all + o * LENGTH, c, LANES * LENGTH, m < 0 ? 0 : m, R);
            }
            for (size p = 0; p < PRODUCTS(R); p++) {
                const real *from = all + p * LANES * LENGTH;
                for (size o = 0; o < n; o++)
                    store(load(from + o * LENGTH, LENGTH),
                          backward + p * step + place(first + o, k, n_out, c), LENGTH);
                for (size i = 0; i < m; i++) {
                    real *to = forward + p * step_forward + place(k + i, first, c, n_out);
                    for (size o = 0; o < LANES; o++) to[o] = o < n ? from[o * LENGTH + i] : 0;
                }
            }
        }
}

INLINE void kernels_adjoint(const real *u, real *w, size n_out, size c, size R) {
    size step = n_out * c;
#pragma omp for
    for (size o = 0; o < n_out; o++)
        for (size k = 0; k < c; k += LENGTH) {
            const real *in = u + o * c + k;
            real *out = w + o * 9 * c + k;
            if (c - k >= LENGTH)
                kernel_tile_adjoint(in, out, c, step, LENGTH, R);
            else
                kernel_tile_adjoint(in, out, c, step, c - k, R);
        }
}

/* Kernels w (n_out, 3, 3, c) to (S * S, c, n_out), which inputs are multiplied by, and to
 * (S * S, n_out, c), which the sensitivities of outputs are multiplied by; both in panels. */
void winograd_kernels(const real *w, real *forward, real *backward, size n_out, size c, size r) {
#pragma omp parallel if (PRODUCTS(r) * n_out * c > MANY)
    FOR_R(kernels, w, forward, backward, n_out, c)
}

/* From sums (S * S, n_out, c), which are not in panels. */
void winograd_kernels_adjoint(const real *u, real *w, size n_out, size c, size r) {
#pragma omp parallel if (n_out * c > MANY)
    FOR_R(kernels_adjoint, u, w, n_out, c)
}

/* ---- The convolution. `part` images are taken at a time, whose transformed arrays fit the cache.
 *
 * What is transformed of the inputs is kept, part after part. `room` is for one part. Null pointers
 * stand for tangents that are 0, and for sensitivities that nobody wants. */

#define PARTS                                                                                      \
    size tiles = ((h + r - 1) / r) * ((w + r - 1) / r);                                            \
    _Pragma("omp parallel if (PRODUCTS(r) * n * tiles * (n_out + c) > MANY)") for (                \
        size first = 0, size_of = 0; size_of = least(part, n - first), first < n; first += part)
#define OF_X (first * h * w * c)
#define OF_Y (first * h * w * n_out)
#define OF_V (PRODUCTS(r) * first * tiles * filled(c))

void winograd(const real *x, const real *x_t, const real *u, const real *u_t, const real *bias,
              const real *bias_t, real *y, real *y_t, real *v, real *v_t, real *room, size n,
              size h, size w, size c, size n_out, size part, size r) {
    PARTS {
        size rows = size_of * tiles, k = PRODUCTS(r);
        term terms[3] = {{v + OF_V, u_t}, {v_t + (v_t ? OF_V : 0), u}, {v + OF_V, u}};
        to_input(x + OF_X, v + OF_V, size_of, h, w, c, r);
        if (x_t) to_input(x_t + OF_X, v_t + OF_V, size_of, h, w, c, r);
        multiply(terms + 2, 1, rows, c, n_out, room, k);
        from_output(room, bias, y + OF_Y, size_of, h, w, n_out, r);
        if (y_t) {
            multiply(terms, x_t ? 2 : 1, rows, c, n_out, room, k);
            from_output(room, bias_t, y_t + OF_Y, size_of, h, w, n_out, r);
        }
    }
}

void winograd_adjoint(const real *g, const real *g_t, const real *v, const real *v_t, const real *u,
                      const real *u_t, real *x_bar, real *x_bar_t, real *u_bar, real *room, size n,
                      size h, size w, size c, size n_out, size part, size r) {
    PARTS {
        size rows = size_of * tiles, k = PRODUCTS(r), of_q = k * rows * filled(n_out);
        real *q = room, *q_t = room + of_q, *v_bar = q_t + (g_t ? of_q : 0);
        to_output(g + OF_Y, q, size_of, h, w, n_out, r);
        if (g_t) to_output(g_t + OF_Y, q_t, size_of, h, w, n_out, r);
        if (g_t) {
            term terms[2] = {{q_t, v + OF_V}, {q, v_t + (v_t ? OF_V : 0)}};
            multiply_transposed(terms, v_t ? 2 : 1, rows, n_out, c, u_bar, k);
        } else {
            term terms[1] = {{q, v + OF_V}};
            multiply_transposed(terms, 1, rows, n_out, c, u_bar, k);
        }
        if (x_bar) {
            term terms[1] = {{q, u}};
            multiply(terms, 1, rows, n_out, c, v_bar, k);
            from_input(v_bar, x_bar + OF_X, size_of, h, w, c, r);
        }
        if (x_bar_t) {
            term terms[2] = {{q_t, u}, {q, u_t}};
            multiply(terms, 2, rows, n_out, c, v_bar, k);
            from_input(v_bar, x_bar_t + OF_X, size_of, h, w, c, r);
        }
    }
}

/* ---- Instance normalization, rectifier, average pooling -----------------------------------------
 *
 * The formulas are those of `_Norm` in layers.py, of an image's N pixels. With d = x - mean(x) the
 * normalized input is u = r d, and its tangent r (d' - slope d). A rectifier passes what is not
 * <= 0, so that NaN stays NaN. `pool` is the side of the pooled squares, 1 for none; pixels that
 * fill no square count in the normalization alone. Sums are of rows first, so that rounding adds up
 * less.
 */

/* Every pixel of the i-th row of squares, at `at`, with its square, at `from`; and the pixels that
 * are in no square. */
#define SQUARES                                                                                    \
    for (size j = 0, from = i * columns * to; j < columns; j++, from += to)                        \
        for (size p = 0; p < pool; p++)                                                            \
            for (size q = 0, at = ((i * pool + p) * w + j * pool) * c; q < pool; q++, at += c)
#define REST                                                                                       \
    for (size i = 0; i < h; i++)                                                                   \
        for (size j = i < rows * pool ? columns * pool : 0, at = (i * w + j) * c; j < w;           \
             j++, at += c)
/* The v-th vector of a block's channels, of which there are m. */
#define LOAD(x) load((x) + v * LENGTH, m - v * LENGTH)
#define STORE(value, x) store(value, (x) + v * LENGTH, m - v * LENGTH)

typedef __typeof__((vector){0} <= (vector){0}) choice;
/* x, but 0 where `off`. */
INLINE vector passed(vector x, choice off) { return (vector)((choice)x & ~off); }

/* A sum of so many values is rounded so much that flat images would not become 0: what a mean
 * missed is the mean of what is above it, and counts in the sum of squares, too. */
INLINE vector without_miss(vector square, vector miss, size N) {
    square -= (real)N * miss * miss;
    return passed(square, square <= 0);
}

INLINE void norm_block(const real *x, const real *scale, const real *shift, real *y, real *stats,
                       size h, size w, size c, size to, size pool, size step, double eps, size m) {
    size N = h * w, rows = h / pool, columns = w / pool;
    vector mean[BLOCK], miss[BLOCK], square[BLOCK], a[BLOCK], up[BLOCK];
    EACH
        mean[v] = miss[v] = square[v] = (vector){0};
    for (size q = 0; q < N; q++)
        EACH
            mean[v] += LOAD(x + q * c);
    EACH
        mean[v] /= (real)N;
    for (size i = 0; i < h; i++) {
        vector row[BLOCK];
        EACH
            row[v] = (vector){0};
        for (size q = i * w; q < (i + 1) * w; q++)
            EACH {
                vector d = LOAD(x + q * c) - mean[v];
                miss[v] += d;
                row[v] += d * d;
            }
        EACH
            square[v] += row[v];
    }
    EACH {
        vector r;
        mean[v] += miss[v] /= (real)N;
        square[v] = without_miss(square[v], miss[v], N);
        for (size l = 0; l < LENGTH; l++)
            r[l] = (real)(1 / sqrt((double)square[v][l] + (double)N * eps));
        STORE(mean[v], stats);
        STORE(r, stats + step);
        a[v] = LOAD(scale) * (real)sqrt((double)N) * r;
        up[v] = LOAD(shift);
    }
    real part = 1 / (real)(pool * pool);
    for (size i = 0; i < rows; i++)
        for (size j = 0; j < columns; j++) {
            vector sum[BLOCK];
            EACH
                sum[v] = (vector){0};
            for (size p = 0; p < pool; p++)
                for (size q = 0; q < pool; q++)
                    EACH {
                        vector d = LOAD(x + ((i * pool + p) * w + j * pool + q) * c) - mean[v];
                        vector value = a[v] * d + up[v];
                        sum[v] += passed(value, value <= 0);
                    }
            EACH
                STORE(sum[v] * part, y + (i * columns + j) * to);
        }
}

INLINE void norm_block_backward(const real *g, const real *x, const real *stats, const real *scale,
                                const real *shift, real *x_bar, real *sums, size h, size w, size c,
                                size to, size pool, size step, size m) {
    size N = h * w, rows = h / pool, columns = w / pool;
    real part = 1 / (real)(pool * pool), root = (real)sqrt((double)N);
    vector a[BLOCK], up[BLOCK], mean[BLOCK], s_sum[BLOCK], su_sum[BLOCK];
    EACH {
        mean[v] = LOAD(stats);
        a[v] = LOAD(scale) * root * LOAD(stats + step);
        up[v] = LOAD(shift);
        s_sum[v] = su_sum[v] = (vector){0};
    }
    for (size i = 0; i < rows; i++) {
        vector s_row[BLOCK], su_row[BLOCK];
        EACH
            s_row[v] = su_row[v] = (vector){0};
        SQUARES
        {
            EACH {
                vector d = LOAD(x + at) - mean[v];
                vector s = passed(LOAD(g + from) * part, a[v] * d + up[v] <= 0);
                s_row[v] += s;
                su_row[v] += s * d;
            }
        }
        EACH {
            s_sum[v] += s_row[v];
            su_sum[v] += su_row[v];
        }
    }
    EACH {
        vector r = LOAD(stats + step);
        STORE(root * r * su_sum[v], sums);
        STORE(s_sum[v], sums + step);
        s_sum[v] /= (real)N;
        su_sum[v] *= r * r;
    }
    for (size i = 0; i < rows; i++) SQUARES
    {
        EACH {
            vector d = LOAD(x + at) - mean[v];
            vector s = passed(LOAD(g + from) * part, a[v] * d + up[v] <= 0);
            STORE(a[v] * (s - s_sum[v] - d * su_sum[v]), x_bar + at);
        }
    }
    REST
    {
        EACH
            STORE(a[v] * (-s_sum[v] - (LOAD(x + at) - mean[v]) * su_sum[v]), x_bar + at);
    }
}

INLINE void norm_block_pair(const real *x, const real *x_t, const real *scale, const real *shift,
                            const real *scale_t, const real *shift_t, real *y, real *y_t,
                            real *stats, size h, size w, size c, size to, size pool, size step,
                            double eps, size m) {
    size N = h * w, rows = h / pool, columns = w / pool;
    real part = 1 / (real)(pool * pool), root = (real)sqrt((double)N);
    vector mean[BLOCK], mean_t[BLOCK], square[BLOCK], dot[BLOCK], a[BLOCK], a_t[BLOCK];
    vector miss[BLOCK], miss_t[BLOCK];
    EACH
        mean[v] = mean_t[v] = square[v] = dot[v] = miss[v] = miss_t[v] = (vector){0};
    for (size q = 0; q < N; q++)
        EACH {
            mean[v] += LOAD(x + q * c);
            mean_t[v] += LOAD(x_t + q * c);
        }
    EACH {
        mean[v] /= (real)N;
        mean_t[v] /= (real)N;
    }
    for (size i = 0; i < h; i++) {
        vector row[BLOCK], dot_row[BLOCK];
        EACH
            row[v] = dot_row[v] = (vector){0};
        for (size q = i * w; q < (i + 1) * w; q++)
            EACH {
                vector d = LOAD(x + q * c) - mean[v], d_t = LOAD(x_t + q * c) - mean_t[v];
                miss[v] += d;
                miss_t[v] += d_t;
                row[v] += d * d;
                dot_row[v] += d * d_t;
            }
        EACH {
            square[v] += row[v];
            dot[v] += dot_row[v];
        }
    }
    EACH {
        vector r;
        mean[v] += miss[v] /= (real)N;
        mean_t[v] += miss_t[v] /= (real)N;
        square[v] = without_miss(square[v], miss[v], N);
        dot[v] -= (real)N * miss[v] * miss_t[v];
        for (size l = 0; l < LENGTH; l++)
            r[l] = (real)(1 / sqrt((double)square[v][l] + (double)N * eps));
        vector slope = r * r * dot[v];
        STORE(mean[v], stats);
        STORE(r, stats + step);
        STORE(mean_t[v], stats + 2 * step);
        STORE(slope, stats + 3 * step);
        a[v] = LOAD(scale) * root * r;
        a_t[v] = LOAD(scale_t) * root * r - a[v] * slope;
    }
    for (size i = 0; i < rows; i++)
        for (size j = 0; j < columns; j++) {
            vector sum[BLOCK], sum_t[BLOCK];
            EACH
                sum[v] = sum_t[v] = (vector){0};
            for (size p = 0; p < pool; p++)
                for (size q = 0; q < pool; q++) {
                    size at = ((i * pool + p) * w + j * pool + q) * c;
                    EACH {
                        vector d = LOAD(x + at) - mean[v], d_t = LOAD(x_t + at) - mean_t[v];
                        vector value = a[v] * d + LOAD(shift);
                        vector value_t = a[v] * d_t + a_t[v] * d + LOAD(shift_t);
                        sum[v] += passed(value, value <= 0);
                        sum_t[v] += passed(value_t, value <= 0);
                    }
                }
            EACH {
                STORE(sum[v] * part, y + (i * columns + j) * to);
                STORE(sum_t[v] * part, y_t + (i * columns + j) * to);
            }
        }
}

INLINE void norm_block_pair_backward(const real *g, const real *g_t, const real *x, const real *x_t,
                                     const real *stats, const real *scale, const real *shift,
                                     const real *scale_t, real *x_bar, real *x_bar_t, real *sums,
                                     size h, size w, size c, size to, size pool, size step,
                                     size m) {
    size N = h * w, rows = h / pool, columns = w / pool;
    real part = 1 / (real)(pool * pool), root = (real)sqrt((double)N);
    vector mean[BLOCK], mean_t[BLOCK], slope[BLOCK], a[BLOCK], a_t[BLOCK];
    vector s_sum[BLOCK], st_sum[BLOCK], su_sum[BLOCK], sut_sum[BLOCK];
    EACH {
        vector r = LOAD(stats + step);
        mean[v] = LOAD(stats);
        mean_t[v] = LOAD(stats + 2 * step);
        slope[v] = LOAD(stats + 3 * step);
        a[v] = LOAD(scale) * root * r;
        a_t[v] = LOAD(scale_t) * root * r - a[v] * slope[v];
        s_sum[v] = st_sum[v] = su_sum[v] = sut_sum[v] = (vector){0};
    }
    for (size i = 0; i < rows; i++) {
        vector s_row[BLOCK], st_row[BLOCK], su_row[BLOCK], sut_row[BLOCK];
        EACH
            s_row[v] = st_row[v] = su_row[v] = sut_row[v] = (vector){0};
        SQUARES
        {
            EACH {
                vector d = LOAD(x + at) - mean[v];
                vector d_t = LOAD(x_t + at) - mean_t[v] - slope[v] * d;
                choice off = a[v] * d + LOAD(shift) <= 0;
                vector s = passed(LOAD(g + from) * part, off),
                       s_t = passed(LOAD(g_t + from) * part, off);
                s_row[v] += s;
                st_row[v] += s_t;
                su_row[v] += s * d;
                sut_row[v] += s_t * d + s * d_t;
            }
        }
        EACH {
            s_sum[v] += s_row[v];
            st_sum[v] += st_row[v];
            su_sum[v] += su_row[v];
            sut_sum[v] += sut_row[v];
        }
    }
    EACH {
        vector r = LOAD(stats + step);
        STORE(root * r * sut_sum[v], sums);
        STORE(st_sum[v], sums + step);
        s_sum[v] /= (real)N;
        st_sum[v] /= (real)N;
        su_sum[v] *= r * r;
        sut_sum[v] *= r * r;
    }
    for (size i = 0; i < rows; i++) SQUARES
    {
        EACH {
            vector d = LOAD(x + at) - mean[v];
            vector d_t = LOAD(x_t + at) - mean_t[v] - slope[v] * d;
            choice off = a[v] * d + LOAD(shift) <= 0;
            vector s = passed(LOAD(g + from) * part, off),
                   s_t = passed(LOAD(g_t + from) * part, off);
            vector out = s - s_sum[v] - d * su_sum[v];
            vector out_t = s_t - st_sum[v] - d * sut_sum[v] - d_t * su_sum[v];
            STORE(a[v] * out, x_bar + at);
            STORE(a[v] * out_t + a_t[v] * out, x_bar_t + at);
        }
    }
    REST
    {
        EACH {
            vector d = LOAD(x + at) - mean[v];
            vector d_t = LOAD(x_t + at) - mean_t[v] - slope[v] * d;
            vector out = -s_sum[v] - d * su_sum[v];
            vector out_t = -st_sum[v] - d * sut_sum[v] - d_t * su_sum[v];
            STORE(a[v] * out, x_bar + at);
            STORE(a[v] * out_t + a_t[v] * out, x_bar_t + at);
        }
    }
}

/* All channels of a block, whose number the compiler knows if they fill it. */
#define NORM(NAME, OF, PARAMETERS, ...)                                                            \
    static __attribute__((noinline)) void NAME PARAMETERS {                                        \
        if (m == LANES)                                                                            \
            OF(__VA_ARGS__, LANES);                                                                \
        else                                                                                       \
            OF(__VA_ARGS__, m);                                                                    \
    }
NORM(norm, norm_block,
     (const real *x, const real *scale, const real *shift, real *y, real *stats, size h, size w,
      size c, size to, size pool, size step, double eps, size m),
     x, scale, shift, y, stats, h, w, c, to, pool, step, eps)
NORM(norm_backward, norm_block_backward,
     (const real *g, const real *x, const real *stats, const real *scale, const real *shift,
      real *x_bar, real *sums, size h, size w, size c, size to, size pool, size step, size m),
     g, x, stats, scale, shift, x_bar, sums, h, w, c, to, pool, step)
NORM(norm_pair, norm_block_pair,
     (const real *x, const real *x_t, const real *scale, const real *shift, const real *scale_t,
      const real *shift_t, real *y, real *y_t, real *stats, size h, size w, size c, size to,
      size pool, size step, double eps, size m),
     x, x_t, scale, shift, scale_t, shift_t, y, y_t, stats, h, w, c, to, pool, step, eps)
NORM(norm_pair_backward, norm_block_pair_backward,
     (const real *g, const real *g_t, const real *x, const real *x_t, const real *stats,
      const real *scale, const real *shift, const real *scale_t, real *x_bar, real *x_bar_t,
      real *sums, size h, size w, size c, size to, size pool, size step, size m),
     g, g_t, x, x_t, stats, scale, shift, scale_t, x_bar, x_bar_t, sums, h, w, c, to, pool, step)

/* The blocks of channels of all images, divided among threads. */
#define IMAGES(CALL)                                                                               \
    size blocks = (c + LANES - 1) / LANES, step = n * c;                                           \
    size in = h * w * c, out = (h / pool) * (w / pool) * c;                                        \
    _Pragma("omp parallel for if (n * in > MANY)") for (size q = 0; q < n * blocks; q++) {         \
        size i = q / blocks, k = q % blocks * LANES, m = least(LANES, c - k);                      \
        CALL;                                                                                      \
    }

void norm_relu_pool(const real *x, const real *scale, const real *shift, real *y, real *stats,
                    size n, size h, size w, size c, size pool, double eps) {
    IMAGES(norm(x + i * in + k, scale + k, shift + k, y + i * out + k, stats + i * c + k, h, w, c,
                c, pool, step, eps, m))
}

void norm_relu_pool_backward(const real *g, const real *x, const real *stats, const real *scale,
                             const real *shift, real *x_bar, real *sums, size n, size h, size w,
                             size c, size pool) {
    IMAGES(norm_backward(g + i * out + k, x + i * in + k, stats + i * c + k, scale + k, shift + k,
                         x_bar + i * in + k, sums + i * c + k, h, w, c, c, pool, step, m))
}

void norm_relu_pool_pair(const real *x, const real *scale, const real *shift, const real *scale_t,
                         const real *shift_t, real *y, real *stats, size n, size h, size w, size c,
                         size pool, double eps) {
    IMAGES(norm_pair(x + i * in + k, x + (n + i) * in + k, scale + k, shift + k, scale_t + k,
                     shift_t + k, y + i * out + k, y + (n + i) * out + k, stats + i * c + k, h, w,
                     c, c, pool, step, eps, m))
}

void norm_relu_pool_pair_backward(const real *g, const real *x, const real *stats,
                                  const real *scale, const real *shift, const real *scale_t,
                                  real *x_bar, real *sums, size n, size h, size w, size c,
                                  size pool){
    IMAGES(norm_pair_backward(g + i * out + k, g + (n + i) * out + k, x + i * in + k,
                              x + (n + i) * in + k, stats + i * c + k, scale + k, shift + k,
                              scale_t + k, x_bar + i * in + k, x_bar + (n + i) * in + k,
                              sums + i * c + k, h, w, c, c, pool, step, m))}

/* ---- Convolutions of few inputs, of stride 1 ----------------------------------------------------
 *
 * Kernels are (n_out, kh, kw, c). A patch's row of kw * c values is contiguous in a padded image.
 */

/* Pixels of a row that are computed at once, and weights whose gradients are summed at once: as
 * many as there are registers for LANES channels. */
#if VECTOR == 64
#define PIXELS 8
#define WEIGHTS 9
#elif VECTOR == 32
#define PIXELS 6
#define WEIGHTS 5
#else
#define PIXELS 2
#define WEIGHTS 3
#endif

typedef struct {
    size h, w, c, kh, kw, ph, pw, out_h, out_w, row, part, n_out, blocks;
} shape;

static shape shape_of(size h, size w, size c, size kh, size kw, size ph, size pw, size n_out) {
    shape s = {h, w, c, kh, kw, ph, pw, 0, 0, 0, 0, n_out, (n_out + LANES - 1) / LANES};
    s.out_h = h + 2 * ph - kh + 1;
    s.out_w = w + 2 * pw - kw + 1;
    s.row = (w + 2 * pw) * c;
    s.part = kw * c;
    return s;
}

/* A padded image, with some values after its end, so that pixels after a row's may be read. */
static real *padded(const real *x, shape s) {
    real *out = calloc((size_t)((s.h + 2 * s.ph) * s.row + PIXELS * s.c), sizeof(real));
    if (out == NULL) return NULL;
    if (x != NULL)
        for (size i = 0; i < s.h; i++)
            memcpy(out + (i + s.ph) * s.row + s.pw * s.c, x + i * s.w * s.c,
                   (size_t)(s.w * s.c) * sizeof(real));
    return out;
}

/* Per weight, and then the bias: all outputs, filled up with 0. */
static real *packed(const real *w, const real *bias, shape s) {
    size k = s.kh * s.part, wide = filled(s.n_out), bytes = (k + 1) * wide * (size)sizeof(real);
    real *out = aligned_alloc(64, (size_t)bytes);
    if (out == NULL) return NULL;
    memset(out, 0, (size_t)bytes);
    for (size o = 0; o < s.n_out; o++) {
        for (size q = 0; q < k; q++) out[q * wide + o] = w[o * k + q];
        out[k * wide + o] = bias[o];
    }
    return out;
}

/* The m channels from k on of a padded image; a pixel's stand `stride` after the last's. */
INLINE void convolve_block(const real *in, const real *weights, shape s, size k, real *out,
                           size stride, size m) {
    size wide = filled(s.n_out);
    const real *bias = weights + s.kh * s.part * wide + k;
    for (size i = 0; i < s.out_h; i++)
        for (size j = 0; j < s.out_w; j += PIXELS) {
            vector sum[PIXELS][BLOCK];
            UNROLLED for (size p = 0; p < PIXELS; p++)
                EACH
                    sum[p][v] = *(const vector *)(bias + v * LENGTH);
            for (size a = 0; a < s.kh; a++) {
                const real *from = in + (i + a) * s.row + j * s.c;
                const real *weight = weights + a * s.part * wide + k;
                for (size q = 0; q < s.part; q++, from++, weight += wide) {
                    vector values[BLOCK];
                    EACH
                        values[v] = *(const vector *)(weight + v * LENGTH);
                    UNROLLED for (size p = 0; p < PIXELS; p++)
                        EACH
                            sum[p][v] += from[p * s.c] * values[v];
                }
            }
            real *to = out + (i * s.out_w + j) * stride;
            UNROLLED for (size p = 0; p < PIXELS; p++)
                if (j + p < s.out_w)
                    EACH
                        STORE(sum[p][v], to + p * stride);
        }
}

static void convolve(const real *in, const real *weights, shape s, size k, real *out, size stride,
                     size m) {
    if (m == LANES)
        convolve_block(in, weights, s, k, out, stride, LANES);
    else
        convolve_block(in, weights, s, k, out, stride, m);
}

/* The gradients of the kernels, (kh * kw * c, n_out), of m channels. */
INLINE void weights_block(const real *in, const real *g, size stride, shape s, size m,
                          real *w_bar) {
    size k = s.kh * s.part;
    for (size first = 0; first < k; first += WEIGHTS) {
        size at[WEIGHTS];
        vector sum[WEIGHTS][BLOCK];
        for (size q = 0; q < WEIGHTS; q++) {
            size weight = least(first + q, k - 1);
            at[q] = weight / s.part * s.row + weight % s.part;
        }
        UNROLLED for (size q = 0; q < WEIGHTS; q++)
            EACH
                sum[q][v] = (vector){0};
        for (size i = 0; i < s.out_h; i++) {
            const real *from = in + i * s.row;
            const real *to = g + i * s.out_w * stride;
            for (size j = 0; j < s.out_w; j++, from += s.c, to += stride) {
                vector values[BLOCK];
                EACH
                    values[v] = LOAD(to);
                UNROLLED for (size q = 0; q < WEIGHTS; q++)
                    EACH
                        sum[q][v] += from[at[q]] * values[v];
            }
        }
        UNROLLED for (size q = 0; q < WEIGHTS; q++)
            if (first + q < k)
                EACH
                    STORE(sum[q][v], w_bar + (first + q) * s.n_out);
    }
}

static void weights_of(const real *in, const real *g, size stride, shape s, size m, real *w_bar) {
    if (m == LANES)
        weights_block(in, g, stride, s, LANES, w_bar);
    else
        weights_block(in, g, stride, s, m, w_bar);
}

/* Returns 0, or 1 if there was no memory; then the output is not complete. */
int few_inputs(const real *x, const real *w, const real *bias, real *y, size n, size h, size width,
               size c, size kh, size kw, size ph, size pw, size n_out) {
    shape s = shape_of(h, width, c, kh, kw, ph, pw, n_out);
    real *weights = packed(w, bias, s);
    if (weights == NULL) return 1;
    int failed = 0;
#pragma omp parallel for reduction(| : failed) if (n * s.out_h * s.out_w * n_out > MANY)
    for (size image = 0; image < n; image++) {
        real *in = padded(x + image * h * width * c, s);
        if (in == NULL) {
            failed |= 1;
            continue;
        }
        for (size b = 0; b < s.blocks; b++)
            convolve(in, weights, s, b * LANES, y + image * s.out_h * s.out_w * n_out + b * LANES,
                     n_out, least(LANES, n_out - b * LANES));
        free(in);
    }
    free(weights);
    return failed;
}

/* The gradients of the kernels, per image: (n, kh * kw * c, n_out). */
int few_inputs_weights(const real *x, const real *g, real *w_bar, size n, size h, size width,
                       size c, size kh, size kw, size ph, size pw, size n_out) {
    shape s = shape_of(h, width, c, kh, kw, ph, pw, n_out);
    int failed = 0;
#pragma omp parallel for reduction(| : failed) if (n * s.out_h * s.out_w * n_out > MANY)
    for (size image = 0; image < n; image++) {
        real *in = padded(x + image * h * width * c, s);
        if (in == NULL) {
            failed |= 1;
            continue;
        }
        for (size b = 0; b < s.blocks; b++)
            weights_of(in, g + image * s.out_h * s.out_w * n_out + b * LANES, n_out, s,
                       least(LANES, n_out - b * LANES),
                       w_bar + image * kh * s.part * n_out + b * LANES);
        free(in);
    }
    return failed;
}

/* The sum of what all patches, (out_h, out_w, stride), say of an image's pixels. */
static int fold(const real *patch, size stride, shape s, real *x_bar) {
    real *sum = padded(NULL, s);
    if (sum == NULL) return 1;
    for (size i = 0; i < s.out_h; i++)
        for (size j = 0; j < s.out_w; j++, patch += stride)
            for (size a = 0; a < s.kh; a++) {
                real *to = sum + (i + a) * s.row + j * s.c;
                for (size q = 0; q < s.part; q++) to[q] += patch[a * s.part + q];
            }
    for (size i = 0; i < s.h; i++)
        memcpy(x_bar + i * s.w * s.c, sum + (i + s.ph) * s.row + s.pw * s.c,
               (size_t)(s.w * s.c) * sizeof(real));
    free(sum);
    return 0;
}

int few_inputs_folded(const real *patches, real *x_bar, size n, size h, size width, size c, size kh,
                      size kw, size ph, size pw) {
    shape s = shape_of(h, width, c, kh, kw, ph, pw, 1);
    size k = kh * s.part;
    int failed = 0;
#pragma omp parallel for reduction(| : failed) if (n * s.out_h * s.out_w * k > MANY)
    for (size image = 0; image < n; image++)
        failed |=
            fold(patches + image * s.out_h * s.out_w * k, k, s, x_bar + image * h * width * c);
    return failed;
}

/* ---- A convolution of few inputs, normalized, rectified and pooled ------------------------------
 *
 * What the convolution makes is never stored: LANES channels of an image are computed at a time,
 * and once more for the derivatives, which is less work than to write and to read them. Without
 * tangents (null pointers) these are the first derivatives.
 */

int few_inputs_block(const real *x, const real *w, const real *w_t, const real *bias,
                     const real *bias_t, const real *scale, const real *scale_t, const real *shift,
                     const real *shift_t, real *y, real *y_t, real *stats, size n, size h,
                     size width, size c, size kh, size kw, size ph, size pw, size n_out, size pool,
                     double eps) {
    shape s = shape_of(h, width, c, kh, kw, ph, pw, n_out);
    size pixels = s.out_h * s.out_w, pooled = (s.out_h / pool) * (s.out_w / pool), step = n * n_out;
    real *weights = packed(w, bias, s), *weights_t = y_t ? packed(w_t, bias_t, s) : NULL;
    int failed = weights == NULL || (y_t && weights_t == NULL);
    if (failed) n = 0;
#pragma omp parallel reduction(| : failed) if (n * pixels * n_out > MANY && n > 1)
    {
        real *z = aligned_alloc(64, (size_t)(2 * pixels) * 64), *z_t = z + pixels * LANES;
        failed |= z == NULL;
#pragma omp for schedule(static)
        for (size image = 0; image < n; image++) {
            real *in = failed ? NULL : padded(x + image * h * width * c, s);
            failed |= in == NULL;
            if (failed) continue;
            for (size b = 0; b < s.blocks; b++) {
                size k = b * LANES, m = least(LANES, n_out - k), at = image * n_out + k;
                size to = image * pooled * n_out + k;
                convolve(in, weights, s, k, z, LANES, LANES);
                if (y_t) {
                    convolve(in, weights_t, s, k, z_t, LANES, LANES);
                    norm_pair(z, z_t, scale + k, shift + k, scale_t + k, shift_t + k, y + to,
                              y_t + to, stats + at, s.out_h, s.out_w, LANES, n_out, pool, step, eps,
                              m);
                } else {
                    norm(z, scale + k, shift + k, y + to, stats + at, s.out_h, s.out_w, LANES,
                         n_out, pool, step, eps, m);
                }
            }
            free(in);
        }
        free(z);
    }
    free(weights);
    free(weights_t);
    return failed;
}

/* A block's kernels, (n_out, kh * kw * c), with rows that are filled up. */
static real *filled_rows(const real *w, size n, size k) {
    real *out = aligned_alloc(64, (size_t)(n * filled(k)) * sizeof(real));
    for (size o = 0; out && o < n; o++)
        for (size q = 0; q < filled(k); q++) out[o * filled(k) + q] = q < k ? w[o * k + q] : 0;
    return out;
}

/* Adds left (rows, LANES) times right (inner, wide) to out (rows, wide); there is room
 * for PIXELS rows more. */
static void add_product(const real *left, const real *right, size rows, size inner, size wide,
                        real *out) {
    for (size k = 0; k < wide; k += LANES)
        for (size row = 0; row < rows; row += PIXELS) {
            vector sum[PIXELS][BLOCK];
            real *to = out + row * wide + k;
            UNROLLED for (size r = 0; r < PIXELS; r++)
                EACH
                    sum[r][v] = *(vector *)(to + r * wide + v * LENGTH);
            const real *from = left + row * LANES;
            for (size q = 0; q < inner; q++) {
                vector values[BLOCK];
                EACH
                    values[v] = *(const vector *)(right + q * wide + k + v * LENGTH);
                UNROLLED for (size r = 0; r < PIXELS; r++)
                    EACH
                        sum[r][v] += from[r * LANES + q] * values[v];
            }
            UNROLLED for (size r = 0; r < PIXELS; r++)
                EACH
                    *(vector *)(to + r * wide + v * LENGTH) = sum[r][v];
        }
}

int few_inputs_block_adjoint(const real *g, const real *g_t, const real *x, const real *w,
                             const real *w_t, const real *bias, const real *bias_t,
                             const real *scale, const real *scale_t, const real *shift,
                             const real *stats, real *x_bar, real *w_bar, real *bias_bar,
                             real *sums, size n, size h, size width, size c, size kh, size kw,
                             size ph, size pw, size n_out, size pool) {
    shape s = shape_of(h, width, c, kh, kw, ph, pw, n_out);
    size pixels = s.out_h * s.out_w, pooled = (s.out_h / pool) * (s.out_w / pool), step = n * n_out;
    size k_all = kh * s.part, wide = filled(k_all), room = (pixels + PIXELS) * LANES;
    real *weights = packed(w, bias, s), *weights_t = g_t ? packed(w_t, bias_t, s) : NULL;
    real *rows = filled_rows(w, n_out, k_all),
         *rows_t = g_t ? filled_rows(w_t, n_out, k_all) : NULL;
    int failed = !weights || !rows || (g_t && (!weights_t || !rows_t));
    if (failed) n = 0;
#pragma omp parallel reduction(| : failed) if (n * pixels * n_out > MANY && n > 1)
    {
        real *z = aligned_alloc(64, (size_t)(4 * room + (x_bar ? (pixels + PIXELS) * wide : 0)) *
                                        sizeof(real));
        real *z_t = z + room, *z_bar = z_t + room, *z_bar_t = z_bar + room,
             *patches = z_bar_t + room;
        failed |= z == NULL;
        if (z) memset(z, 0, (size_t)(4 * room) * sizeof(real));
#pragma omp for schedule(static)
        for (size image = 0; image < n; image++) {
            real *in = failed ? NULL : padded(x + image * h * width * c, s);
            failed |= in == NULL;
            if (failed) continue;
            if (x_bar) memset(patches, 0, (size_t)((pixels + PIXELS) * wide) * sizeof(real));
            for (size b = 0; b < s.blocks; b++) {
                size k = b * LANES, m = least(LANES, n_out - k), at = image * n_out + k;
                size from = image * pooled * n_out + k;
                real *moved = g_t ? z_bar_t : z_bar, *bias_sums = bias_bar + at;
                convolve(in, weights, s, k, z, LANES, LANES);
                if (g_t) {
                    convolve(in, weights_t, s, k, z_t, LANES, LANES);
                    norm_pair_backward(g + from, g_t + from, z, z_t, stats + at, scale + k,
                                       shift + k, scale_t + k, z_bar, z_bar_t, sums + at, s.out_h,
                                       s.out_w, LANES, n_out, pool, step, m);
                } else {
                    norm_backward(g + from, z, stats + at, scale + k, shift + k, z_bar, sums + at,
                                  s.out_h, s.out_w, LANES, n_out, pool, step, m);
                }
                weights_of(in, moved, LANES, s, m, w_bar + image * k_all * n_out + k);
                real sum[LANES] = {0};
                for (size q = 0; q < pixels; q++)
                    for (size l = 0; l < LANES; l++) sum[l] += moved[q * LANES + l];
                for (size l = 0; l < m; l++) bias_sums[l] = sum[l];
                if (x_bar) {
                    add_product(moved, rows + k * wide, pixels, m, wide, patches);
                    if (g_t) add_product(z_bar, rows_t + k * wide, pixels, m, wide, patches);
                }
            }
            if (x_bar) failed |= fold(patches, wide, s, x_bar + image * h * width * c);
            free(in);
        }
        free(z);
    }
    free(weights);
    free(weights_t);
    free(rows);
    free(rows_t);
    return failed;
}

/* ---- Adam, see optimizers.py: a state is (3, n), of parameters and both moments ----------------
 */

/* The loops over parameters are functions of their own: of one that OpenMP divides among threads,
 * gcc lets a check at run time decide whether arrays overlap, and then computes value by value. */
#define AT_ONCE 4096

typedef struct {
    real rate, inverse2, eps, decay, keep1, gain1, keep2, gain2, inverse1, half;
} adam_numbers;

static adam_numbers numbers_of(double rate, double correction2, double beta1, double beta2,
                               double eps, double decay) {
    return (adam_numbers){.rate = (real)rate,
                          .inverse2 = (real)(1 / correction2),
                          .eps = (real)eps,
                          .decay = (real)decay,
                          .keep1 = (real)beta1,
                          .gain1 = (real)(1 - beta1),
                          .keep2 = (real)beta2,
                          .gain2 = (real)(1 - beta2),
                          .inverse1 = (real)(1 / (1 - beta1)),
                          .half = (real)(0.5 / correction2)};
}

static void adam_part(const real *theta, const real *grad, real *new, size n, size m_values,
                      adam_numbers a) {
    const real *m = theta + n, *v = theta + 2 * n;
    real *new_m = new + n, *new_v = new + 2 * n;
#pragma omp simd
    for (size i = 0; i < m_values; i++) {
        real g = grad[i] + a.decay * theta[i];
        real m_new = m[i] + a.gain1 * (g - m[i]);
        real v_new = a.keep2 * v[i] + a.gain2 * g * g;
        new_m[i] = m_new;
        new_v[i] = v_new;
        new[i] = theta[i] - a.rate * m_new / (SQRT(v_new * a.inverse2) + a.eps);
    }
}

void adam(const real *state, const real *grad, real *new, size n, double rate, double correction2,
          double beta1, double beta2, double eps, double decay) {
    adam_numbers a = numbers_of(rate, correction2, beta1, beta2, eps, decay);
#pragma omp parallel for schedule(static) if (n > MANY)
    for (size i = 0; i < n; i += AT_ONCE)
        adam_part(state + i, grad + i, new + i, n, least(AT_ONCE, n - i), a);
}

static void adam_adjoint_part(const real *state, const real *new, const real *bar, real *grad_bar,
                              real *state_bar, size n, size m_values, adam_numbers a) {
    const real *m_old = state + n, *m = new + n, *v = new + 2 * n;
    const real *of_m = bar + n, *of_v = bar + 2 * n;
    real *m_old_bar = state_bar + n, *v_old_bar = state_bar + 2 * n;
#pragma omp simd
    for (size i = 0; i < m_values; i++) {
        real grad = m_old[i] + a.inverse1 * (m[i] - m_old[i]);
        real root = SQRT(v[i] * a.inverse2), under = root + a.eps;
        real scaled = bar[i] * a.rate / under, m_bar = of_m[i] - scaled;
        real slope = scaled * m[i] * a.half / (root * under);
        /* v = 0: every gradient was 0 up to here, see optimizers.py. */
        real v_bar = of_v[i] + (root <= 0 ? 0 : slope);
        real of_grad = a.gain1 * m_bar + grad * v_bar * (2 * a.gain2);
        grad_bar[i] = of_grad;
        state_bar[i] = bar[i] + a.decay * of_grad;
        m_old_bar[i] = a.keep1 * m_bar;
        v_old_bar[i] = a.keep2 * v_bar;
    }
}

/* state_bar may be bar: each value depends on those at its own index. */
void adam_adjoint(const real *state, const real *new, const real *bar, real *grad_bar,
                  real *state_bar, size n, double rate, double correction2, double beta1,
                  double beta2, double eps, double decay) {
    adam_numbers a = numbers_of(rate, correction2, beta1, beta2, eps, decay);
#pragma omp parallel for schedule(static) if (n > MANY)
    for (size i = 0; i < n; i += AT_ONCE)
        adam_adjoint_part(state + i, new + i, bar + i, grad_bar + i, state_bar + i, n,
                          least(AT_ONCE, n - i), a);
}

/* Add x to out. */
static void add(const real *x, real *out, size n) {
#pragma omp simd
    for (size i = 0; i < n; i++) out[i] += x[i];
}

/* ---- A network's blocks: convolution, normalization, rectifier, pooling; then features ----------
 *
 * The first block is of few inputs, the others are Winograd's. One call computes all of them, or
 * their derivatives, so that nothing is left of the caller's time between. Tangents are null
 * pointers where there are none.
 */

typedef struct {
    size h, w, c, kh, kw, ph, pw, n_out, pool, has_bias, side, part;
    double eps;
} block;

#define MOST_BLOCKS 16

typedef struct {
    real *w, *bias, *scale, *shift;
} parameters;

/* What a block keeps for its derivatives; values, and then tangents. */
typedef struct {
    real *y, *stats, *z, *v, *v_t, *back, *back_t;
} kept_arrays;

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

INLINE size most(size a, size b) { return a > b ? a : b; }
static size pixels_of(block b) {
    return (b.h + 2 * b.ph - b.kh + 1) / b.pool * ((b.w + 2 * b.pw - b.kw + 1) / b.pool);
}
static size tiles_of(block b) {
    return ((b.h + b.side - 1) / b.side) * ((b.w + b.side - 1) / b.side);
}

/* The pieces of a vector of parameters; biases that there are not are zeros. */
static void pieces_of(const real *theta, const block *b, size n_blocks, real *zeros,
                      parameters *out) {
    real *at = (real *)theta;
    for (size i = 0; i < n_blocks; i++) {
        size n_out = b[i].n_out;
        out[i].w = at;
        at += n_out * b[i].kh * b[i].kw * b[i].c;
        out[i].bias = b[i].has_bias ? at : zeros;
        if (b[i].has_bias) at += n_out;
        out[i].scale = at;
        out[i].shift = at + n_out;
        at += 2 * n_out;
    }
}

static void lay_out(arena *a, const block *b, size n_blocks, size n, size copies, kept_arrays *k) {
    for (size i = 0; i < n_blocks; i++) {
        size n_out = b[i].n_out, c = b[i].c, products = PRODUCTS(b[i].side);
        k[i].y = take(a, copies * n * pixels_of(b[i]) * n_out);
        k[i].stats = take(a, 2 * copies * n * n_out);
        if (!i) continue;
        k[i].z = take(a, copies * n * b[i].h * b[i].w * n_out);
        k[i].v = take(a, products * n * tiles_of(b[i]) * filled(c));
        k[i].back = take(a, products * n_out * filled(c));
        k[i].v_t = k[i].back_t = NULL;
        if (copies == 1) continue;
        k[i].v_t = take(a, products * n * tiles_of(b[i]) * filled(c));
        k[i].back_t = take(a, products * n_out * filled(c));
    }
}

/* What a block needs on the way forwards, and on the way back. */
typedef struct {
    real *u, *u_t, *room;
} forward_arrays;
typedef struct {
    real *z_bar, *sums, *u_bar, *room, *w_bar, *bias_bar, *w_sum;
} backward_arrays;

static forward_arrays forward_arrays_of(arena *a, block b, size copies) {
    size of_u = PRODUCTS(b.side) * b.c * filled(b.n_out);
    return (forward_arrays){
        take(a, of_u), copies == 2 ? take(a, of_u) : NULL,
        take(a, PRODUCTS(b.side) * b.part * tiles_of(b) * filled(b.n_out))};
}

static backward_arrays backward_arrays_of(arena *a, block b, size n, size copies, int is_first) {
    size products = PRODUCTS(b.side), of_w = b.kh * b.kw * b.c * b.n_out;
    backward_arrays out = {.sums = take(a, 2 * n * b.n_out)};
    if (is_first) {
        out.w_bar = take(a, n * of_w);
        out.bias_bar = take(a, n * b.n_out);
        out.w_sum = take(a, of_w);
    } else {
        out.z_bar = take(a, copies * n * b.h * b.w * b.n_out);
        out.u_bar = take(a, products * b.n_out * b.c);
        out.room = take(a, products * b.part * tiles_of(b) *
                               (copies * filled(b.n_out) + filled(b.c)));
    }
    return out;
}

static size zeros_of(const block *b, size n_blocks) {
    size out = 0;
    for (size i = 0; i < n_blocks; i++) out = most(out, b[i].n_out);
    return out;
}

/* A sensitivity to the outputs of any block. */
static size sensitivity_of(const block *b, size n_blocks, size n, size copies) {
    size out = 0;
    for (size i = 0; i < n_blocks; i++) out = most(out, copies * n * pixels_of(b[i]) * b[i].n_out);
    return out;
}

/* The values that are kept, and those that a pass forwards and one backwards need beside. */
void blocks_sizes(const block *b, size *sizes, size n_blocks, size n, size copies) {
    kept_arrays k[MOST_BLOCKS];
    arena kept = {NULL, 0};
    lay_out(&kept, b, n_blocks, n, copies, k);
    size forward = 0, backward = 0;
    for (size i = 0; i < n_blocks; i++) {
        arena one = {NULL, 0}, other = {NULL, 0};
        if (i) forward_arrays_of(&one, b[i], copies);
        backward_arrays_of(&other, b[i], n, copies, i == 0);
        forward = most(forward, one.used), backward = most(backward, other.used);
    }
    size zeros = filled(zeros_of(b, n_blocks));
    sizes[0] = kept.used;
    sizes[1] = zeros + forward;
    sizes[2] = zeros + 2 * filled(sensitivity_of(b, n_blocks, n, copies)) + backward;
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

/* Features (copies * n, n_out * pixels) of images x. Returns 1 if memory was short, else 0. */
int blocks_forward(const block *b, const real *theta, const real *theta_t, const real *x,
                   real *kept, real *scratch, real *features, size n_blocks, size n) {
    size copies = theta_t ? 2 : 1, n_zeros = zeros_of(b, n_blocks);
    kept_arrays k[MOST_BLOCKS];
    parameters p[MOST_BLOCKS], p_t[MOST_BLOCKS] = {{0}};
    arena a = {kept, 0}, beside = {scratch, 0};
    lay_out(&a, b, n_blocks, n, copies, k);
    real *zeros = take(&beside, n_zeros);
    memset(zeros, 0, (size_t)n_zeros * sizeof(real));
    pieces_of(theta, b, n_blocks, zeros, p);
    if (theta_t) pieces_of(theta_t, b, n_blocks, zeros, p_t);
    for (size i = 0; i < n_blocks; i++) {
        size out = n * pixels_of(b[i]) * b[i].n_out, in = n * b[i].h * b[i].w * b[i].c;
        if (i == 0) {
            if (few_inputs_block(x, p[0].w, p_t[0].w, p[0].bias, p_t[0].bias, p[0].scale,
                                 p_t[0].scale, p[0].shift, p_t[0].shift, k[0].y,
                                 theta_t ? k[0].y + out : NULL, k[0].stats, n, b[0].h, b[0].w,
                                 b[0].c, b[0].kh, b[0].kw, b[0].ph, b[0].pw, b[0].n_out, b[0].pool,
                                 b[0].eps))
                return 1;
            continue;
        }
        const real *from = k[i - 1].y;
        size n_out = b[i].n_out, h = b[i].h, w = b[i].w, c = b[i].c;
        arena own = beside;
        forward_arrays f = forward_arrays_of(&own, b[i], copies);
        winograd_kernels(p[i].w, f.u, k[i].back, n_out, c, b[i].side);
        if (theta_t) winograd_kernels(p_t[i].w, f.u_t, k[i].back_t, n_out, c, b[i].side);
        winograd(from, theta_t ? from + in : NULL, f.u, f.u_t, p[i].bias, p_t[i].bias, k[i].z,
                 theta_t ? k[i].z + n * h * w * n_out : NULL, k[i].v, k[i].v_t, f.room, n, h, w, c,
                 n_out, b[i].part, b[i].side);
        if (theta_t)
            norm_relu_pool_pair(k[i].z, p[i].scale, p[i].shift, p_t[i].scale, p_t[i].shift, k[i].y,
                                k[i].stats, n, h, w, n_out, b[i].pool, b[i].eps);
        else
            norm_relu_pool(k[i].z, p[i].scale, p[i].shift, k[i].y, k[i].stats, n, h, w, n_out,
                           b[i].pool, b[i].eps);
    }
    block last = b[n_blocks - 1];
    transposed(k[n_blocks - 1].y, features, copies * n, pixels_of(last), last.n_out);
    return 0;
}

/* From sensitivities to features, the gradient of the parameters and, unless x_bar is null, of x;
 * with tangents, the tangents of both. */
int blocks_backward(const block *b, const real *theta, const real *theta_t, const real *x,
                    real *kept, real *scratch, const real *features_bar, real *x_bar, real *grad,
                    size n_blocks, size n) {
    size copies = theta_t ? 2 : 1, n_zeros = zeros_of(b, n_blocks);
    size of_bar = sensitivity_of(b, n_blocks, n, copies);
    kept_arrays k[MOST_BLOCKS];
    parameters p[MOST_BLOCKS], p_t[MOST_BLOCKS] = {{0}}, of_p[MOST_BLOCKS];
    arena a = {kept, 0}, beside = {scratch, 0};
    lay_out(&a, b, n_blocks, n, copies, k);
    real *zeros = take(&beside, n_zeros);
    memset(zeros, 0, (size_t)n_zeros * sizeof(real));
    real *g = take(&beside, of_bar), *g_next = take(&beside, of_bar);
    pieces_of(theta, b, n_blocks, zeros, p);
    if (theta_t) pieces_of(theta_t, b, n_blocks, zeros, p_t);
    pieces_of(grad, b, n_blocks, NULL, of_p);
    block last = b[n_blocks - 1];
    transposed(features_bar, g, copies * n, last.n_out, pixels_of(last));
    for (size i = n_blocks - 1; i >= 0; i--) {
        size n_out = b[i].n_out, h = b[i].h, w = b[i].w, c = b[i].c, of_z = n * h * w * n_out;
        arena own = beside;
        backward_arrays f = backward_arrays_of(&own, b[i], n, copies, i == 0);
        if (i == 0) {
            size inputs = b[0].kh * b[0].kw * c;
            if (few_inputs_block_adjoint(
                    g, theta_t ? g + n * pixels_of(b[0]) * n_out : NULL, x, p[0].w, p_t[0].w,
                    p[0].bias, p_t[0].bias, p[0].scale, p_t[0].scale, p[0].shift, k[0].stats,
                    x_bar, f.w_bar, f.bias_bar, f.sums, n, h, w, c, b[0].kh, b[0].kw, b[0].ph,
                    b[0].pw, n_out, b[0].pool))
                return 1;
            sum_rows(f.w_bar, f.w_sum, n, inputs * n_out);
            transposed(f.w_sum, of_p[0].w, 1, inputs, n_out);
            if (b[0].has_bias) sum_rows(f.bias_bar, of_p[0].bias, n, n_out);
        } else {
            if (theta_t)
                norm_relu_pool_pair_backward(g, k[i].z, k[i].stats, p[i].scale, p[i].shift,
                                             p_t[i].scale, f.z_bar, f.sums, n, h, w, n_out,
                                             b[i].pool);
            else
                norm_relu_pool_backward(g, k[i].z, k[i].stats, p[i].scale, p[i].shift, f.z_bar,
                                        f.sums, n, h, w, n_out, b[i].pool);
            memset(f.u_bar, 0, (size_t)(PRODUCTS(b[i].side) * n_out * c) * sizeof(real));
            winograd_adjoint(f.z_bar, theta_t ? f.z_bar + of_z : NULL, k[i].v, k[i].v_t, k[i].back,
                             k[i].back_t, g_next, theta_t ? g_next + n * h * w * c : NULL, f.u_bar,
                             f.room, n, h, w, c, n_out, b[i].part, b[i].side);
            winograd_kernels_adjoint(f.u_bar, of_p[i].w, n_out, c, b[i].side);
            if (b[i].has_bias)
                sum_rows(f.z_bar + (copies - 1) * of_z, of_p[i].bias, n * h * w, n_out);
            real *done = g;
            g = g_next, g_next = done;
        }
        sum_rows(f.sums, of_p[i].scale, n, n_out);
        sum_rows(f.sums + n * n_out, of_p[i].shift, n, n_out);
    }
    return 0;
}

/* ---- Affine layers: features (n, d) to (n, k), by kernels (k, d) and a bias ---------------------
 */

typedef struct {
    const real *w, *bias; /* bias is null if there is none */
    size d, k;
} affine;

/* Samples and outputs whose products are summed at once. */
#define SAMPLES 2
#define OUTPUTS 4
/* Samples for which it is worth it to make panels of kernels. */
#define SAMPLES_FOR_PANELS 8

static real sum_of(vector x) {
    real part[LENGTH];
    *(vector *)part = x;
    for (size half = LENGTH / 2; half; half /= 2)
        for (size l = 0; l < half; l++) part[l] += part[l + half];
    return part[0];
}

/* Add the outputs of M samples and N kernels. */
INLINE void scores_of(const real *x, const real *w, real *scores, size d, size k, size M, size N) {
    vector sum[SAMPLES][OUTPUTS];
    UNROLLED for (size i = 0; i < M; i++)
        UNROLLED for (size j = 0; j < N; j++) sum[i][j] = (vector){0};
    for (size l = 0; l < d; l += LENGTH) {
        vector values[SAMPLES];
        UNROLLED for (size i = 0; i < M; i++) values[i] = load(x + i * d + l, d - l);
        UNROLLED for (size j = 0; j < N; j++) {
            vector kernel = load(w + j * d + l, d - l);
            UNROLLED for (size i = 0; i < M; i++) sum[i][j] += values[i] * kernel;
        }
    }
    UNROLLED for (size i = 0; i < M; i++)
        UNROLLED for (size j = 0; j < N; j++) scores[i * k + j] += sum_of(sum[i][j]);
}

/* M rows of out (rows, d), from column i on: the products of a, (M, m_rows) with these strides, and
 * as many columns of x (m_rows, x_stride); or added to out. */
INLINE void combination(const real *a, size row_stride, size stride, const real *x, size x_stride,
                        real *out, size m_rows, size d, size i, int adds, size M) {
    size m = least(LANES, d - i);
    vector sum[ROWS][BLOCK];
    UNROLLED for (size r = 0; r < M; r++) EACH sum[r][v] = (vector){0};
    for (size j = 0; j < m_rows; j++) {
        vector row[BLOCK];
        EACH row[v] = LOAD(x + j * x_stride);
        UNROLLED for (size r = 0; r < M; r++)
            EACH sum[r][v] += a[r * row_stride + j * stride] * row[v];
    }
    UNROLLED for (size r = 0; r < M; r++) EACH {
        real *to = out + r * d + i;
        vector value = sum[r][v];
        if (adds) value += LOAD(to);
        STORE(value, to);
    }
}

/* Rows of x whose products are summed at once: they fit the cache, and rounding adds up less. */
#define ROWS_AT_ONCE 512

/* out (rows, d): the products of a, (rows, m_rows) with these strides, and x (m_rows, d), or of the
 * panels of x, see `panels_of`; or added to out. */
static void combine(const real *a, size row_stride, size stride, const real *x, int in_panels,
                    real *out, size rows, size m_rows, size d, int adds) {
    size x_stride = in_panels ? LANES : d, column = in_panels ? m_rows : 1;
#pragma omp parallel for collapse(2) schedule(static) if (rows * m_rows * d > 8 * MANY)
    for (size first_row = 0; first_row < rows; first_row += ROWS)
        for (size i = 0; i < d; i += LANES)
            for (size j = 0; j < m_rows; j += ROWS_AT_ONCE) {
                const real *from = x + i * column + j * x_stride;
                size m = least(ROWS_AT_ONCE, m_rows - j);
                size r = first_row, end = least(first_row + ROWS, rows);
#define SOME(M)                                                                                    \
    for (; end - r >= M; r += M)                                                                   \
        combination(a + r * row_stride + j * stride, row_stride, stride, from, x_stride,           \
                    out + r * d, m, d, i, adds || j, M);
                SOME(ROWS)
                SOME(4)
                SOME(1)
#undef SOME
            }
}

/* Kernels (k, d), transposed: panels of LANES columns, (k / LANES, d, LANES), the last filled up. */
static void panels_of(const real *w, real *out, size k, size d) {
#pragma omp parallel for schedule(static) if (k * d > 8 * MANY)
    for (size first_row = 0; first_row < k; first_row += LANES) {
        size m = least(LANES, k - first_row);
        const real *from = w + first_row * d;
        real *panel = out + first_row * d;
        for (size j = 0; j < d; j++) {
            for (size l = 0; l < m; l++) panel[j * LANES + l] = from[l * d + j];
            for (size l = m; l < LANES; l++) panel[j * LANES + l] = 0;
        }
    }
}

/* Add to scores (n, k) the products of features x and kernels; panels are null or the kernels'. */
static void score(const real *x, affine a, const real *panels, real *scores, size n) {
    size d = a.d, k = a.k;
    if (panels) {
        combine(x, d, 1, panels, 1, scores, n, d, k, 1);
        return;
    }
#pragma omp parallel for schedule(static) if (n * d * k > 8 * MANY)
    for (size j = 0; j < k; j += OUTPUTS)
        for (size i = 0; i < n; i += SAMPLES) {
            const real *own = x + i * d, *w = a.w + j * d;
            real *to = scores + i * k + j;
            if (n - i >= SAMPLES && k - j >= OUTPUTS)
                scores_of(own, w, to, d, k, SAMPLES, OUTPUTS);
            else
                for (size r = 0; r < least(SAMPLES, n - i); r++)
                    for (size c = 0; c < least(OUTPUTS, k - j); c++)
                        scores_of(own + r * d, w + c * d, to + r * k + c, d, k, 1, 1);
        }
}

static void begin_with_bias(affine a, real *scores, size n) {
    for (size i = 0; i < n; i++)
        for (size j = 0; j < a.k; j++) scores[i * a.k + j] = a.bias ? a.bias[j] : 0;
}

/* Outputs and, unless out_t is null, their tangents; x_t is null if x does not move. The room is
 * that of the panels. */
static void affine_forward(const real *x, const real *x_t, affine a, affine a_t, real *out,
                           real *out_t, real *room, size n) {
    real *panels = n >= SAMPLES_FOR_PANELS ? room : NULL;
    begin_with_bias(a, out, n);
    if (panels) panels_of(a.w, panels, a.k, a.d);
    score(x, a, panels, out, n);
    if (!out_t) return;
    begin_with_bias(a_t, out_t, n);
    if (x_t) score(x_t, a, panels, out_t, n);
    if (panels) panels_of(a_t.w, panels, a.k, a.d);
    score(x, a_t, panels, out_t, n);
}

/* From sensitivities g to outputs, the gradient of kernels and bias; or, unless g_t is null, its
 * tangent. And those to x, unless x_bar or x_t_bar is null. */
static void affine_backward(const real *g, const real *g_t, const real *x, const real *x_t,
                            affine a, affine a_t, real *x_bar, real *x_t_bar, real *w_bar,
                            size n) {
    const real *last = g_t ? g_t : g;
    size d = a.d, k = a.k;
    combine(last, 1, k, x, 0, w_bar, k, n, d, 0);
    if (g_t && x_t) combine(g, 1, k, x_t, 0, w_bar, k, n, d, 1);
    if (a.bias) sum_rows(last, w_bar + k * d, n, k);
    if (x_bar) combine(g, k, 1, a.w, 0, x_bar, n, k, d, 0);
    if (!x_t_bar) return;
    combine(g_t, k, 1, a.w, 0, x_t_bar, n, k, d, 0);
    combine(g, k, 1, a_t.w, 0, x_t_bar, n, k, d, 1);
}

/* ---- Hidden layers of tables: affine, normalization over features if they have it, rectifier ----
 *
 * With u the normalized values, divided by the root of their number, as in layers.py.
 */

typedef struct {
    size d, k, has_bias, has_norm;
    double eps;
} hidden;

#define MOST_HIDDEN 16

/* What a hidden layer keeps: outputs and u, values and then tangents; r, and slopes. */
typedef struct {
    real *out, *u, *r, *slope;
} kept_hidden;

typedef struct {
    affine a;
    const real *scale, *shift;
} hidden_parameters;

static hidden_parameters parameters_of(const real *theta, hidden h) {
    const real *bias = theta + h.k * h.d, *scale = bias + (h.has_bias ? h.k : 0);
    return (hidden_parameters){{theta, h.has_bias ? bias : NULL, h.d, h.k}, scale, scale + h.k};
}

static size n_parameters_of(hidden h) {
    return h.k * h.d + (h.has_bias ? h.k : 0) + (h.has_norm ? 2 * h.k : 0);
}

static kept_hidden kept_hidden_of(arena *a, hidden h, size n, size copies) {
    kept_hidden out = {.out = take(a, copies * n * h.k)};
    if (!h.has_norm) return out;
    out.u = take(a, copies * n * h.k);
    out.r = take(a, n);
    out.slope = take(a, n);
    return out;
}

static real total_of(const real *x, size k) {
    real out = 0;
#pragma omp simd reduction(+ : out)
    for (size j = 0; j < k; j++) out += x[j];
    return out;
}

static real product_of(const real *x, const real *y, size k) {
    real out = 0;
#pragma omp simd reduction(+ : out)
    for (size j = 0; j < k; j++) out += x[j] * y[j];
    return out;
}

/* Of one sample: z, and z_t unless it is null, become what scale and shift make of u. */
static void norm_features(real *z, real *z_t, real *u, real *u_t, real *r, real *slope,
                          hidden_parameters p, hidden_parameters p_t, size k, double eps) {
    real root = SQRT((real)k), mean = total_of(z, k) / (real)k;
#pragma omp simd
    for (size j = 0; j < k; j++) u[j] = z[j] - mean;
    *r = 1 / SQRT(product_of(u, u, k) + (real)((double)k * eps));
#pragma omp simd
    for (size j = 0; j < k; j++) u[j] *= *r;
#pragma omp simd
    for (size j = 0; j < k; j++) z[j] = p.shift[j] + u[j] * p.scale[j] * root;
    if (!z_t) return;
    mean = total_of(z_t, k) / (real)k;
#pragma omp simd
    for (size j = 0; j < k; j++) u_t[j] = (z_t[j] - mean) * *r;
    *slope = product_of(u, u_t, k);
#pragma omp simd
    for (size j = 0; j < k; j++) {
        u_t[j] -= u[j] * *slope;
        z_t[j] = p_t.shift[j] + (u_t[j] * p.scale[j] + u[j] * p_t.scale[j]) * root;
    }
}

/* Of one sample: a sensitivity s to u becomes that to z, but for r; of_u is the sum of s u. */
static void project(real *s, const real *u, real of_u, size k) {
    real mean = total_of(s, k) / (real)k;
#pragma omp simd
    for (size j = 0; j < k; j++) s[j] -= mean + u[j] * of_u;
}

/* Of one sample: the sensitivity g to the outputs becomes that to z, and the gradient of scale and
 * shift is added to theirs. */
static void norm_features_backward(real *g, const real *u, real r, hidden_parameters p,
                                   real *scale_bar, real *shift_bar, size k) {
    real root = SQRT((real)k);
#pragma omp simd
    for (size j = 0; j < k; j++) {
        scale_bar[j] += g[j] * u[j] * root;
        shift_bar[j] += g[j];
        g[j] *= p.scale[j];
    }
    project(g, u, product_of(g, u, k), k);
#pragma omp simd
    for (size j = 0; j < k; j++) g[j] *= r * root;
}

/* The same with tangents; what is added is the tangent of the gradient. */
static void norm_features_pair_backward(real *g, real *g_t, const real *u, const real *u_t, real r,
                                        real slope, hidden_parameters p, hidden_parameters p_t,
                                        real *scale_bar, real *shift_bar, size k) {
    real root = SQRT((real)k);
#pragma omp simd
    for (size j = 0; j < k; j++) {
        scale_bar[j] += (g_t[j] * u[j] + g[j] * u_t[j]) * root;
        shift_bar[j] += g_t[j];
        g_t[j] = g_t[j] * p.scale[j] + g[j] * p_t.scale[j];
        g[j] *= p.scale[j];
    }
    real of_u = product_of(g, u, k);
    project(g_t, u, product_of(g_t, u, k) + product_of(g, u_t, k), k);
    project(g, u, of_u, k);
#pragma omp simd
    for (size j = 0; j < k; j++) {
        g[j] *= r * root;
        g_t[j] = (g_t[j] - u_t[j] * of_u) * (r * root) - g[j] * slope;
    }
}

/* Make zeros of the values where x is not above 0. What is not a number stays so. */
static void rectify(const real *x, real *values, size n) {
#pragma omp simd
    for (size i = 0; i < n; i++) values[i] = x[i] <= 0 ? 0 : values[i];
}

static void hidden_forward(hidden h, const real *theta, const real *theta_t, const real *x,
                           const real *x_t, kept_hidden kept, real *room, size n) {
    size k = h.k, all = n * k;
    hidden_parameters p = parameters_of(theta, h), p_t = {0};
    real *out = kept.out, *out_t = NULL;
    if (theta_t) p_t = parameters_of(theta_t, h), out_t = out + all;
    affine_forward(x, x_t, p.a, p_t.a, out, out_t, room, n);
    for (size i = 0; i < n && h.has_norm; i++) {
        size at = i * k;
        norm_features(out + at, out_t ? out_t + at : NULL, kept.u + at,
                      out_t ? kept.u + all + at : NULL, kept.r + i, kept.slope + i, p, p_t, k,
                      h.eps);
    }
    if (out_t) rectify(out, out_t, all);
    rectify(out, out, all);
}

/* From sensitivities to outputs, g and g_t, which it writes over. */
static void hidden_backward(hidden h, const real *theta, const real *theta_t, const real *x,
                            const real *x_t, kept_hidden kept, real *g, real *g_t, real *x_bar,
                            real *x_t_bar, real *bar, size n) {
    size k = h.k, all = n * k;
    hidden_parameters p = parameters_of(theta, h), p_t = {0};
    if (theta_t) p_t = parameters_of(theta_t, h);
    rectify(kept.out, g, all);
    if (g_t) rectify(kept.out, g_t, all);
    if (h.has_norm) {
        real *scale_bar = bar + (p.scale - theta), *shift_bar = scale_bar + k;
        memset(scale_bar, 0, (size_t)(2 * k) * sizeof(real));
        for (size i = 0; i < n; i++) {
            real *own = g + i * k, *u = kept.u + i * k;
            if (g_t)
                norm_features_pair_backward(own, g_t + i * k, u, u + all, kept.r[i], kept.slope[i],
                                            p, p_t, scale_bar, shift_bar, k);
            else
                norm_features_backward(own, u, kept.r[i], p, scale_bar, shift_bar, k);
        }
    }
    affine_backward(g, g_t, x, x_t, p.a, p_t.a, x_bar, x_t_bar, bar, n);
}

/* ---- The cross-entropy of a classifier's scores -------------------------------------------------
 */

/* The gradient g of the mean cross-entropy in the scores, (n, k), against labels or, if these are
 * null, soft ones, (n, k). If there are tangents of the scores, g_t and, unless it is null, the
 * derivative in soft labels, soft_bar. Returns 2 if a label is none of the k classes, else 0. */
static int cross_entropy(const real *scores, const real *scores_t, const int64_t *labels,
                         const real *soft, real *g, real *g_t, real *soft_bar, size n, size k) {
    for (size i = 0; i < n; i++) {
        const real *s = scores + i * k, *s_t = scores_t ? scores_t + i * k : NULL;
        const real *y = soft ? soft + i * k : NULL;
        real top = s[0], sum = 0, total = 0, mean = 0, share = 1 / (real)n;
        for (size j = 1; j < k; j++) top = s[j] > top ? s[j] : top;
        for (size j = 0; j < k; j++) sum += g[i * k + j] = EXP(s[j] - top);
        for (size j = 0; j < k; j++) g[i * k + j] /= sum;
        if (labels && (labels[i] < 0 || labels[i] >= k)) return 2;
        if (labels)
            total = 1;
        else
            for (size j = 0; j < k; j++) total += y[j];
        if (s_t) {
            for (size j = 0; j < k; j++) mean += g[i * k + j] * s_t[j];
            for (size j = 0; j < k; j++) {
                real along = s_t[j] - mean;
                g_t[i * k + j] = g[i * k + j] * along * total * share;
                if (soft_bar) soft_bar[i * k + j] = -along * share;
            }
        }
        for (size j = 0; j < k; j++)
            g[i * k + j] = (g[i * k + j] * total - (labels ? labels[i] == j : y[j])) * share;
    }
    return 0;
}

/* ---- Steps of Adam on a network's mean loss, and back through them -----------------------------
 *
 * The network is blocks or nothing, hidden layers, which may be none, and an affine classifier; a
 * step sees all samples, or rows of them.
 */

typedef struct {
    const block *blocks;
    const hidden *layers;
    size n_blocks, n_layers, n, n_inputs, n_classes, has_bias, n_parameters;
    double lr, beta1, beta2, eps, decay;
} training;

typedef struct {
    const real *x;
    const int64_t *labels; /* null if there are soft ones, (n, n_classes) */
    const real *soft;
    const int64_t *rows; /* null if a step sees all n */
    size n;
} samples;

/* What a step needs beside the states. */
typedef struct {
    /* rows of samples and labels */
    real *x, *soft;
    int64_t *labels;
    /* of the blocks */
    real *features, *kept, *scratch;
    kept_hidden layers[MOST_HIDDEN];
    real *scores, *g_scores, *g, *g_next, *room, *grad;
    /* of the pass back through it only */
    real *x_bar, *soft_bar, *vector;
} step_arrays;

/* The features of the blocks or, without them, of the samples themselves. */
static size features_of(training w) {
    if (!w.n_blocks) return w.n_inputs;
    block last = w.blocks[w.n_blocks - 1];
    return pixels_of(last) * last.n_out;
}

static size features_of_classifier(training w) {
    return w.n_layers ? w.layers[w.n_layers - 1].k : features_of(w);
}

static affine classifier_of(const real *theta, training w) {
    size d = features_of_classifier(w);
    const real *end = theta + w.n_parameters - (w.has_bias ? w.n_classes : 0);
    return (affine){end - w.n_classes * d, w.has_bias ? end : NULL, d, w.n_classes};
}

/* Where the parameters of each hidden layer begin. */
static void starts_of(training w, size *out) {
    size at = w.n_parameters - w.n_classes * features_of_classifier(w);
    at -= w.has_bias ? w.n_classes : 0;
    for (size i = w.n_layers - 1; i >= 0; i--) out[i] = at -= n_parameters_of(w.layers[i]);
}

static step_arrays step_arrays_of(arena *a, training w, size copies) {
    size n = w.n, k = w.n_classes, widest = 0, kernels = filled(k) * features_of_classifier(w);
    step_arrays out = {0};
    out.x = take(a, n * w.n_inputs);
    out.soft = take(a, n * k);
    /* A label takes the room of two floats, or of one double. */
    out.labels = (int64_t *)take(a, 2 * n);
    if (w.n_blocks) {
        size sizes[3];
        widest = features_of(w);
        blocks_sizes(w.blocks, sizes, w.n_blocks, n, copies);
        out.features = take(a, copies * n * widest);
        out.kept = take(a, sizes[0]);
        out.scratch = take(a, most(sizes[1], sizes[2]));
    }
    for (size i = 0; i < w.n_layers; i++) {
        out.layers[i] = kept_hidden_of(a, w.layers[i], n, copies);
        widest = most(widest, w.layers[i].k);
        kernels = most(kernels, filled(w.layers[i].k) * w.layers[i].d);
    }
    out.scores = take(a, copies * n * k);
    out.g_scores = take(a, copies * n * k);
    out.g = take(a, copies * n * widest);
    out.g_next = take(a, copies * n * widest);
    out.room = take(a, kernels);
    out.grad = take(a, w.n_parameters);
    if (copies == 1) return out;
    out.x_bar = take(a, n * w.n_inputs);
    out.soft_bar = take(a, n * k);
    out.vector = take(a, w.n_parameters);
    return out;
}

/* The values of memory that a step needs, and one back. */
void steps_sizes(const training *w, size *sizes) {
    for (size copies = 1; copies <= 2; copies++) {
        arena a = {NULL, 0};
        step_arrays_of(&a, *w, copies);
        sizes[copies - 1] = a.used;
    }
}

/* Make the samples of a step, all of them or these rows. Returns 2 if a row is not there, else 0. */
static int batch(samples all, step_arrays a, training w, size step, samples *out) {
    *out = all;
    if (!all.rows) return 0;
    const int64_t *rows = all.rows + step * w.n;
    size of_x = w.n_inputs, k = w.n_classes;
    for (size i = 0; i < w.n; i++) {
        if (rows[i] < 0 || rows[i] >= all.n) return 2;
        memcpy(a.x + i * of_x, all.x + rows[i] * of_x, (size_t)of_x * sizeof(real));
        if (all.labels)
            a.labels[i] = all.labels[rows[i]];
        else
            memcpy(a.soft + i * k, all.soft + rows[i] * k, (size_t)k * sizeof(real));
    }
    *out = (samples){a.x, all.labels ? a.labels : NULL, all.labels ? NULL : a.soft, rows, w.n};
    return 0;
}

/* The gradient of the mean loss or, with theta_t, the derivative of its product with theta_t: in
 * the parameters, in the samples and in soft labels. Returns 1 if memory was short, 2 if a label
 * is none of the classes, else 0. */
static int differentiate(training w, const real *theta, const real *theta_t, samples s,
                         step_arrays a) {
    size n = w.n, d = features_of(w), k = w.n_classes, starts[MOST_HIDDEN];
    /* The inputs of each hidden layer, and of the classifier; samples do not move. */
    const real *in[MOST_HIDDEN + 1] = {s.x}, *in_t[MOST_HIDDEN + 1] = {NULL};
    affine c = classifier_of(theta, w), c_t = {0};
    if (theta_t) c_t = classifier_of(theta_t, w);
    starts_of(w, starts);
    if (w.n_blocks) {
        in[0] = a.features;
        if (theta_t) in_t[0] = a.features + n * d;
        if (blocks_forward(w.blocks, theta, theta_t, s.x, a.kept, a.scratch, a.features,
                           w.n_blocks, n))
            return 1;
    }
    for (size i = 0; i < w.n_layers; i++) {
        const real *own = theta + starts[i], *along = theta_t ? theta_t + starts[i] : NULL;
        hidden_forward(w.layers[i], own, along, in[i], in_t[i], a.layers[i], a.room, n);
        in[i + 1] = a.layers[i].out;
        in_t[i + 1] = theta_t ? a.layers[i].out + n * w.layers[i].k : NULL;
    }
    real *scores_t = NULL, *g_t = NULL;
    if (theta_t) scores_t = a.scores + n * k, g_t = a.g_scores + n * k;
    affine_forward(in[w.n_layers], in_t[w.n_layers], c, c_t, a.scores, scores_t, a.room,
                   n);
    int failed = cross_entropy(a.scores, scores_t, s.labels, s.soft, a.g_scores, g_t,
                               s.labels ? NULL : a.soft_bar, n, k);
    if (failed) return failed;
    real *g = a.g_scores, *next = a.g, *other = a.g_next;
    for (size i = w.n_layers; i >= 0; i--) {
        size width = i < w.n_layers ? w.layers[i].d : c.d;
        /* Before the samples themselves there is nothing to go on to, but their tangent. */
        int at_samples = i == 0 && !w.n_blocks;
        real *x_bar = at_samples ? NULL : next, *x_t_bar = NULL;
        if (theta_t) x_t_bar = at_samples ? a.x_bar : next + n * width;
        if (i == w.n_layers)
            affine_backward(g, g_t, in[i], in_t[i], c, c_t, x_bar, x_t_bar,
                            a.grad + (c.w - theta), n);
        else
            hidden_backward(w.layers[i], theta + starts[i], theta_t ? theta_t + starts[i] : NULL,
                            in[i], in_t[i], a.layers[i], g, g_t, x_bar, x_t_bar,
                            a.grad + starts[i], n);
        g = next, g_t = theta_t ? next + n * width : NULL;
        next = other, other = g;
    }
    if (!w.n_blocks) return 0;
    return blocks_backward(w.blocks, theta, theta_t, s.x, a.kept, a.scratch, g, a.x_bar, a.grad,
                           w.n_blocks, n);
}

/* The states (3, n_parameters) after steps first + 1 to first + n_steps: all of them or, without
 * keep, by turns in states[0] and states[1]. */
int adam_steps(const training *w, const real *state, const samples *all, real *states,
               real *memory, size first, size n_steps, size keep) {
    arena room = {memory, 0};
    step_arrays a = step_arrays_of(&room, *w, 1);
    for (size i = 0; i < n_steps; i++) {
        samples s;
        int failed = batch(*all, a, *w, i, &s);
        if (!failed) failed = differentiate(*w, state, NULL, s, a);
        if (failed) return failed;
        real *new = states + (keep ? i : i % 2) * 3 * w->n_parameters;
        double t = (double)(first + i + 1);
        adam(state, a.grad, new, w->n_parameters, w->lr / (1 - pow(w->beta1, t)),
             1 - pow(w->beta2, t), w->beta1, w->beta2, w->eps, w->decay);
        state = new;
    }
    return 0;
}

/* Back through the steps between states (n_steps + 1, 3, n_parameters): bar, the sensitivity to
 * the last, becomes that to the first, and those to samples and soft labels are added to x_bar
 * and soft_bar. */
int adam_steps_adjoint(const training *w, const real *states, const samples *all, real *bar,
                       real *x_bar, real *soft_bar, real *memory, size first, size n_steps) {
    size of_x = w->n_inputs, k = w->n_classes, of_state = 3 * w->n_parameters;
    arena room = {memory, 0};
    step_arrays a = step_arrays_of(&room, *w, 2);
    for (size i = n_steps - 1; i >= 0; i--) {
        const real *state = states + i * of_state;
        double t = (double)(first + i + 1);
        adam_adjoint(state, state + of_state, bar, a.vector, bar, w->n_parameters,
                     w->lr / (1 - pow(w->beta1, t)), 1 - pow(w->beta2, t), w->beta1, w->beta2,
                     w->eps, w->decay);
        samples s;
        int failed = batch(*all, a, *w, i, &s);
        if (!failed) failed = differentiate(*w, state, a.vector, s, a);
        if (failed) return failed;
#pragma omp parallel for schedule(static) if (w->n_parameters > MANY)
        for (size j = 0; j < w->n_parameters; j += AT_ONCE)
            add(a.grad + j, bar + j, least(AT_ONCE, w->n_parameters - j));
        for (size j = 0; j < w->n; j++) {
            size row = s.rows ? s.rows[j] : j;
            add(a.x_bar + j * of_x, x_bar + row * of_x, of_x);
            if (!s.labels) add(a.soft_bar + j * k, soft_bar + row * k, k);
        }
    }
    return 0;
}
