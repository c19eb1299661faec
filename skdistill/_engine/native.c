/* Passes over images that torch makes of many operations: Winograd's transforms, and a whole
 * instance normalization, rectifier and average pooling, with the derivatives of `layers.py`.
 *
 * Images are (n, h, w, c), with the channels last, in REAL (float or double). A pair, of values and
 * tangents, is two such arrays, one after the other. Every function writes all of its output.
 */

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#ifndef REAL
#define REAL float
#endif
typedef REAL real;
typedef ptrdiff_t size;

/* Channels that are computed at once: a cache line. */
#define LANES ((size)(64 / sizeof(real)))
typedef real lanes __attribute__((vector_size(64)));
/* Threads cost some microseconds: values for which they are worth it. */
#define MANY 32768
#define SQRT(x) (sizeof(real) == sizeof(float) ? (real)sqrtf((float)(x)) : (real)sqrt((double)(x)))
#define INLINE static inline __attribute__((always_inline))
#define EACH _Pragma("omp simd") for (size l = 0; l < m; l++)

INLINE size least(size a, size b) { return a < b ? a : b; }

/* ---- Winograd's F(2 x 2, 3 x 3): kernels of 3 x 3, stride 1, padding 1 -------------------------
 *
 * An output tile of 2 x 2 is A' [(G k G') * (B' d B)] A for a patch d of 4 x 4 and kernels k. In the
 * transformed arrays, (16, tiles, channels) and (16, n_out, n_in), a convolution is 16 products of
 * matrices.
 */

INLINE void input_tile(const real *restrict x, real *restrict v, size i, size j, size h, size w, size c, size step,
                       size m) {
    real d[4][4][LANES], t[4][4][LANES];
    for (size a = 0; a < 4; a++)
        for (size b = 0; b < 4; b++) {
            size y = i + a, z = j + b;
            if (y < 0 || y >= h || z < 0 || z >= w)
                EACH d[a][b][l] = 0;
            else
                EACH d[a][b][l] = x[(y * w + z) * c + l];
        }
    for (size b = 0; b < 4; b++)
        EACH {
            t[0][b][l] = d[0][b][l] - d[2][b][l];
            t[1][b][l] = d[1][b][l] + d[2][b][l];
            t[2][b][l] = d[2][b][l] - d[1][b][l];
            t[3][b][l] = d[1][b][l] - d[3][b][l];
        }
    for (size a = 0; a < 4; a++)
        EACH {
            v[(4 * a + 0) * step + l] = t[a][0][l] - t[a][2][l];
            v[(4 * a + 1) * step + l] = t[a][1][l] + t[a][2][l];
            v[(4 * a + 2) * step + l] = t[a][2][l] - t[a][1][l];
            v[(4 * a + 3) * step + l] = t[a][1][l] - t[a][3][l];
        }
}

INLINE void input_tile_adjoint(const real *restrict v, real *restrict x, size i, size j, size h, size w, size c,
                               size step, size m) {
    real t[4][4][LANES], d[4][4][LANES];
    for (size a = 0; a < 4; a++)
        EACH {
            real v0 = v[(4 * a + 0) * step + l], v1 = v[(4 * a + 1) * step + l];
            real v2 = v[(4 * a + 2) * step + l], v3 = v[(4 * a + 3) * step + l];
            t[a][0][l] = v0;
            t[a][1][l] = v1 - v2 + v3;
            t[a][2][l] = v1 + v2 - v0;
            t[a][3][l] = -v3;
        }
    for (size b = 0; b < 4; b++)
        EACH {
            real t0 = t[0][b][l], t1 = t[1][b][l], t2 = t[2][b][l], t3 = t[3][b][l];
            d[0][b][l] = t0;
            d[1][b][l] = t1 - t2 + t3;
            d[2][b][l] = t1 + t2 - t0;
            d[3][b][l] = -t3;
        }
    for (size a = 0; a < 4; a++)
        for (size b = 0; b < 4; b++) {
            size y = i + a, z = j + b;
            if (y >= 0 && y < h && z >= 0 && z < w)
                EACH x[(y * w + z) * c + l] += d[a][b][l];
        }
}

