/* Products of matrices: sums of one or two, as derivatives along a direction are. */

#pragma once

#include "vectors.h"

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

/* M columns of left, (rows, M), transposed, times a panel of right, (rows, N vectors); or added
 * to out. */
INLINE void columns_of(const term *terms, size n_terms, size rows, size width, real *out, size c,
                       size m, int adds, size M, size N) {
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
            if (left <= 0) continue;
            if (adds) sum[r][v] += load(to, left);
            store(sum[r][v], to, left);
        }
}

#define ALL_COLUMNS(N)                                                                             \
    for (; o + COLUMNS <= n_out; o += COLUMNS) {                                                   \
        NEXT_TERMS                                                                                 \
        columns_of(own, n_terms, rows, width_at(o, n_out), out + o * c + k, c,                     \
                   least(PANEL, c - k), adds, COLUMNS, N);                                         \
    }                                                                                              \
    for (; o < n_out; o++) {                                                                       \
        NEXT_TERMS                                                                                 \
        columns_of(own, n_terms, rows, width_at(o, n_out), out + o * c + k, c,                     \
                   least(PANEL, c - k), adds, 1, N);                                               \
    }
#define NEXT_TERMS                                                                                 \
    for (size i = 0; i < n_terms; i++)                                                             \
        own[i].left = terms[i].left + p * rows * filled(n_out) + place(0, o, rows, n_out);

/* sums (products, n_out, c) of the transposed left (products, rows, n_out) times right (products,
 * rows, c); or added to them. */
static void multiply_transposed(const term *terms, size n_terms, size rows, size n_out, size c,
                                real *sums, int adds, size products) {
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
