/* A convolution of few inputs, normalized, rectified and pooled.
 *
 * What the convolution makes is never stored: LANES channels of an image are computed at a time,
 * and once more for the derivatives, which is less work than to write and to read them. Without
 * tangents (null pointers) these are the first derivatives.
 */

#pragma once

#include "few_inputs.h"
#include "norm_pool.h"

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