INLINE void output_tile(const real *restrict p, const real *restrict bias, real *restrict y, size i, size j, size h, size w,
                        size c, size step, size m) {
    real t[2][4][LANES];
    for (size b = 0; b < 4; b++)
        EACH {
            real p0 = p[b * step + l], p1 = p[(4 + b) * step + l];
            real p2 = p[(8 + b) * step + l], p3 = p[(12 + b) * step + l];
            t[0][b][l] = p0 + p1 + p2;
            t[1][b][l] = p1 - p2 - p3;
        }
    for (size a = 0; a < 2 && i + a < h; a++) {
        real *row = y + ((i + a) * w + j) * c;
        EACH row[l] = t[a][0][l] + t[a][1][l] + t[a][2][l] + bias[l];
        if (j + 1 < w)
            EACH row[c + l] = t[a][1][l] - t[a][2][l] - t[a][3][l] + bias[l];
    }
}

INLINE void output_tile_adjoint(const real *restrict y, real *restrict p, size i, size j, size h, size w, size c,
                                size step, size m) {
    real g[2][2][LANES], t[2][4][LANES];
    for (size a = 0; a < 2; a++)
        for (size b = 0; b < 2; b++)
            if (i + a < h && j + b < w)
                EACH g[a][b][l] = y[((i + a) * w + j + b) * c + l];
            else
                EACH g[a][b][l] = 0;
    for (size a = 0; a < 2; a++)
        EACH {
            t[a][0][l] = g[a][0][l];
            t[a][1][l] = g[a][0][l] + g[a][1][l];
            t[a][2][l] = g[a][0][l] - g[a][1][l];
            t[a][3][l] = -g[a][1][l];
        }
    for (size b = 0; b < 4; b++)
        EACH {
            p[b * step + l] = t[0][b][l];
            p[(4 + b) * step + l] = t[0][b][l] + t[1][b][l];
            p[(8 + b) * step + l] = t[0][b][l] - t[1][b][l];
            p[(12 + b) * step + l] = -t[1][b][l];
        }
}

/* All channels of a tile, in blocks whose size the compiler knows, and what remains. */
#define BLOCKS(CALL_FULL, CALL_REST)                                                               \
    for (size k = 0; k < c; k += LANES)                                                            \
        if (c - k >= LANES) {                                                                      \
            CALL_FULL;                                                                             \
        } else {                                                                                   \
            CALL_REST;                                                                             \
        }

void winograd_input(const real *restrict x, real *restrict v, size n, size h, size w, size c) {
    size rows = (h + 1) / 2, columns = (w + 1) / 2, step = n * rows * columns * c;
#pragma omp parallel for if (step > MANY)
    for (size q = 0; q < n * rows; q++) {
        const real *image = x + q / rows * h * w * c;
        size i = q % rows * 2 - 1;
        for (size j = 0; j < columns; j++) {
            real *tile = v + (q * columns + j) * c;
            BLOCKS(input_tile(image + k, tile + k, i, 2 * j - 1, h, w, c, step, LANES),
                   input_tile(image + k, tile + k, i, 2 * j - 1, h, w, c, step, c - k))
        }
    }
}

void winograd_input_adjoint(const real *restrict v, real *restrict x, size n, size h, size w, size c) {
    size rows = (h + 1) / 2, columns = (w + 1) / 2, step = n * rows * columns * c;
#pragma omp parallel for if (step > MANY)
    for (size q = 0; q < n; q++) {
        real *image = x + q * h * w * c;
        for (size l = 0; l < h * w * c; l++) image[l] = 0;
        for (size i = 0; i < rows; i++)
            for (size j = 0; j < columns; j++) {
                const real *tile = v + ((q * rows + i) * columns + j) * c;
                BLOCKS(input_tile_adjoint(tile + k, image + k, 2 * i - 1, 2 * j - 1, h, w, c, step,
                                          LANES),
                       input_tile_adjoint(tile + k, image + k, 2 * i - 1, 2 * j - 1, h, w, c, step,
                                          c - k))
            }
    }
}

