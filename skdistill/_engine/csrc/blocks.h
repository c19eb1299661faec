/* A network's blocks: convolution, normalization, rectifier, pooling; then features.
 *
 * The first block is of few inputs, the others are Winograd's. One call computes all of them, or
 * their derivatives, so that nothing is left of the caller's time between. Tangents are null
 * pointers where there are none.
 */

#pragma once

#include "arrays.h"
#include "first_block.h"
#include "norm_pool.h"
#include "winograd.h"

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
