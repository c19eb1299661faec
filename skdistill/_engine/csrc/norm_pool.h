/* Instance normalization, rectifier, average pooling.
 *
 * The formulas are those of `_Norm` in layers.py, of an image's N pixels. With d = x - mean(x) the
 * normalized input is u = r d, and its tangent r (d' - slope d). A rectifier passes what is not
 * <= 0, so that NaN stays NaN. `pool` is the side of the pooled squares, 1 for none; pixels that
 * fill no square count in the normalization alone. Sums are of rows first, so that rounding adds up
 * less.
 */

#pragma once

#include "vectors.h"

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