void winograd_output(const real *restrict p, const real *restrict bias, real *restrict y, size n, size h, size w, size c) {
    size rows = (h + 1) / 2, columns = (w + 1) / 2, step = n * rows * columns * c;
#pragma omp parallel for if (step > MANY)
    for (size q = 0; q < n * rows; q++) {
        real *image = y + q / rows * h * w * c;
        size i = q % rows * 2;
        for (size j = 0; j < columns; j++) {
            const real *tile = p + (q * columns + j) * c;
            BLOCKS(output_tile(tile + k, bias + k, image + k, i, 2 * j, h, w, c, step, LANES),
                   output_tile(tile + k, bias + k, image + k, i, 2 * j, h, w, c, step, c - k))
        }
    }
}

void winograd_output_adjoint(const real *restrict y, real *restrict p, size n, size h, size w, size c) {
    size rows = (h + 1) / 2, columns = (w + 1) / 2, step = n * rows * columns * c;
#pragma omp parallel for if (step > MANY)
    for (size q = 0; q < n * rows; q++) {
        const real *image = y + q / rows * h * w * c;
        size i = q % rows * 2;
        for (size j = 0; j < columns; j++) {
            real *tile = p + (q * columns + j) * c;
            BLOCKS(output_tile_adjoint(image + k, tile + k, i, 2 * j, h, w, c, step, LANES),
                   output_tile_adjoint(image + k, tile + k, i, 2 * j, h, w, c, step, c - k))
        }
    }
}

/* Kernels (n_out, 3, 3, c) to (16, n_out, c). */
INLINE void kernel_tile(const real *restrict k, real *restrict u, size c, size step, size m) {
    real t[4][3][LANES];
    for (size b = 0; b < 3; b++)
        EACH {
            real k0 = k[b * c + l], k1 = k[(3 + b) * c + l], k2 = k[(6 + b) * c + l];
            t[0][b][l] = k0;
            t[1][b][l] = (k0 + k1 + k2) / 2;
            t[2][b][l] = (k0 - k1 + k2) / 2;
            t[3][b][l] = k2;
        }
    for (size a = 0; a < 4; a++)
        EACH {
            real t0 = t[a][0][l], t1 = t[a][1][l], t2 = t[a][2][l];
            u[(4 * a + 0) * step + l] = t0;
            u[(4 * a + 1) * step + l] = (t0 + t1 + t2) / 2;
            u[(4 * a + 2) * step + l] = (t0 - t1 + t2) / 2;
            u[(4 * a + 3) * step + l] = t2;
        }
}

INLINE void kernel_tile_adjoint(const real *restrict u, real *restrict k, size c, size step,
                                size m) {
    real t[4][3][LANES];
    for (size a = 0; a < 4; a++)
        EACH {
            real u0 = u[4 * a * step + l], u1 = u[(4 * a + 1) * step + l] / 2;
            real u2 = u[(4 * a + 2) * step + l] / 2, u3 = u[(4 * a + 3) * step + l];
            t[a][0][l] = u0 + u1 + u2;
            t[a][1][l] = u1 - u2;
            t[a][2][l] = u1 + u2 + u3;
        }
    for (size b = 0; b < 3; b++)
        EACH {
            real t1 = t[1][b][l] / 2, t2 = t[2][b][l] / 2;
            k[b * c + l] = t[0][b][l] + t1 + t2;
            k[(3 + b) * c + l] = t1 - t2;
            k[(6 + b) * c + l] = t1 + t2 + t[3][b][l];
        }
}

void winograd_kernels(const real *w, real *u, size n_out, size c) {
    size step = n_out * c;
#pragma omp parallel for if (step > MANY)
    for (size o = 0; o < n_out; o++) {
        const real *in = w + o * 9 * c;
        real *out = u + o * c;
        BLOCKS(kernel_tile(in + k, out + k, c, step, LANES),
               kernel_tile(in + k, out + k, c, step, c - k))
    }
}

void winograd_kernels_adjoint(const real *u, real *w, size n_out, size c) {
    size step = n_out * c;
#pragma omp parallel for if (step > MANY)
    for (size o = 0; o < n_out; o++) {
        const real *in = u + o * c;
        real *out = w + o * 9 * c;
        BLOCKS(kernel_tile_adjoint(in + k, out + k, c, step, LANES),
               kernel_tile_adjoint(in + k, out + k, c, step, c - k))
    }
}

