/* Convolutions of few inputs, of stride 1.
 *
 * Kernels are (n_out, kh, kw, c). A patch's row of kw * c values is contiguous in a padded image.
 */

#pragma once

#include "vectors.h"

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
