/* Winograd's F(R x R, 3 x 3): kernels of 3 x 3, stride 1, padding 1.
 *
 * An output tile of R x R is A' [(G k G') * (B' d B)] A for a patch d of S x S, S = R + 2, and
 * kernels k. In the transformed arrays, (S * S, tiles, channels) and (S * S, n_out, n_in), a
 * convolution is S * S products of matrices. R is 2, with the points 0, 1, -1 and infinity, or 4,
 * with 0, the four below and infinity, which lose less to rounding than 1, -1, 2, -2 do. The
 * functions of a tile take one vector of channels, or the m that remain.
 */

#pragma once

#include "vectors.h"

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
