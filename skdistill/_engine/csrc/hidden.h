/* Hidden layers of tables: affine, normalization over features if they have it, rectifier.
 *
 * With u the normalized values, divided by the root of their number, as in layers.py.
 */

#pragma once

#include "affine.h"
#include "arrays.h"

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