/* ---- Instance normalization, rectifier, average pooling -----------------------------------------
 *
 * The formulas are those of `_Norm` in layers.py, of an image's N pixels. With d = x - mean(x) the
 * normalized input is u = r d, and its tangent r (d' - slope d). A rectifier passes what is not
 * <= 0, so that NaN stays NaN. `pool` is the side of the pooled
 * squares, 1 for none; pixels that fill no square count in the normalization alone.
 */

#define STATS 4 /* mean, r, the tangent's mean, slope: each (n, c) */

/* Every pixel of the squares, at `at`, with its square, at `from`; and the other pixels. */
#define SQUARES                                                                                    \
    for (size i = 0, from = 0; i < rows; i++)                                                      \
        for (size j = 0; j < columns; j++, from += c)                                              \
            for (size p = 0; p < pool; p++)                                                        \
                for (size q = 0, at = ((i * pool + p) * w + j * pool) * c; q < pool; q++, at += c)
#define REST                                                                                       \
    for (size i = 0; i < h; i++)                                                                   \
        for (size j = i < rows * pool ? columns * pool : 0, at = (i * w + j) * c; j < w;           \
             j++, at += c)

INLINE void norm_block(const real *restrict x, const real *restrict scale, const real *restrict shift, real *restrict y, real *restrict stats,
                       size h, size w, size c, size pool, size step, double eps, size m) {
    size N = h * w, rows = h / pool, columns = w / pool;
    real mean[LANES], square[LANES], a[LANES];
    EACH mean[l] = square[l] = 0;
    for (size q = 0; q < N; q++)
        EACH mean[l] += x[q * c + l];
    EACH mean[l] /= (real)N;
    for (size q = 0; q < N; q++)
        EACH {
            real d = x[q * c + l] - mean[l];
            square[l] += d * d;
        }
    EACH {
        real r = (real)(1 / sqrt((double)square[l] + (double)N * eps));
        stats[l] = mean[l];
        stats[step + l] = r;
        a[l] = scale[l] * (real)sqrt((double)N) * r;
    }
    real part = 1 / (real)(pool * pool);
    for (size i = 0; i < rows; i++)
        for (size j = 0; j < columns; j++) {
            real sum[LANES];
            EACH sum[l] = 0;
            for (size p = 0; p < pool; p++)
                for (size q = 0; q < pool; q++) {
                    const real *pixel = x + ((i * pool + p) * w + j * pool + q) * c;
                    EACH {
                        real value = a[l] * (pixel[l] - mean[l]) + shift[l];
                        sum[l] += value <= 0 ? 0 : value;
                    }
                }
            EACH y[(i * columns + j) * c + l] = sum[l] * part;
        }
}

INLINE void norm_block_backward(const real *restrict g, const real *restrict x, const real *restrict stats, const real *restrict scale,
                                const real *restrict shift, real *restrict x_bar, real *restrict sums, size h, size w, size c,
                                size pool, size step, size m) {
    size N = h * w, rows = h / pool, columns = w / pool;
    real part = 1 / (real)(pool * pool), root = (real)sqrt((double)N);
    real a[LANES], mean[LANES], r[LANES], s_sum[LANES], su_sum[LANES];
    EACH {
        mean[l] = stats[l];
        r[l] = stats[step + l];
        a[l] = scale[l] * root * r[l];
        s_sum[l] = su_sum[l] = 0;
    }
    SQUARES {
        EACH {
            real d = x[at + l] - mean[l], all = g[from + l] * part;
            real s = a[l] * d + shift[l] <= 0 ? 0 : all;
            s_sum[l] += s;
            su_sum[l] += s * d;
        }
    }
    EACH {
        sums[l] = root * r[l] * su_sum[l];
        sums[step + l] = s_sum[l];
        s_sum[l] /= (real)N;
        su_sum[l] *= r[l] * r[l];
    }
    SQUARES {
        EACH {
            real d = x[at + l] - mean[l], all = g[from + l] * part;
            real s = a[l] * d + shift[l] <= 0 ? 0 : all;
            x_bar[at + l] = a[l] * (s - s_sum[l] - d * su_sum[l]);
        }
    }
    REST {
        EACH x_bar[at + l] = a[l] * (-s_sum[l] - (x[at + l] - mean[l]) * su_sum[l]);
    }
}

