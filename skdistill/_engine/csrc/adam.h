/* Adam, see optimizers.py: a state is (3, n), of parameters and both moments. */

#pragma once

#include "vectors.h"

/* The loops over parameters are functions of their own: of one that OpenMP divides among threads,
 * gcc lets a check at run time decide whether arrays overlap, and then computes value by value. */
#define AT_ONCE 4096

typedef struct {
    real rate, inverse2, eps, decay, keep1, gain1, keep2, gain2, inverse1, half;
} adam_numbers;

static adam_numbers numbers_of(double rate, double correction2, double beta1, double beta2,
                               double eps, double decay) {
    return (adam_numbers){.rate = (real)rate,
                          .inverse2 = (real)(1 / correction2),
                          .eps = (real)eps,
                          .decay = (real)decay,
                          .keep1 = (real)beta1,
                          .gain1 = (real)(1 - beta1),
                          .keep2 = (real)beta2,
                          .gain2 = (real)(1 - beta2),
                          .inverse1 = (real)(1 / (1 - beta1)),
                          .half = (real)(0.5 / correction2)};
}

static void adam_part(const real *theta, const real *grad, real *new, size n, size m_values,
                      adam_numbers a) {
    const real *m = theta + n, *v = theta + 2 * n;
    real *new_m = new + n, *new_v = new + 2 * n;
#pragma omp simd
    for (size i = 0; i < m_values; i++) {
        real g = grad[i] + a.decay * theta[i];
        real m_new = m[i] + a.gain1 * (g - m[i]);
        real v_new = a.keep2 * v[i] + a.gain2 * g * g;
        new_m[i] = m_new;
        new_v[i] = v_new;
        new[i] = theta[i] - a.rate * m_new / (SQRT(v_new * a.inverse2) + a.eps);
    }
}

void adam(const real *state, const real *grad, real *new, size n, double rate, double correction2,
          double beta1, double beta2, double eps, double decay) {
    adam_numbers a = numbers_of(rate, correction2, beta1, beta2, eps, decay);
#pragma omp parallel for schedule(static) if (n > MANY)
    for (size i = 0; i < n; i += AT_ONCE)
        adam_part(state + i, grad + i, new + i, n, least(AT_ONCE, n - i), a);
}

static void adam_adjoint_part(const real *state, const real *new, const real *bar, real *grad_bar,
                              real *state_bar, size n, size m_values, adam_numbers a) {
    const real *m_old = state + n, *m = new + n, *v = new + 2 * n;
    const real *of_m = bar + n, *of_v = bar + 2 * n;
    real *m_old_bar = state_bar + n, *v_old_bar = state_bar + 2 * n;
#pragma omp simd
    for (size i = 0; i < m_values; i++) {
        real grad = m_old[i] + a.inverse1 * (m[i] - m_old[i]);
        real root = SQRT(v[i] * a.inverse2), under = root + a.eps;
        real scaled = bar[i] * a.rate / under, m_bar = of_m[i] - scaled;
        real slope = scaled * m[i] * a.half / (root * under);
        /* v = 0: every gradient was 0 up to here, see optimizers.py. */
        real v_bar = of_v[i] + (root <= 0 ? 0 : slope);
        real of_grad = a.gain1 * m_bar + grad * v_bar * (2 * a.gain2);
        grad_bar[i] = of_grad;
        state_bar[i] = bar[i] + a.decay * of_grad;
        m_old_bar[i] = a.keep1 * m_bar;
        v_old_bar[i] = a.keep2 * v_bar;
    }
}

/* state_bar may be bar: each value depends on those at its own index. */
void adam_adjoint(const real *state, const real *new, const real *bar, real *grad_bar,
                  real *state_bar, size n, double rate, double correction2, double beta1,
                  double beta2, double eps, double decay) {
    adam_numbers a = numbers_of(rate, correction2, beta1, beta2, eps, decay);
#pragma omp parallel for schedule(static) if (n > MANY)
    for (size i = 0; i < n; i += AT_ONCE)
        adam_adjoint_part(state + i, new + i, bar + i, grad_bar + i, state_bar + i, n,
                          least(AT_ONCE, n - i), a);
}
