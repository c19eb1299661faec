/* Steps of Adam on a network's mean loss, and back through them.
 *
 * The network is blocks or nothing, hidden layers, which may be none, and an affine classifier; a
 * step sees all samples, or rows of them.
 */

#pragma once

#include "adam.h"
#include "affine.h"
#include "blocks.h"
#include "cross_entropy.h"
#include "hidden.h"

typedef struct {
    const block *blocks;
    const hidden *layers;
    size n_blocks, n_layers, n, n_inputs, n_classes, has_bias, n_parameters;
    double lr, beta1, beta2, eps, decay;
} training;

typedef struct {
    const real *x;
    const int64_t *labels; /* null if there are soft ones, (n, n_classes) */
    const real *soft;
    const int64_t *rows; /* null if a step sees all n */
    size n;
} samples;

/* What a step needs beside the states. */
typedef struct {
    /* rows of samples and labels */
    real *x, *soft;
    int64_t *labels;
    /* of the blocks */
    real *features, *kept, *scratch;
    kept_hidden layers[MOST_HIDDEN];
    real *scores, *g_scores, *g, *g_next, *room, *grad;
    /* of the pass back through it only */
    real *x_bar, *soft_bar, *vector;
} step_arrays;

/* The features of the blocks or, without them, of the samples themselves. */
static size features_of(training w) {
    if (!w.n_blocks) return w.n_inputs;
    block last = w.blocks[w.n_blocks - 1];
    return pixels_of(last) * last.n_out;
}

static size features_of_classifier(training w) {
    return w.n_layers ? w.layers[w.n_layers - 1].k : features_of(w);
}

static affine classifier_of(const real *theta, training w) {
    size d = features_of_classifier(w);
    const real *end = theta + w.n_parameters - (w.has_bias ? w.n_classes : 0);
    return (affine){end - w.n_classes * d, w.has_bias ? end : NULL, d, w.n_classes};
}

/* Where the parameters of each hidden layer begin. */
static void starts_of(training w, size *out) {
    size at = w.n_parameters - w.n_classes * features_of_classifier(w);
    at -= w.has_bias ? w.n_classes : 0;
    for (size i = w.n_layers - 1; i >= 0; i--) out[i] = at -= n_parameters_of(w.layers[i]);
}

static step_arrays step_arrays_of(arena *a, training w, size copies) {
    size n = w.n, k = w.n_classes, widest = 0, kernels = filled(k) * features_of_classifier(w);
    step_arrays out = {0};
    out.x = take(a, n * w.n_inputs);
    out.soft = take(a, n * k);
    /* A label takes the room of two floats, or of one double. */
    out.labels = (int64_t *)take(a, 2 * n);
    if (w.n_blocks) {
        size sizes[3];
        widest = features_of(w);
        blocks_sizes(w.blocks, sizes, w.n_blocks, n, copies);
        out.features = take(a, copies * n * widest);
        out.kept = take(a, sizes[0]);
        out.scratch = take(a, most(sizes[1], sizes[2]));
    }
    for (size i = 0; i < w.n_layers; i++) {
        out.layers[i] = kept_hidden_of(a, w.layers[i], n, copies);
        widest = most(widest, w.layers[i].k);
        kernels = most(kernels, filled(w.layers[i].k) * w.layers[i].d);
    }
    out.scores = take(a, copies * n * k);
    out.g_scores = take(a, copies * n * k);
    out.g = take(a, copies * n * widest);
    out.g_next = take(a, copies * n * widest);
    out.room = take(a, kernels);
    out.grad = take(a, w.n_parameters);
    if (copies == 1) return out;
    out.x_bar = take(a, n * w.n_inputs);
    out.soft_bar = take(a, n * k);
    out.vector = take(a, w.n_parameters);
    return out;
}

/* The values of memory that a step needs, and one back. */
void steps_sizes(const training *w, size *sizes) {
    for (size copies = 1; copies <= 2; copies++) {
        arena a = {NULL, 0};
        step_arrays_of(&a, *w, copies);
        sizes[copies - 1] = a.used;
    }
}

/* Make the samples of a step, all of them or these rows. Returns 2 if a row is not there, else 0. */
static int batch(samples all, step_arrays a, training w, size step, samples *out) {
    *out = all;
    if (!all.rows) return 0;
    const int64_t *rows = all.rows + step * w.n;
    size of_x = w.n_inputs, k = w.n_classes;
    for (size i = 0; i < w.n; i++) {
        if (rows[i] < 0 || rows[i] >= all.n) return 2;
        memcpy(a.x + i * of_x, all.x + rows[i] * of_x, (size_t)of_x * sizeof(real));
        if (all.labels)
            a.labels[i] = all.labels[rows[i]];
        else
            memcpy(a.soft + i * k, all.soft + rows[i] * k, (size_t)k * sizeof(real));
    }
    *out = (samples){a.x, all.labels ? a.labels : NULL, all.labels ? NULL : a.soft, rows, w.n};
    return 0;
}

/* The gradient of the mean loss or, with theta_t, the derivative of its product with theta_t: in
 * the parameters, in the samples and in soft labels. Returns 1 if memory was short, 2 if a label
 * is none of the classes, else 0. */