INLINE void norm_block_pair(const real *restrict x, const real *restrict x_t, const real *restrict scale, const real *restrict shift,
                            const real *restrict scale_t, const real *restrict shift_t, real *restrict y, real *restrict y_t,
                            real *restrict stats, size h, size w, size c, size pool, size step, double eps,
                            size m) {
    size N = h * w, rows = h / pool, columns = w / pool;
    real part = 1 / (real)(pool * pool), root = (real)sqrt((double)N);
    real mean[LANES], mean_t[LANES], square[LANES], dot[LANES], a[LANES], a_t[LANES];
    EACH mean[l] = mean_t[l] = square[l] = dot[l] = 0;
    for (size q = 0; q < N; q++)
        EACH {
            mean[l] += x[q * c + l];
            mean_t[l] += x_t[q * c + l];
        }
    EACH {
        mean[l] /= (real)N;
        mean_t[l] /= (real)N;
    }
    for (size q = 0; q < N; q++)
        EACH {
            real d = x[q * c + l] - mean[l];
            square[l] += d * d;
            dot[l] += d * (x_t[q * c + l] - mean_t[l]);
        }
    EACH {
        real r = (real)(1 / sqrt((double)square[l] + (double)N * eps));
        real slope = r * r * dot[l];
        stats[l] = mean[l];
        stats[step + l] = r;
        stats[2 * step + l] = mean_t[l];
        stats[3 * step + l] = slope;
        a[l] = scale[l] * root * r;
        a_t[l] = scale_t[l] * root * r - a[l] * slope;
    }
    for (size i = 0; i < rows; i++)
        for (size j = 0; j < columns; j++) {
            real sum[LANES], sum_t[LANES];
            EACH sum[l] = sum_t[l] = 0;
            for (size p = 0; p < pool; p++)
                for (size q = 0; q < pool; q++) {
                    size at = ((i * pool + p) * w + j * pool + q) * c;
                    EACH {
                        real d = x[at + l] - mean[l], d_t = x_t[at + l] - mean_t[l];
                        real value = a[l] * d + shift[l];
                        real value_t = a[l] * d_t + a_t[l] * d + shift_t[l];
                        sum[l] += value <= 0 ? 0 : value;
                        sum_t[l] += value <= 0 ? 0 : value_t;
                    }
                }
            EACH {
                y[(i * columns + j) * c + l] = sum[l] * part;
                y_t[(i * columns + j) * c + l] = sum_t[l] * part;
            }
        }
}

INLINE void norm_block_pair_backward(const real *restrict g, const real *restrict g_t, const real *restrict x,
                                     const real *restrict x_t, const real *restrict stats, const real *restrict scale,
                                     const real *restrict shift, const real *restrict scale_t, real *restrict x_bar,
                                     real *restrict x_bar_t, real *restrict sums, size h, size w, size c, size pool,
                                     size step, size m) {
    size N = h * w, rows = h / pool, columns = w / pool;
    real part = 1 / (real)(pool * pool), root = (real)sqrt((double)N);
    real mean[LANES], mean_t[LANES], r[LANES], slope[LANES], a[LANES], a_t[LANES];
    real s_sum[LANES], st_sum[LANES], su_sum[LANES], sut_sum[LANES];
    EACH {
        mean[l] = stats[l];
        r[l] = stats[step + l];
        mean_t[l] = stats[2 * step + l];
        slope[l] = stats[3 * step + l];
        a[l] = scale[l] * root * r[l];
        a_t[l] = scale_t[l] * root * r[l] - a[l] * slope[l];
        s_sum[l] = st_sum[l] = su_sum[l] = sut_sum[l] = 0;
    }
    SQUARES {
        EACH {
            real d = x[at + l] - mean[l];
            real d_t = x_t[at + l] - mean_t[l] - slope[l] * d;
            int off = a[l] * d + shift[l] <= 0;
            real all = g[from + l] * part, all_t = g_t[from + l] * part;
            real s = off ? 0 : all, s_t = off ? 0 : all_t;
            s_sum[l] += s;
            st_sum[l] += s_t;
            su_sum[l] += s * d;
            sut_sum[l] += s_t * d + s * d_t;
        }
    }
    EACH {
        sums[l] = root * r[l] * sut_sum[l];
        sums[step + l] = st_sum[l];
        s_sum[l] /= (real)N;
        st_sum[l] /= (real)N;
        su_sum[l] *= r[l] * r[l];
        sut_sum[l] *= r[l] * r[l];
    }
    SQUARES {
        EACH {
            real d = x[at + l] - mean[l];
            real d_t = x_t[at + l] - mean_t[l] - slope[l] * d;
            int off = a[l] * d + shift[l] <= 0;
            real all = g[from + l] * part, all_t = g_t[from + l] * part;
            real s = off ? 0 : all, s_t = off ? 0 : all_t;
            real out = s - s_sum[l] - d * su_sum[l];
            real out_t = s_t - st_sum[l] - d * sut_sum[l] - d_t * su_sum[l];
            x_bar[at + l] = a[l] * out;
            x_bar_t[at + l] = a[l] * out_t + a_t[l] * out;
        }
    }
    REST {
        EACH {
            real d = x[at + l] - mean[l];
            real d_t = x_t[at + l] - mean_t[l] - slope[l] * d;
            real out = -s_sum[l] - d * su_sum[l];
            real out_t = -st_sum[l] - d * sut_sum[l] - d_t * su_sum[l];
            x_bar[at + l] = a[l] * out;
            x_bar_t[at + l] = a[l] * out_t + a_t[l] * out;
        }
    }
}

