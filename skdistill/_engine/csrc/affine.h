/* Affine layers: features (n, d) to (n, k), by kernels (k, d) and a bias. */

#pragma once

#include "arrays.h"

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