static int differentiate(training w, const real *theta, const real *theta_t, samples s,
                         step_arrays a) {
    size n = w.n, d = features_of(w), k = w.n_classes, starts[MOST_HIDDEN];
    /* The inputs of each hidden layer, and of the classifier; samples do not move. */
    const real *in[MOST_HIDDEN + 1] = {s.x}, *in_t[MOST_HIDDEN + 1] = {NULL};
    affine c = classifier_of(theta, w), c_t = {0};
    if (theta_t) c_t = classifier_of(theta_t, w);
    starts_of(w, starts);
    if (w.n_blocks) {
        in[0] = a.features;
        if (theta_t) in_t[0] = a.features + n * d;
        if (blocks_forward(w.blocks, theta, theta_t, s.x, a.kept, a.scratch, a.features,
                           w.n_blocks, n))
            return 1;
    }
    for (size i = 0; i < w.n_layers; i++) {
        const real *own = theta + starts[i], *along = theta_t ? theta_t + starts[i] : NULL;
        hidden_forward(w.layers[i], own, along, in[i], in_t[i], a.layers[i], a.room, n);
        in[i + 1] = a.layers[i].out;
        in_t[i + 1] = theta_t ? a.layers[i].out + n * w.layers[i].k : NULL;
    }
    real *scores_t = NULL, *g_t = NULL;
    if (theta_t) scores_t = a.scores + n * k, g_t = a.g_scores + n * k;
    affine_forward(in[w.n_layers], in_t[w.n_layers], c, c_t, a.scores, scores_t, a.room,
                   n);
    int failed = cross_entropy(a.scores, scores_t, s.labels, s.soft, a.g_scores, g_t,
                               s.labels ? NULL : a.soft_bar, n, k);
    if (failed) return failed;
    real *g = a.g_scores, *next = a.g, *other = a.g_next;
    for (size i = w.n_layers; i >= 0; i--) {
        size width = i < w.n_layers ? w.layers[i].d : c.d;
        /* Before the samples themselves there is nothing to go on to, but their tangent. */
        int at_samples = i == 0 && !w.n_blocks;
        real *x_bar = at_samples ? NULL : next, *x_t_bar = NULL;
        if (theta_t) x_t_bar = at_samples ? a.x_bar : next + n * width;
        if (i == w.n_layers)
            affine_backward(g, g_t, in[i], in_t[i], c, c_t, x_bar, x_t_bar,
                            a.grad + (c.w - theta), n);
        else
            hidden_backward(w.layers[i], theta + starts[i], theta_t ? theta_t + starts[i] : NULL,
                            in[i], in_t[i], a.layers[i], g, g_t, x_bar, x_t_bar,
                            a.grad + starts[i], n);
        g = next, g_t = theta_t ? next + n * width : NULL;
        next = other, other = g;
    }
    if (!w.n_blocks) return 0;
    return blocks_backward(w.blocks, theta, theta_t, s.x, a.kept, a.scratch, g, a.x_bar, a.grad,
                           w.n_blocks, n);
}

/* The states (3, n_parameters) after steps first + 1 to first + n_steps: all of them or, without
 * keep, by turns in states[0] and states[1]. */
int adam_steps(const training *w, const real *state, const samples *all, real *states,
               real *memory, size first, size n_steps, size keep) {
    arena room = {memory, 0};
    step_arrays a = step_arrays_of(&room, *w, 1);
    for (size i = 0; i < n_steps; i++) {
        samples s;
        int failed = batch(*all, a, *w, i, &s);
        if (!failed) failed = differentiate(*w, state, NULL, s, a);
        if (failed) return failed;
        real *new = states + (keep ? i : i % 2) * 3 * w->n_parameters;
        double t = (double)(first + i + 1);
        adam(state, a.grad, new, w->n_parameters, w->lr / (1 - pow(w->beta1, t)),
             1 - pow(w->beta2, t), w->beta1, w->beta2, w->eps, w->decay);
        state = new;
    }
    return 0;
}

/* Back through the steps between states (n_steps + 1, 3, n_parameters): bar, the sensitivity to
 * the last, becomes that to the first, and those to samples and soft labels are added to x_bar
 * and soft_bar. */
int adam_steps_adjoint(const training *w, const real *states, const samples *all, real *bar,
                       real *x_bar, real *soft_bar, real *memory, size first, size n_steps) {
    size of_x = w->n_inputs, k = w->n_classes, of_state = 3 * w->n_parameters;
    arena room = {memory, 0};
    step_arrays a = step_arrays_of(&room, *w, 2);
    for (size i = n_steps - 1; i >= 0; i--) {
        const real *state = states + i * of_state;
        double t = (double)(first + i + 1);
        adam_adjoint(state, state + of_state, bar, a.vector, bar, w->n_parameters,
                     w->lr / (1 - pow(w->beta1, t)), 1 - pow(w->beta2, t), w->beta1, w->beta2,
                     w->eps, w->decay);
        samples s;
        int failed = batch(*all, a, *w, i, &s);
        if (!failed) failed = differentiate(*w, state, a.vector, s, a);
        if (failed) return failed;
#pragma omp parallel for schedule(static) if (w->n_parameters > MANY)
        for (size j = 0; j < w->n_parameters; j += AT_ONCE)
            add(a.grad + j, bar + j, least(AT_ONCE, w->n_parameters - j));
        for (size j = 0; j < w->n; j++) {
            size row = s.rows ? s.rows[j] : j;
            add(a.x_bar + j * of_x, x_bar + row * of_x, of_x);
            if (!s.labels) add(a.soft_bar + j * k, soft_bar + row * k, k);
        }
    }
    return 0;
}