/* The blocks of channels of all images, divided among threads. */
#define IMAGES(FULL, REST)                                                                         \
    size blocks = (c + LANES - 1) / LANES, step = n * c;                                           \
    size in = h * w * c, out = (h / pool) * (w / pool) * c;                                        \
    _Pragma("omp parallel for if (n * in > MANY)") for (size q = 0; q < n * blocks; q++) {         \
        size i = q / blocks, k = q % blocks * LANES;                                               \
        if (c - k >= LANES) {                                                                      \
            FULL;                                                                                  \
        } else {                                                                                   \
            REST;                                                                                  \
        }                                                                                          \
    }

#define FORWARD(M)                                                                                 \
    norm_block(x + i * in + k, scale + k, shift + k, y + i * out + k, stats + i * c + k, h, w, c,   \
               pool, step, eps, M)
void norm_relu_pool(const real *restrict x, const real *restrict scale, const real *restrict shift, real *restrict y, real *restrict stats,
                    size n, size h, size w, size c, size pool, double eps) {
    IMAGES(FORWARD(LANES), FORWARD(c - k))
}

#define BACKWARD(M)                                                                                \
    norm_block_backward(g + i * out + k, x + i * in + k, stats + i * c + k, scale + k, shift + k,   \
                        x_bar + i * in + k, sums + i * c + k, h, w, c, pool, step, M)
void norm_relu_pool_backward(const real *restrict g, const real *restrict x, const real *restrict stats, const real *restrict scale,
                             const real *restrict shift, real *restrict x_bar, real *restrict sums, size n, size h, size w,
                             size c, size pool) {
    IMAGES(BACKWARD(LANES), BACKWARD(c - k))
}

#define PAIR(M)                                                                                    \
    norm_block_pair(x + i * in + k, x + (n + i) * in + k, scale + k, shift + k, scale_t + k,        \
                    shift_t + k, y + i * out + k, y + (n + i) * out + k, stats + i * c + k, h, w,   \
                    c, pool, step, eps, M)
void norm_relu_pool_pair(const real *restrict x, const real *restrict scale, const real *restrict shift, const real *restrict scale_t,
                         const real *restrict shift_t, real *restrict y, real *restrict stats, size n, size h, size w, size c,
                         size pool, double eps) {
    IMAGES(PAIR(LANES), PAIR(c - k))
}

#define PAIR_BACKWARD(M)                                                                           \
    norm_block_pair_backward(g + i * out + k, g + (n + i) * out + k, x + i * in + k,                \
                             x + (n + i) * in + k, stats + i * c + k, scale + k, shift + k,         \
                             scale_t + k, x_bar + i * in + k, x_bar + (n + i) * in + k,             \
                             sums + i * c + k, h, w, c, pool, step, M)
void norm_relu_pool_pair_backward(const real *restrict g, const real *restrict x, const real *restrict stats,
                                  const real *restrict scale, const real *restrict shift, const real *restrict scale_t,
                                  real *restrict x_bar, real *restrict sums, size n, size h, size w, size c,
                                  size pool) {
    IMAGES(PAIR_BACKWARD(LANES), PAIR_BACKWARD(c - k))
}

