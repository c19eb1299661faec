/* The cross-entropy of a classifier's scores. */

#pragma once

#include "vectors.h"

/* The gradient g of the mean cross-entropy in the scores, (n, k), against labels or, if these are
 * null, soft ones, (n, k). If there are tangents of the scores, g_t and, unless it is null, the
 * derivative in soft labels, soft_bar. Returns 2 if a label is none of the k classes, else 0. */
static int cross_entropy(const real *scores, const real *scores_t, const int64_t *labels,
                         const real *soft, real *g, real *g_t, real *soft_bar, size n, size k) {
    for (size i = 0; i < n; i++) {
        const real *s = scores + i * k, *s_t = scores_t ? scores_t + i * k : NULL;
        const real *y = soft ? soft + i * k : NULL;
        real top = s[0], sum = 0, total = 0, mean = 0, share = 1 / (real)n;
        for (size j = 1; j < k; j++) top = s[j] > top ? s[j] : top;
        for (size j = 0; j < k; j++) sum += g[i * k + j] = EXP(s[j] - top);
        for (size j = 0; j < k; j++) g[i * k + j] /= sum;
        if (labels && (labels[i] < 0 || labels[i] >= k)) return 2;
        if (labels)
            total = 1;
        else
            for (size j = 0; j < k; j++) total += y[j];
        if (s_t) {
            for (size j = 0; j < k; j++) mean += g[i * k + j] * s_t[j];
            for (size j = 0; j < k; j++) {
                real along = s_t[j] - mean;
                g_t[i * k + j] = g[i * k + j] * along * total * share;
                if (soft_bar) soft_bar[i * k + j] = -along * share;
            }
        }
        for (size j = 0; j < k; j++)
            g[i * k + j] = (g[i * k + j] * total - (labels ? labels[i] == j : y[j])) * share;
    }
    return 0;
}
