/* Winograd's convolution: transforms of images and kernels, a part of the work of every thread. */

#pragma once

#include "products.h"
#include "winograd_tiles.h"

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
#pragma omp for schedule(static)
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
#pragma omp parallel if (PRODUCTS(r) * n_out * c > MANY)
    FOR_R(kernels_adjoint, u, w, n_out, c)
}

/* The convolution. `part` images are taken at a time, whose transformed arrays fit the cache.
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
            multiply_transposed(terms, v_t ? 2 : 1, rows, n_out, c, u_bar, first > 0, k);
        } else {
            term terms[1] = {{q, v + OF_V}};
            multiply_transposed(terms, 1, rows, n_out, c, u_bar, first > 0, k);
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