/* ---- Convolutions of few inputs, of stride 1 ----------------------------------------------------
 *
 * Kernels are (n_out, kh, kw, c). A patch's row of kw * c values is contiguous in a padded image.
 */

#define PIXELS 6 /* of a row, computed at once */
#define WEIGHTS 9 /* of a kernel, whose gradients are summed at once */

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

/* Returns 0, or 1 if there was no memory; then the output is not complete. */
int few_inputs(const real *x, const real *w, const real *bias, real *y, size n, size h, size width,
               size c, size kh, size kw, size ph, size pw, size n_out) {
    shape s = shape_of(h, width, c, kh, kw, ph, pw, n_out);
    size k = kh * s.part;
    /* Per weight, and then the bias: all outputs, filled up to whole blocks. */
    lanes *weights = aligned_alloc(64, (size_t)((k + 1) * s.blocks) * sizeof(lanes));
    if (weights == NULL) return 1;
    memset(weights, 0, (size_t)((k + 1) * s.blocks) * sizeof(lanes));
    for (size o = 0; o < n_out; o++) {
        for (size q = 0; q < k; q++) ((real *)weights)[q * s.blocks * LANES + o] = w[o * k + q];
        ((real *)weights)[k * s.blocks * LANES + o] = bias[o];
    }
    int failed = 0;
#pragma omp parallel for reduction(| : failed) if (n * s.out_h * s.out_w * n_out > MANY)
    for (size image = 0; image < n; image++) {
        real *in = padded(x + image * h * width * c, s);
        if (in == NULL) {
            failed |= 1;
            continue;
        }
        for (size i = 0; i < s.out_h; i++)
            for (size j = 0; j < s.out_w; j += PIXELS)
                for (size b = 0; b < s.blocks; b++) {
                    lanes sum[PIXELS];
                    for (size p = 0; p < PIXELS; p++) sum[p] = weights[k * s.blocks + b];
                    for (size a = 0; a < kh; a++) {
                        const real *from = in + (i + a) * s.row + j * c;
                        const lanes *weight = weights + a * s.part * s.blocks + b;
                        for (size q = 0; q < s.part; q++, from++, weight += s.blocks)
#pragma GCC unroll 6
                            for (size p = 0; p < PIXELS; p++) sum[p] += from[p * c] * *weight;
                    }
                    real *out = y + ((image * s.out_h + i) * s.out_w + j) * n_out + b * LANES;
                    size bytes = least(LANES, n_out - b * LANES) * (size)sizeof(real);
                    for (size p = 0; p < PIXELS && j + p < s.out_w; p++)
                        memcpy(out + p * n_out, &sum[p], (size_t)bytes);
                }
        free(in);
    }
    free(weights);
    return failed;
}

/* The gradients of the kernels, per image: (n, kh * kw * c, n_out). */
int few_inputs_weights(const real *x, const real *g, real *w_bar, size n, size h, size width,
                       size c, size kh, size kw, size ph, size pw, size n_out) {
    shape s = shape_of(h, width, c, kh, kw, ph, pw, n_out);
    size k = kh * s.part;
    int failed = 0;
#pragma omp parallel for reduction(| : failed) if (n * s.out_h * s.out_w * n_out > MANY)
    for (size image = 0; image < n; image++) {
        real *in = padded(x + image * h * width * c, s);
        if (in == NULL) {
            failed |= 1;
            continue;
        }
        for (size b = 0; b < s.blocks; b++)
            for (size first = 0; first < k; first += WEIGHTS) {
                size bytes = least(LANES, n_out - b * LANES) * (size)sizeof(real);
                size at[WEIGHTS];
                lanes sum[WEIGHTS] = {{0}};
                for (size q = 0; q < WEIGHTS; q++) {
                    size weight = least(first + q, k - 1);
                    at[q] = weight / s.part * s.row + weight % s.part;
                }
                for (size i = 0; i < s.out_h; i++) {
                    const real *from = in + i * s.row;
                    const real *to = g + (image * s.out_h + i) * s.out_w * n_out + b * LANES;
                    for (size j = 0; j < s.out_w; j++, from += c, to += n_out) {
                        lanes value = {0};
                        if (bytes == 64)
                            memcpy(&value, to, 64);
                        else
                            memcpy(&value, to, (size_t)bytes);
#pragma GCC unroll 9
                        for (size q = 0; q < WEIGHTS; q++) sum[q] += from[at[q]] * value;
                    }
                }
                for (size q = 0; q < WEIGHTS && first + q < k; q++)
                    memcpy(w_bar + (image * k + first + q) * n_out + b * LANES, &sum[q],
                           (size_t)bytes);
            }
        free(in);
    }
    return failed;
}

/* The sum of what all patches, (n, out_h, out_w, kh * kw * c), say of an image's pixels. */
int few_inputs_folded(const real *patches, real *x_bar, size n, size h, size width, size c, size kh,
                      size kw, size ph, size pw) {
    shape s = shape_of(h, width, c, kh, kw, ph, pw, 1);
    size k = kh * s.part;
    int failed = 0;
#pragma omp parallel for reduction(| : failed) if (n * s.out_h * s.out_w * k > MANY)
    for (size image = 0; image < n; image++) {
        real *sum = padded(NULL, s);
        if (sum == NULL) {
            failed |= 1;
            continue;
        }
        const real *patch = patches + image * s.out_h * s.out_w * k;
        for (size i = 0; i < s.out_h; i++)
            for (size j = 0; j < s.out_w; j++)
                for (size a = 0; a < kh; a++) {
                    real *to = sum + (i + a) * s.row + j * c;
                    for (size q = 0; q < s.part; q++) to[q] += *patch++;
                }
        for (size i = 0; i < h; i++)
            memcpy(x_bar + (image * h + i) * width * c, sum + (i + ph) * s.row + pw * c,
                   (size_t)(width * c) * sizeof(real));
        free(sum);
    }
    return failed;
}

/* ---- Adam, see optimizers.py: a state is (3, n), of parameters and both moments ---------------- */

void adam(const real *state, const real *grad, real *new, size n, double rate, double correction2,
          double beta1, double beta2, double eps, double decay) {
    const real *theta = state, *m = state + n, *v = state + 2 * n;
    real r = (real)rate, c2 = (real)(1 / correction2), e = (real)eps, d = (real)decay;
    real b1 = (real)(1 - beta1), b2 = (real)beta2, b3 = (real)(1 - beta2);
#pragma omp parallel for simd if (n > MANY)
    for (size i = 0; i < n; i++) {
        real g = grad[i] + d * theta[i];
        real m_new = m[i] + b1 * (g - m[i]), v_new = b2 * v[i] + b3 * g * g;
        new[n + i] = m_new;
        new[2 * n + i] = v_new;
        new[i] = theta[i] - r * m_new / (SQRT(v_new * c2) + e);
    }
}

void adam_adjoint(const real *state, const real *new, const real *bar, real *grad_bar,
                  real *state_bar, size n, double rate, double correction2, double beta1,
                  double beta2, double eps, double decay) {
    const real *m_old = state + n, *m = new + n, *v = new + 2 * n;
    real r = (real)rate, c2 = (real)(1 / correction2), e = (real)eps, d = (real)decay;
    real b1 = (real)beta1, b2 = (real)beta2, b3 = (real)(1 - beta1), b4 = (real)(2 - 2 * beta2);
    real inverse = (real)(1 / (1 - beta1)), half = (real)(0.5 / correction2);
#pragma omp parallel for simd if (n > MANY)
    for (size i = 0; i < n; i++) {
        real grad = m_old[i] + inverse * (m[i] - m_old[i]);
        real root = SQRT(v[i] * c2), under = root + e;
        real scaled = bar[i] * r / under, m_bar = bar[n + i] - scaled;
        real slope = scaled * m[i] * half / (root * under);
        /* v = 0: every gradient was 0 up to here, see optimizers.py. */
        real v_bar = bar[2 * n + i] + (root <= 0 ? 0 : slope);
        real of_grad = b3 * m_bar + grad * v_bar * b4;
        grad_bar[i] = of_grad;
        state_bar[i] = bar[i] + d * of_grad;
        state_bar[n + i] = b1 * m_bar;
        state_bar[2 * n + i] = b2 * v_bar;
    }
}
